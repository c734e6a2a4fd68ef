"""tsad: the open loop that teaches a time-series anomaly detector from people's corrections."""

__version__ = "0.1.0"
