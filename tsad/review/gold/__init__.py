"""Where the gold set comes from: one file per rule; ``conf/gold`` chooses by ``_target_``."""
