"""Several people's answers: whose counts, what they agree on, where they disagree."""
