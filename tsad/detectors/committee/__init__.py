"""Several detectors whose candidates are rated together: who is to be trusted is learned from reviews."""
