"""Classical evidence: what whole-series statistics say of each point, in linear time."""
