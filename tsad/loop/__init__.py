"""An iteration of a loop: its stages, and what they share."""
