"""One file per verb: a typed function that calls the rooms below, nothing else."""
