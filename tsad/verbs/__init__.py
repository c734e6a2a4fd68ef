"""One thin file per verb: call, then present what it answers."""
