"""What the tests of sources and cache share: the series of a read or fetch alone, its failures, its summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from tsad.core.errors import SourceError, TsadError
from tsad.core.reading import ReadFailure, ReadSummary, SeriesStream
from tsad.core.series import Series
from tsad.sources.base import Source


def series_of(source: Source, *asked: Any, **range_: Any) -> Iterator[Series]:
    """The series that ``source.read(...)`` gives, one at a time."""
    return (read.series for read in SeriesStream(source.read(*asked, **range_)))


def summary_of(source: Source, *asked: Any, **range_: Any) -> ReadSummary:
    """How ``source.read(...)`` ends, also where no series could be read."""
    stream = SeriesStream(source.read(*asked, **range_))
    with suppress(SourceError):
        list(stream)
    return stream.summary


def failures_of(source: Source, *asked: Any, **range_: Any) -> dict[str, TsadError]:
    """What ``source.read(...)`` fails with, by point."""
    return dict(summary_of(source, *asked, **range_).failures)


def fetched(source: Source, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
    """The series that ``source.fetch(...)`` gives."""
    return (item for item in source.fetch(point_ids, start, end) if isinstance(item, Series))


def failed(
    source: Source, point_ids: Sequence[str] | None = None, start: int | None = None, end: int | None = None
) -> dict[str, TsadError]:
    """What ``source.fetch(...)`` fails with, by point; ``None`` = all points."""
    items = source.fetch(source.points() if point_ids is None else point_ids, start, end)
    return {item.point_id: item.error for item in items if isinstance(item, ReadFailure)}
