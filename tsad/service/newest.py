"""The newest figures of jobs: who asks for them again and again has only what is new of a job's events read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tsad.core.results import Result
from tsad.service.tail import Lines, told_of

MOST = 64  # jobs whose figures are kept in memory: those that were asked for last


@dataclass(frozen=True, eq=False)
class CurrentFigure(Result):
    """The newest value of a figure; ``None``: it was infinite or no number. ``at``: ISO 8601, UTC."""

    value: float | None
    step: int
    at: str


@dataclass(frozen=True, eq=False)
class Current(Result):
    """The newest figures of a job.

    Attributes:
        last: id of the newest event that they hold; ``<job>:0`` = there is none yet.
    """

    job: str
    last: str
    figures: Mapping[str, CurrentFigure] = field(default_factory=dict)


class Newest:
    """The newest figures of the jobs that are asked for; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, job: str, path: Path) -> Current:
        """The newest value of every figure of a job; ``path`` = of its events."""
        with self._lock:
            known = self._known[job] = self._known.pop(job) if job in self._known else _Known(job, path)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return known.current()


class _Known:
    """The figures of one job, as far as its events were read."""

    def __init__(self, job: str, path: Path) -> None:
        self._job, self._lines, self._last = job, Lines(path), 0
        self._figures: dict[str, CurrentFigure] = {}
        self._lock = threading.Lock()

    def current(self) -> Current:
        with self._lock:
            while read := self._lines.read():
                for line in read:
                    self._take(line)
            return Current(self._job, f"{self._job}:{self._last}", dict(self._figures))

    def _take(self, line: bytes) -> None:
        told = told_of(self._job, line)
        if told is None:
            return
        self._last = told.id
        if told.kind == "metrics":
            step = int(told.values.get("step", 0))
            self._figures |= {n: CurrentFigure(v, step, told.at) for n, v in told.values.items() if n != "step"}
