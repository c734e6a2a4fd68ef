"""What every source of series offers, and how one bad point is kept from stopping the rest."""

from __future__ import annotations

import difflib
import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np

from tsad.core.errors import (
    ConfigError,
    LabelError,
    NoRowsError,
    SeriesError,
    SourceError,
    TsadError,
    UnknownPointError,
)
from tsad.core.intervals import clip, point_ends
from tsad.core.series import Series
from tsad.core.times import parse_moment
from tsad.core.types import Detection, Interval
from tsad.files.hashing import digest_of_parts
from tsad.sources.validate import Rules, fit, validate

Item = TypeVar("Item")


@dataclass(frozen=True)
class Labelling:
    """What people said of a whole series at its source: ns UTC, half-open.

    Attributes:
        intervals: abnormal stretches; empty = somebody says that nothing is.
        disputed: stretches that annotators disagree about.
    """

    intervals: tuple[Interval, ...]
    disputed: tuple[Interval, ...] = ()


class Source(ABC):
    """A place that series are read from; points that cannot be read are kept by name in ``failures``.

    A new source implements ``points``, ``fetch``, ``digest`` and ``describe``. ``fetch`` gets all asked points at
    once, so that a database answers many of them in one query, and the range in time, so that it can ask the
    server for that part only.

    A **ranged** source (a database) also implements ``extents``; its ``fetch`` yields *pieces*: exactly the range asked
    for, made by ``validate(..., piece=True)``, and nothing (no failure either) for a point without rows in it. The
    cache in front of it keeps pieces and fetches gaps alone. Where it cannot be reached, any method raises
    SourceUnavailableError, also in the middle of ``fetch``; the cache then answers.

    Attributes:
        name: short name, e.g. ``csv``.
        cacheable: whether the Parquet cache makes sense in front of it.
        ranged: whether a part of a series costs less than the whole.
        write_back: whether detections go back into the source by ``write``.
        span: ``[start, end)`` in ns UTC that reads without a range of their own are bound to; ``None`` = unbounded.
        rules: how rows become series; pieces are joined by them.
        failures: after a read, what went wrong with each point that was left out.
    """

    name: str = "source"
    cacheable: bool = True
    ranged: bool = False
    write_back: bool = False
    span: tuple[int | None, int | None] = (None, None)
    rules: Rules = Rules()

    def __init__(self) -> None:
        self.failures: dict[str, TsadError] = {}

    @abstractmethod
    def points(self) -> list[str]:
        """Identifiers of all points, sorted; reads no more than it has to.

        Raises:
            SourceError: the source cannot be reached or holds no points.
        """

    @abstractmethod
    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """Validated series of known points, in the order asked; a bad one goes into ``failures`` instead.

        Args:
            point_ids: what to read; all of them exist.
            start, end: ns UTC, half-open; a source may return more than this range, never less.
        """

    @abstractmethod
    def digest(self, point_id: str | None = None) -> str:
        """Hex digest of where a point (or all of them) comes from and how it is read; changes when either does."""

    @abstractmethod
    def describe(self) -> str:
        """One line for people and for lineage, e.g. ``csv:/data/plant``; never a secret."""

    def identity(self) -> str:
        """Hex digest of where and how series are read, whatever the state of the data; needs no connection."""
        return digest_of_parts(self.describe())

    def extents(self, point_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """``[start, end)`` in ns UTC that each point has values in; points without any are absent.

        A ranged source asks its server. The others have to read; what cannot be read is absent and in ``failures``.

        Raises:
            SourceError: no point at all could be read.
        """
        return {s.point_id: (int(s.timestamps[0]), int(s.timestamps[-1]) + 1) for s in self.read(point_ids)}

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """Labels kept beside the series, asked for at each read and put on whole series; ``None`` = it has none.

        Points that nobody has labelled are absent.
        """
        return None

    def write(self, series: Series, detection: Detection) -> int:
        """Keep scores and intervals beside the measurement, where dashboards find them; returns the rows written.

        Writing the same detection again changes nothing.

        Raises:
            SourceError: this source takes none, or the user lacks the right.
        """
        raise SourceError(f"{self.describe()} takes no detections", "Leave write_back=true out, or use source=iotdb.")

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections; the source may be used again."""

    def read(
        self, point_ids: Sequence[str] | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[Series]:
        """Series one after the other, validated; nothing is read before it is asked for.

        Args:
            point_ids: points to read, in this order; ``None`` = all.
            start, end: ns UTC, half-open; ``None`` = the source's ``span``.

        Raises:
            UnknownPointError: a point that the source does not have.
            SourceError: no point at all could be read; the message lists why.
        """
        self.failures = {}
        start, end = self.span[0] if start is None else start, self.span[1] if end is None else end
        names = self.points() if point_ids is None else self._known(point_ids)
        said = self.annotations(names)
        silent = set(names) if self.ranged else set()
        count = 0
        for series in self.fetch(names, start, end):
            silent.discard(series.point_id)
            try:
                series = whole(series, self.rules) if self.ranged else series
                piece = labelled(within(series, start, end), said, bounded=start is not None or end is not None)
            except (SeriesError, LabelError) as error:
                self.failures[series.point_id] = error
                continue
            count += 1
            yield piece
        for point_id in silent - set(self.failures):
            self.failures[point_id] = no_rows(point_id, self.describe())
        if names and not count:
            remedy = next(iter(self.failures.values())).remedy if self.failures else ""
            raise SourceError(f"no series could be read from {self.describe()}: {self.failure_list()}", remedy)

    def select(self, patterns: Sequence[str] | None) -> list[str]:
        """Points by name or shell pattern (``U1.*``), in the source's order; ``None`` or empty = all.

        Raises:
            UnknownPointError: a name or pattern that matches nothing.
        """
        points = self.points()
        if not patterns:
            return points
        chosen: set[str] = set()
        for pattern in patterns:
            hits = [pattern] if pattern in points else fnmatch.filter(points, pattern)
            if not hits:
                raise self._unknown([pattern], points)
            chosen.update(hits)
        return [p for p in points if p in chosen]

    def failure_list(self, limit: int = 5) -> str:
        """The failures as text: ``a: why; b: why; and 3 more``."""
        items = [f"{point}: {error.found}" for point, error in self.failures.items()]
        more = f"; and {len(items) - limit} more" if len(items) > limit else ""
        return "; ".join(items[:limit]) + more

    def _known(self, point_ids: Sequence[str]) -> list[str]:
        names = list(dict.fromkeys(point_ids))
        points = self.points()
        missing = sorted(set(names) - set(points))
        if missing:
            raise self._unknown(missing, points)
        return names

    def _unknown(self, missing: Sequence[str], points: Sequence[str]) -> UnknownPointError:
        near = difflib.get_close_matches(missing[0], points, n=3, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}" if near else f"It has {len(points)}, e.g. {', '.join(points[:3])}"
        named = ", ".join(repr(m) for m in missing[:5]) + (" ..." if len(missing) > 5 else "")
        return UnknownPointError(f"{self.describe()} has no point {named}", f"{hint}.")


def within(series: Series, start: int | None, end: int | None) -> Series:
    """The part of a series inside ``[start, end)``, ns UTC; the series itself where that is all of it.

    Raises:
        SeriesError: no point lies in the range.
    """
    stamps = series.timestamps
    first = 0 if start is None else int(np.searchsorted(stamps, start))
    stop = len(stamps) if end is None else int(np.searchsorted(stamps, end))
    if first == 0 and stop == len(stamps):
        return series
    if stop <= first:
        raise SeriesError(
            f"series {series.point_id!r} has no point in the range asked for",
            f"It spans {np.datetime64(int(stamps[0]), 'ns')}Z to {np.datetime64(int(stamps[-1]), 'ns')}Z.",
        )
    return series.slice(first, stop)


def whole(rows: Series, rules: Rules) -> Series:
    """Rows of a ranged source as a valid series: what pieces alone could not tell is checked and noted.

    Raises:
        SeriesError: too few points, or nothing but missing values.
    """
    return validate(
        rows.point_id, rows.timestamps, rows.values, rows.channels, time_kind=rows.time_kind, labels=rows.labels,
        source=rows.source, notes=rows.notes, **asdict(rules),
    )


def labelled(series: Series, said: Mapping[str, Labelling] | None, *, bounded: bool) -> Series:
    """The series with what people said of it at its source; as it was where nobody said anything.

    Args:
        bounded: the series is a part of what the source has, so labels outside it are no mistake.

    Raises:
        LabelError: a label that lies wholly outside the series, unless ``bounded``.
    """
    given = said.get(series.point_id) if said else None
    if given is None:
        return series
    stamps, where = series.timestamps, f"series {series.point_id!r}"
    both = given.intervals, given.disputed
    if bounded:
        span = int(stamps[0]), int(point_ends(stamps[-2:])[-1])
        both = clip(given.intervals, *span), clip(given.disputed, *span)
    return replace(series, labels=fit(both[0], stamps, where), disputed=fit(both[1], stamps, where))


def bounds(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """A source's ``span`` from its keys ``since`` and ``until``: ISO 8601, UTC where no zone is named, or an index.

    Raises:
        ConfigError: a time that cannot be read, or ``until`` not after ``since``.
    """
    start = None if since is None else parse_moment(since, "source.since")
    end = None if until is None else parse_moment(until, "source.until")
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"source.since={since} is not before source.until={until}", "Swap them.")
    return start, end


def batches(items: Sequence[Item], sizes: Iterable[int], limit: int, most: int | None = None) -> Iterator[list[Item]]:
    """What is read together, in the order given: sizes of at most ``limit`` in all, or one item; ``most`` items."""
    batch: list[Item] = []
    reached = 0
    for item, size in zip(items, sizes, strict=True):
        if batch and (reached + size > limit or len(batch) == most):
            yield batch
            batch, reached = [], 0
        batch.append(item)
        reached += size
    if batch:
        yield batch


def one_of(key: str, value: str, *allowed: str) -> None:
    """Refuse a value that is none of these.

    Raises:
        ConfigError: names the key.
    """
    if value not in allowed:
        raise ConfigError(f"source.{key}={value!r} is not known", f"Take {', '.join(allowed[:-1])} or {allowed[-1]}.")


def no_rows(point_id: str, where: str) -> NoRowsError:
    """What a ranged source's point without rows is left out for."""
    return NoRowsError(
        f"series {point_id!r} has no value in the range asked for ({where})", "Ask for another range, or leave it out."
    )
