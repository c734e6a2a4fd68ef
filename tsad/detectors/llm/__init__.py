"""Detectors that ask a language model: series or pictures of them go into a prompt, an answer comes back in tokens."""
