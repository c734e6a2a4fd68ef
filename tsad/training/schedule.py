"""The learning rate over the steps of a training run, and what a loss that is not finite is answered with."""

from __future__ import annotations

import math

from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions


def learning_rate(step: int, options: AdapterOptions) -> float:
    """Linear warm-up over ``warmup * steps`` steps, then half a cosine down to zero; ``step`` counts from 0."""
    peak, rise = float(options.settled("learning_rate")), round(options.warmup * options.steps)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, options.steps - rise)))


def check_finite(what: str, value: float, step: int, options: AdapterOptions) -> None:
    """Refuse a loss or a gradient that is infinite or no number.

    Raises:
        TrainingError: with what to lower.
    """
    if not math.isfinite(value):
        raise TrainingError(
            f"The {what} is {value} at training step {step + 1}",
            f"Lower adapter.learning_rate (now {options.learning_rate}) or adapter.grad_clip "
            f"(now {options.grad_clip}).",
        )
