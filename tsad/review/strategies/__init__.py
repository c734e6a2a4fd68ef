"""Which windows people are shown: one file per strategy; ``conf/sampling`` chooses by ``_target_``."""
