"""What every source of series offers, and how one bad point is kept from stopping the rest."""

from __future__ import annotations

import difflib
import fnmatch
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from tsad.core.reading import (
    Extents,
    Part,
    ReadFailure,
    ReadItem,
    ReadSummary,
    SeriesRead,
    SeriesStream,
    failure_text,
)
from tsad.core.reviews import Labelling
from tsad.core.series import Series
from tsad.core.times import parse_moment
from tsad.core.types import Detection
from tsad.files.hashing import digest_of_parts
from tsad.sources.validate import RawSeries, Rules, fit, validate

Item = TypeVar("Item")


class Source(ABC):
    """A place that series are read from; a point that cannot be read is a failure by name among the series.

    What one read met comes back with that read: any number of them may run over one object at once. On the object stays
    only what a source looks up once in its life (its files, columns, points).

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
    """

    group = "source"
    name: str = "source"
    cacheable: bool = True
    ranged: bool = False
    write_back: bool = False
    span: tuple[int | None, int | None] = (None, None)
    rules: Rules = Rules()

    @abstractmethod
    def points(self) -> list[str]:
        """Identifiers of all points, sorted; reads no more than it has to.

        Raises:
            SourceError: the source cannot be reached or holds no points.
        """

    @abstractmethod
    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        """Validated series of known points, in the order asked; of a bad one a named failure instead.

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

    def extents(self, point_ids: Sequence[str]) -> Extents:
        """Where each point has values; points without any are absent.

        A ranged source asks its server. The others have to read; what cannot be read is among the failures.

        Raises:
            SourceError: no point at all could be read.
        """
        stream = SeriesStream(self.read(point_ids))  # one after the other: they need not all be held
        stamps = ((read.point_id, read.series.timestamps) for read in stream)
        spans = {point_id: (int(times[0]), int(times[-1]) + 1) for point_id, times in stamps}
        return Extents(spans, stream.summary.failures, stream.summary.unreachable)

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

    def require_writable(self) -> None:  # noqa: B027 - most keep nothing
        """Say now, not after hours, that what is read cannot be kept where it is to be.

        Raises:
            CacheError: there is a cache in front of the source, and it cannot be written.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections; the source may be used again."""

    def unasked(self, why: str) -> Source:
        """The same series for the rest of a call in which the source could not be reached, without asking it again.

        The source itself, unless something stands in front of it that can answer alone.
        """
        return self

    def read(
        self, point_ids: Sequence[str] | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[ReadItem]:
        """Series one after the other, validated, and failures by name; nothing is read before it is asked for.

        The last item is a :class:`~tsad.core.reading.ReadSummary`; :func:`~tsad.core.reading.gather` collects all.

        Args:
            point_ids: points to read, in this order; ``None`` = all.
            start, end: ns UTC, half-open; ``None`` = the source's ``span``.

        Raises:
            UnknownPointError: a point that the source does not have.
            SourceError: (behind the summary) no point at all could be read; the message lists why.
        """
        start, end = self.span[0] if start is None else start, self.span[1] if end is None else end
        names = self.points() if point_ids is None else self._known(point_ids)
        labellings = self.annotations(names)
        failures: dict[str, TsadError] = {}
        provenance: dict[str, tuple[Part, ...]] = {}
        for item in self._outcomes(names, start, end):
            if isinstance(item, SeriesRead):
                item = self._delivered(item, (start, end), labellings)
            if isinstance(item, SeriesRead):
                provenance[item.point_id] = item.parts
            elif item.point_id in failures:
                continue  # a file that cannot be opened is met by every fetch
            else:
                failures[item.point_id] = item.error
            yield item
        summary = self._summary(failures, provenance)
        yield summary
        if names and not summary.count:
            remedy = next(iter(failures.values())).remedy if failures else ""
            raise SourceError(f"no series could be read from {self.describe()}: {failure_text(failures)}", remedy)

    def _outcomes(
        self, names: Sequence[str], start: int | None, end: int | None
    ) -> Iterator[SeriesRead | ReadFailure]:
        """What :meth:`fetch` gives, each series with its range; points that a ranged source is silent of fail."""
        silent = dict.fromkeys(names) if self.ranged else {}
        for item in self.fetch(names, start, end):
            silent.pop(item.point_id, None)
            yield item if isinstance(item, ReadFailure) else from_source(item)
        yield from (ReadFailure(point_id, no_rows(point_id, self.describe())) for point_id in silent)

    def _delivered(
        self, item: SeriesRead, asked: tuple[int | None, int | None], labellings: Mapping[str, Labelling] | None
    ) -> SeriesRead | ReadFailure:
        """A series cut to the range asked for, with its labels; a failure where it cannot be."""
        bounded = asked != (None, None)
        try:
            series = whole(item.series, self.rules) if self.ranged else item.series
            series = labelled(within(series, *asked), labellings, bounded=bounded)
        except (SeriesError, LabelError) as error:
            return ReadFailure(item.point_id, error, item.parts)
        return SeriesRead(series, item.parts)

    def _summary(
        self, failures: Mapping[str, TsadError], provenance: Mapping[str, tuple[Part, ...]]
    ) -> ReadSummary:
        return ReadSummary(source=self.describe(), count=len(provenance), failures=failures, provenance=provenance)

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


def from_source(series: Series) -> SeriesRead:
    """A series that its source has just sent."""
    span = int(series.timestamps[0]), int(series.timestamps[-1]) + 1
    return SeriesRead(series, (Part(*span, "source", time.time(), series.time_kind),))


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
    raw = RawSeries(
        rows.point_id, rows.timestamps, rows.values, rows.channels, rows.time_kind, rows.labels, rows.source, rows.notes
    )
    return validate(raw, rules)


def labelled(series: Series, labellings: Mapping[str, Labelling] | None, *, bounded: bool) -> Series:
    """The series with what people said of it at its source; as it was where nobody said anything.

    Args:
        bounded: the series is a part of what the source has, so labels outside it are no mistake.

    Raises:
        LabelError: a label that lies wholly outside the series, unless ``bounded``.
    """
    given = labellings.get(series.point_id) if labellings else None
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


def no_rows(point_id: str, where: str) -> NoRowsError:
    """What a ranged source's point without rows is left out for."""
    return NoRowsError(
        f"series {point_id!r} has no value in the range asked for ({where})", "Ask for another range, or leave it out."
    )
