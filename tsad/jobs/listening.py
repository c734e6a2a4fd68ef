"""The listener of a job's call: what training tells becomes events of the job, for whoever watches it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


class JobListener:
    """See :class:`~tsad.core.protocols.Listener`.

    Args:
        tell: takes an event's kind and values, from any thread, and answers at once.
    """

    def __init__(self, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._tell = tell

    def heard(self, values: Mapping[str, float], step: int) -> None:
        """As an event of kind ``metrics`` with its ``step``; what JSON has no number for becomes ``null``."""
        told = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._tell("metrics", {"step": step, **told})
