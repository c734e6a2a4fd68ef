"""ChatTS (arXiv 2412.03104): patches of the series as tokens of a language model."""
