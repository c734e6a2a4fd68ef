"""``patch``: our own small transformer over patches of a series, its detector, weights and pre-training recipe."""
