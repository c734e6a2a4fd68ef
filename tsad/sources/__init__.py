"""Where series come from: one file per source, the door that validates them, the cache in front."""
