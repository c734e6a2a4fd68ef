"""How good a detection is: NumPy functions on masks, scores and runs."""
