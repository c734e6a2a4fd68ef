"""What a read of a source gives back: series or named failures, the ranges each came from, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tsad.core.errors import TsadError
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import TimeKind

Level = Literal["memory", "cache", "source"]


@dataclass(frozen=True)
class Part:
    """One range of a series that was read.

    Attributes:
        start, end: ns UTC, half-open.
        level: which of the three levels answered.
        fetched_at: when the source sent it, seconds since 1970.
        time_kind: ``index`` where the series has no time.
    """

    start: int
    end: int
    level: Level
    fetched_at: float
    time_kind: TimeKind = "time"


@dataclass(frozen=True, eq=False)
class SeriesRead:
    """A series, and where its ranges came from."""

    series: Series
    parts: tuple[Part, ...] = ()

    @property
    def point_id(self) -> str:
        return self.series.point_id


@dataclass(frozen=True, eq=False)
class ReadFailure:
    """A point (or a file whose points cannot be told) that there is no series of, why, and what there was of it."""

    point_id: str
    error: TsadError
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadSummary:
    """The last item of a read.

    Attributes:
        source: what was read, for people and for lineage.
        count: series given.
        failures: by point, why there is no series of it.
        provenance: by point, where the ranges of its series came from.
        cached: a cache stood in front of the source; what follows is its account.
        unreachable: why the source could not be asked, or "".
        hits, fetched, damaged: series that the cache gave alone, series that the source was asked for, damaged entries.
        unwritable: why entries cannot be written, or "".
    """

    source: str
    count: int
    failures: Mapping[str, TsadError] = field(default_factory=dict)
    provenance: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    cached: bool = False
    unreachable: str = ""
    hits: int = 0
    fetched: int = 0
    damaged: int = 0
    unwritable: str = ""

    def outage(self, now: float | None = None) -> str:
        """One line where the source could not be reached: what the cache gave, and how old it is; else ""."""
        if not self.unreachable:
            return ""
        at = time.time() if now is None else now
        oldest = min((part.fetched_at for parts in self.provenance.values() for part in parts), default=at)
        left_out = f", {len(self.failures)} left out" if self.failures else ""
        return (
            f"{self.source} could not be reached: {len(self.provenance)} series from the cache, "
            f"the oldest fetched at {format_time(int(oldest) * 10**9)}{left_out}"
        )


ReadItem = SeriesRead | ReadFailure | ReadSummary


@dataclass(frozen=True, eq=False)
class Extents:
    """From where to where points have values, and what could not be told.

    Attributes:
        spans: ``[start, end)`` in ns UTC of each point that has values.
        failures: by point, why nothing can be said of it.
        unreachable: why the source could not be asked, or "".
    """

    spans: Mapping[str, tuple[int, int]]
    failures: Mapping[str, TsadError] = field(default_factory=dict)
    unreachable: str = ""


class SeriesStream:
    """The series of one read, one at a time; what the read met is its ``summary`` once it has ended.

    Args:
        items: what ``read`` yields.

    Raises:
        SourceError: (on iterating) as the read itself; the summary is there then too.
    """

    def __init__(self, items: Iterable[ReadItem]) -> None:
        self._items = items
        self._summary: ReadSummary | None = None

    def __iter__(self) -> Iterator[SeriesRead]:
        for item in self._items:
            if isinstance(item, SeriesRead):
                yield item
            elif isinstance(item, ReadSummary):
                self._summary = item

    @property
    def ended(self) -> bool:
        """Whether the read has come to its end."""
        return self._summary is not None

    @property
    def summary(self) -> ReadSummary:
        """How the read ended.

        Raises:
            ValueError: it has not, or what was read does not end in a summary.
        """
        if self._summary is None:
            raise ValueError("a read ends in a ReadSummary, and this one has not come to it")
        return self._summary


def gather(items: Iterable[ReadItem]) -> tuple[list[SeriesRead], ReadSummary]:
    """A read to its end: the series in the order they came, and the summary, which names the failures.

    Raises:
        SourceError: as the read itself, e.g. where no series at all could be read.
        ValueError: the items end without a summary.
    """
    stream = SeriesStream(items)
    series = list(stream)
    return series, stream.summary


def failure_text(failures: Mapping[str, TsadError], limit: int = 5) -> str:
    """Failures as text: ``a: why; b: why; and 3 more``."""
    items = [f"{point}: {error.found}" for point, error in failures.items()]
    more = f"; and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(items[:limit]) + more


def provenance_json(
    provenance: Mapping[str, Sequence[Part]], now: float | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Provenance by point as plain values, times as ISO 8601 UTC, ages in seconds."""
    at = time.time() if now is None else now
    return {
        point: [
            {
                "start": format_time(p.start, p.time_kind), "end": format_time(p.end, p.time_kind), "from": p.level,
                "fetched": format_time(int(p.fetched_at) * 10**9), "age_seconds": round(max(0.0, at - p.fetched_at)),
            }
            for p in parts
        ]
        for point, parts in provenance.items()
    }
