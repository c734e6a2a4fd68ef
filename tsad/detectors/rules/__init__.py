"""Which score counts as abnormal: one file per rule; ``conf/threshold`` chooses by ``_target_``."""
