"""Series and the windows people look at. Times are int64 nanoseconds since 1970-01-01 UTC throughout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tsad.core.intervals import clip, point_ends
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray, Interval, TimeKind


@dataclass(frozen=True, eq=False)
class Series:
    """One measured point (or machine with several channels) over time, already validated.

    Attributes:
        point_id: key of the series at its source, e.g. ``AC6403B.PV``.
        timestamps: [T] int64 ns UTC, strictly increasing.
        values: [T, C] float64, NaN where missing, never infinite.
        channels: C names, in the order of the columns of ``values``.
        time_kind: ``"index"`` where the source has an integer index i, kept as 1970-01-01 + i s.
        labels: given intervals (a label column, a CSV of intervals); ``None`` where nobody has labelled
            the series, an empty tuple where somebody says that nothing in it is abnormal.
        source: where it came from, e.g. ``csv:/data/plant/AC6403B.csv``.
        notes: what validation mended, e.g. ``{"duplicates_dropped": 3}``.
        disputed: stretches that the source's own annotators disagree about: never gold, first in the review queue.
        whole_step: an excerpt's: the step of the series it is of, so that its points end where theirs do; ``None`` =
            its own. Slices do not inherit it.
    """

    point_id: str
    timestamps: IntArray
    values: FloatArray
    channels: tuple[str, ...] = ("value",)
    time_kind: TimeKind = "time"
    labels: tuple[Interval, ...] | None = None
    source: str = ""
    notes: Mapping[str, int | float | str] = field(default_factory=dict)
    disputed: tuple[Interval, ...] = ()
    whole_step: int | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    @cached_property
    def step(self) -> int:
        """Median sampling interval in ns (1 s for a series of one point)."""
        if self.whole_step is not None:
            return self.whole_step
        if len(self.timestamps) < 2:
            return NS_PER_SECOND
        return max(1, int(np.median(np.diff(self.timestamps))))

    def slice(self, start: int, stop: int) -> Series:
        """The points ``[start, stop)`` by position, labels clipped to them; arrays are views."""
        labels, disputed = self.labels, self.disputed
        stop = min(stop, len(self))
        if (labels is not None or disputed) and stop > start:
            end = int(point_ends(self.timestamps[stop - 1 : stop + 1], self.step)[0])
            labels = None if labels is None else clip(labels, int(self.timestamps[start]), end)
            disputed = clip(disputed, int(self.timestamps[start]), end)
        return Series(
            self.point_id, self.timestamps[start:stop], self.values[start:stop], self.channels,
            self.time_kind, labels, self.source, self.notes, disputed,
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of identifier, timestamps and values; labels do not count."""
        sha = hashlib.sha256(repr((self.point_id, self.channels, self.time_kind)).encode())
        sha.update(np.ascontiguousarray(self.timestamps).tobytes())
        sha.update(np.ascontiguousarray(self.values).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class Window:
    """A view ``[start, stop)`` by position of a series: one review task, one reviewed unit.

    The series around it is the context a detector may look at; only the window itself is judged.
    """

    series: Series
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= len(self.series):
            raise ValueError(
                f"window [{self.start}, {self.stop}) lies outside {self.series.point_id} of {len(self.series)} points"
            )

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def point_id(self) -> str:
        return self.series.point_id

    @property
    def timestamps(self) -> IntArray:
        """[L] int64 ns UTC."""
        return self.series.timestamps[self.start : self.stop]

    @property
    def values(self) -> FloatArray:
        """[L, C] float64."""
        return self.series.values[self.start : self.stop]

    @property
    def span(self) -> tuple[int, int]:
        """``[start, end)`` in ns: from the first point to just after the last one."""
        nearby = self.series.timestamps[self.start : self.stop + 1]
        ends = point_ends(nearby, self.series.step)
        return int(nearby[0]), int(ends[self.stop - self.start - 1])

    @property
    def window_id(self) -> str:
        """Stable name of what is looked at: point, first and last timestamp. 16 hex digits."""
        stamps = self.timestamps
        text = f"{self.point_id}|{int(stamps[0])}|{int(stamps[-1])}|{len(self)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
