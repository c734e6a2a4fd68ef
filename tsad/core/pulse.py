"""How training goes between two evaluations: told now and then to whoever listens, and how fast examples go through."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tsad.core.context import Context

SECONDS = 1.0  # between two tellings: a curve that is watched, not one that is kept


class Pulse:
    """The steps of one training run; what it tells goes to the call's listener alone, not into the record.

    Args:
        examples: that one step takes.
    """

    def __init__(self, context: Context, examples: int) -> None:
        self._listener, self._examples = context.listener, examples
        self._seconds, self._steps, self._told = 0.0, 0, float("-inf")

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take the time of a step; what evaluations and checkpoints take between steps does not count."""
        began = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - began
        self._steps += 1

    def tell(self, values: Mapping[str, float], step: int) -> None:
        """What the step gave, unless the last telling is less than a second ago."""
        now = time.monotonic()
        if self._listener is not None and now - self._told >= SECONDS:
            self._told = now
            self._listener.heard(values, step)

    def rate(self) -> dict[str, float]:
        """``examples_per_second`` since this was last asked; nothing before the first step."""
        steps, seconds = self._steps, self._seconds
        self._steps, self._seconds = 0, 0.0
        return {"examples_per_second": steps * self._examples / max(seconds, 1e-9)} if steps else {}
