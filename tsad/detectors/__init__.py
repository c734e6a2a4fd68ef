"""Detectors: each point of a series gets a score in 0..1; thresholds turn scores into intervals."""
