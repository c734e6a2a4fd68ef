"""A series for those who ask over HTTP: its points in pages, and a preview that a page can draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, UnknownPointError
from tsad.core.intervals import point_ends
from tsad.core.options import DownsampleOptions
from tsad.core.reading import gather
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.times import format_time, parse_moment
from tsad.loop.candidates import IntervalSaid
from tsad.sources.base import within
from tsad.sources.cache import Kept
from tsad.sources.downsample import downsample
from tsad.steps.assets import Inventory
from tsad.steps.showing import kept_series

LISTED = "`tsad data` lists what there is; so does GET /api/v1/series."


@dataclass(frozen=True)
class SeriesWanted:
    """Which series is asked for.

    Attributes:
        upload: read it from this upload; "" = not from one.
        source: part of, or a pattern for, the description of the source that it came from; "" = whichever.
        own: read it from the source of the workbench itself, whatever the cache and uploads have.
    """

    point: str
    upload: str = ""
    source: str = ""
    own: bool = False


@dataclass(frozen=True)
class SpanWanted:
    """Which of its points: texts as people write moments, half-open; "" = from its beginning, to its end."""

    start: str = ""
    end: str = ""


@dataclass(frozen=True, eq=False)
class PointsRead(Result):
    """Points of a series, as they were read through validation.

    Attributes:
        source: what was read, in words.
        timestamps: [K] ISO 8601 in UTC, or the index. values: [K][C]; ``null`` where missing.
        total: points in the span asked for. next: the first one of them that is not given; ``None`` at the end.
        labels: labelled stretches of the span; ``None`` where nobody has labelled the series.
    """

    point_id: str
    source: str
    time_kind: str
    channels: tuple[str, ...]
    timestamps: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    total: int
    next: str | None
    labels: tuple[IntervalSaid, ...] | None


@dataclass(frozen=True, eq=False)
class Preview(Result):
    """What a page shows of a series first.

    Attributes:
        step: seconds, of steps for an index. first: its first rows. plot: the whole of it with fewer points, by M4.
    """

    point_id: str
    points: int
    step: float
    start: str
    end: str
    first: PointsRead
    plot: PointsRead


def series_wanted(bench: Workbench, wanted: SeriesWanted, span: SpanWanted) -> Series:
    """The series that is asked for, or a part of it.

    Looked for in the upload that is named, else in what the cache and all uploads hold, else at the configured source.

    Raises:
        UnknownPointError: there is none of that name.
        ConfigError: several sources have one; a moment that cannot be read.
        SeriesError: no point lies in the span.
    """
    if not wanted.own:
        kept = _kept(bench, wanted)
        if kept is not None:
            return within(kept_series(bench, *kept), *_moments(span))
        if wanted.upload or wanted.source:
            named = f"upload {wanted.upload}" if wanted.upload else wanted.source
            raise UnknownPointError(f"{named} has no series {wanted.point!r}", LISTED)
    try:
        source = bench.make_source()
    except ConfigError as error:
        found = f"no series {wanted.point!r} is kept, and no source is configured"
        raise UnknownPointError(found, LISTED) from error
    try:
        (read,), _ = gather(source.read([wanted.point], *_moments(span)))
    finally:
        source.close()
    return read.series


def points_of(series: Series, limit: int) -> PointsRead:
    """The first ``limit`` points of a series."""
    shown = series.slice(0, limit)
    rest = len(series) > limit
    return _told(shown, len(series), format_time(int(series.timestamps[limit]), series.time_kind) if rest else None)


def preview_of(series: Series, rows: int, points: int) -> Preview:
    """Its first ``rows`` points, and about ``points`` points that look as all of them do."""
    few = downsample(series, DownsampleOptions(method="m4", every=None, count=points)).series
    kind, first = series.time_kind, int(series.timestamps[0])
    end = int(point_ends(series.timestamps[-2:], series.step)[-1])
    return Preview(
        series.point_id, len(series), series.step / 10**9, format_time(first, kind), format_time(end, kind),
        points_of(series, rows), _told(few, len(series), None),
    )  # fmt: skip


def _told(series: Series, total: int, following: str | None) -> PointsRead:
    kind = series.time_kind
    return PointsRead(
        series.point_id, series.source, kind, series.channels,
        tuple(format_time(stamp, kind) for stamp in series.timestamps.tolist()),
        tuple(map(tuple, series.values.tolist())), total, following,
        None if series.labels is None else tuple(IntervalSaid.of(item, kind) for item in series.labels),
    )  # fmt: skip


def _moments(span: SpanWanted) -> tuple[int | None, int | None]:
    start = parse_moment(span.start, "start") if span.start else None
    end = parse_moment(span.end, "end") if span.end else None
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    if any(at is not None and not least <= at <= most for at in (start, end)):
        raise ConfigError("start or end lies beyond the years 1678 to 2262", "Give a time that series have.")
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"start={span.start} is not before end={span.end}", "Swap them.")
    return start, end


def _kept(bench: Workbench, wanted: SeriesWanted) -> tuple[Kept, Mapping[str, Any]] | None:
    """What the cache or an upload has of the series, and how it is read; ``None`` where neither has any.

    Raises:
        ConfigError: several sources have one.
    """
    found = {kept.source: (kept, keys) for kept, keys in _everything(bench, wanted)}
    if len(found) > 1:
        remedy = "Say which: source=PART OF ITS NAME, or upload=NAME."
        named = ", ".join(sorted(found)[:3])
        raise ConfigError(f"{len(found)} sources have a series {wanted.point!r}: {named}", remedy)
    return next(iter(found.values()), None)


def _everything(bench: Workbench, wanted: SeriesWanted) -> Iterator[tuple[Kept, Mapping[str, Any]]]:
    """Those of the series' name, of uploads first: what the cache has of them stands for the same values."""
    from tsad.sources.cache import cache_folder, listing
    from tsad.tracking.assets import UPLOAD, assets, files_of, rows_of

    for loop in Inventory(bench).loops:
        for record in assets(loop, UPLOAD):
            if wanted.upload not in ("", record.name):
                continue
            rows = [row for row in rows_of(loop, record) if row["point_id"] == wanted.point]
            source = f"csv:{files_of(loop, record).as_posix()}" if rows else ""
            for row in rows if _is_of(source, f"upload {record.name}", wanted.source) else ():
                common: dict[str, Any] = {"source": source, "bytes": 0, "fetched_at": record.created / 1000}
                yield Kept(**common, **row), record.about.get("keys", {})
    for kept in listing(cache_folder(bench.home)) if not wanted.upload else ():
        if kept.point_id == wanted.point and _is_of(kept.source, kept.source, wanted.source):
            yield kept, {}


def _is_of(source: str, named: str, asked: str) -> bool:
    """Whether a source's description, or what it is called by, is the one that is asked for; "" = any."""
    return not asked or any(asked in text or fnmatchcase(text, asked) for text in (source, named))
