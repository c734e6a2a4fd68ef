"""Windows and stretches as vectors, so that it can be said which are alike: several models, kept by content."""
