"""From scores and evidence to proposed intervals, each with a calibrated probability."""
