"""What the calibrator knows of a candidate, by kind: score and evidence, shape, scales, order, recurrence, likeness."""
