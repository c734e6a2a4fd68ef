"""Series from Apache IoTDB 2.x, tree or table model: many points per statement, resumed where a connection breaks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tsad.core.durations import parse_duration
from tsad.core.errors import AccessError, ConfigError, SeriesError, SourceError, TooManyRowsError
from tsad.core.intervals import intervals_to_mask, point_scores
from tsad.core.series import Series
from tsad.core.types import Detection, FloatArray, IntArray, Interval
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Labelling, Source, bounds, one_of
from tsad.sources.iotdb.connection import Connection, Login, parse_nodes
from tsad.sources.iotdb.models import AGGREGATES, Field, Place, Span, TableModel, TreeModel, Windows
from tsad.sources.iotdb.reader import Known, Reader, Statistics
from tsad.sources.iotdb.writer import write_detection
from tsad.sources.labels import known_points, read_interval_csv
from tsad.sources.times import UNITS
from tsad.sources.validate import Rules, validate

__all__ = ["IotdbSource"]

_LAST_NS = 2**63 - 1
_WIDE = 2 * 366 * 86_400 * 10**9  # ns: two years


class IotdbSource(Source):
    """Series from IoTDB; every argument is explained in ``conf/source/iotdb.yaml``.

    Nothing connects before it is asked for. What points there are is looked up once in the life of the object.

    Raises:
        ConfigError: a value that no server could satisfy.
    """

    name = "iotdb"
    ranged = True

    def __init__(
        self,
        *,
        nodes: list[str],
        user_env: str,
        password_env: str,
        model: str,
        paths: list[str],
        prefix: str,
        database: str,
        table: str,
        tags: list[str] | None,
        fields: list[str] | None,
        separator: str,
        layout: str,
        aggregate: str | None,
        every: str | None,
        since: str | None,
        until: str | None,
        write_back: bool,
        labels: str | None,
        labels_end: str,
        fetch_rows: int,
        max_rows: int,
        timeout_seconds: float,
        retries: int,
        duplicates: str,
        backward: str,
        infinite: str,
        min_points: int,
    ) -> None:
        super().__init__()
        one_of("model", model, "tree", "table")
        one_of("layout", layout, "point", "device")
        one_of("labels_end", labels_end, "exclusive", "inclusive")
        one_of("duplicates", duplicates, "last", "mean", "error")
        one_of("backward", backward, "sort", "error")
        one_of("infinite", infinite, "error", "missing")
        for key, value in (("fetch_rows", fetch_rows), ("max_rows", max_rows), ("timeout_seconds", timeout_seconds)):
            if value <= 0:
                raise ConfigError(f"source.{key}={value} is not positive")
        self.rules = Rules(duplicates=duplicates, backward=backward, infinite=infinite, min_points=min_points)
        self.windows = _windows(aggregate, every)
        self.model: TreeModel | TableModel = (
            TreeModel(layout=layout, paths=paths, prefix=prefix)
            if model == "tree"
            else TableModel(
                layout=layout, database=database, table=table, tags=tags, fields=fields, separator=separator
            )
        )
        self.login = Login(
            nodes=parse_nodes(nodes), user=os.environ.get(user_env) or "root",
            password=os.environ.get(password_env) or "root", user_env=user_env, password_env=password_env,
            dialect=self.model.dialect, timeout=timeout_seconds, retries=max(0, retries),
            database=database if model == "table" else "",
        )  # fmt: skip
        self.span, self.write_back = bounds(since, until), write_back
        self.max_rows = max_rows
        self.labels, self.labels_end = Path(labels).expanduser() if labels else None, labels_end
        self._connection = Connection(self.login)
        self._reader = Reader(self._connection, self.model, fetch_rows, self.windows)
        self._places: dict[str, Place] | None = None
        self._labels: dict[str, tuple[Interval, ...]] | None = None

    def points(self) -> list[str]:
        """See :meth:`Source.points`; points whose values are no numbers are listed too, and fail by name when read."""
        return sorted(self._index())

    def describe(self) -> str:
        return f"iotdb:{self.login.places.replace(' ', '')}/{self.model.describe()}"

    def identity(self) -> str:
        return digest_of_parts("iotdb", sorted(self.login.nodes), self.model.identity(), self.windows, self.rules)

    def digest(self, point_id: str | None = None) -> str:
        """From where and how points are read; a database does not say when its rows change."""
        if point_id is not None:
            self._at([point_id])
        return digest_of_parts(self.identity(), point_id)

    def extents(self, point_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See :meth:`Source.extents`: one statement for some hundred points.

        Raises:
            AccessError: the user sees none of the points' values.
        """
        places = self._at(point_ids)
        known = self._statistics(places, Span(None, None))
        unit, out = UNITS[self._connection.precision], {}
        for point_id, place in places.items():
            ends = [k for f in place.fields if (k := known.get((place.device, f))) and k.count]
            if ends:
                first, last = min(k.first for k in ends), max(k.last for k in ends)
                if self.windows is not None:
                    every = self.windows.every_in(self._connection.precision)
                    first, last = first // every * every, last // every * every
                out[point_id] = (first * unit, min(last * unit + 1, _LAST_NS))
        return out

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`: pieces, in the order asked, handed on as they become complete.

        Raises:
            TooManyRowsError: before anything is read.
            SourceUnavailableError: the server cannot be reached, or was lost and did not come back in time.
        """
        places = self._at(point_ids)
        for point_id in [p for p, place in places.items() if not all(f.numeric for f in place.fields)]:
            kind = places.pop(point_id).fields[0].type
            self.failures[point_id] = SeriesError(
                f"point {point_id!r} of {self.describe()} is of type {kind}, not a number", "Leave it out."
            )
        span = self._narrowed(self._span(start, end), places)
        known = self._statistics(places, span)
        filled = {p: place for p, place in places.items() if any(_count(known, place, f) for f in place.fields)}
        if self.windows is not None:
            span = self._clipped(span, known)
        self._bounded(filled, known, span)
        known = {(place.device, f): known.get((place.device, f), Known(0, 0, 0))
                 for place in filled.values() for f in place.fields}  # fmt: skip
        names = {place: point_id for point_id, place in filled.items()}
        for place, stamps, values in self._reader.read(list(filled.values()), known, span):
            try:
                series = self._piece(names[place], place, stamps, values)
            except SeriesError as error:
                self.failures[names[place]] = error
                continue
            yield series

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`: from ``source.labels``, a CSV of intervals."""
        if self.labels is None:
            return None
        if self._labels is None:
            self._labels = read_interval_csv(self.labels, ends=self.labels_end)
        return {p: Labelling(self._labels[p]) for p in point_ids if p in self._labels}

    def write(self, series: Series, detection: Detection) -> int:
        """See :meth:`Source.write`: ``<point>.anomaly_score`` (DOUBLE) and ``<point>.anomaly`` (BOOLEAN)."""
        place = self._at([series.point_id])[series.point_id]
        unit = UNITS[self._connection.precision]
        stamps, rest = np.divmod(series.timestamps, unit)
        if rest.any():
            raise SourceError(
                f"the timestamps of {series.point_id!r} are finer than the server's {self._connection.precision}",
                "Write back what was read from this server.",
            )
        flags = intervals_to_mask(detection.intervals, series.timestamps)
        scores = point_scores(detection, series.timestamps)
        return write_detection(self._connection, self.model, place, stamps, scores, flags)

    def close(self) -> None:
        self._connection.close()

    def _index(self) -> dict[str, Place]:
        if self._places is None:
            self._places = self.model.catalogue(self._connection)
            names = self._reader.names
            for place in self._places.values():
                names.setdefault(place.device, set()).update(f.name for f in place.fields)
            if self.labels is not None:
                self._labels = read_interval_csv(self.labels, ends=self.labels_end)
                known_points(self._labels, self._places, self.labels)
        return self._places

    def _at(self, point_ids: Sequence[str]) -> dict[str, Place]:
        index = self._index()
        missing = sorted(set(point_ids) - set(index))
        if missing:
            raise self._unknown(missing, sorted(index))
        return {p: index[p] for p in point_ids}

    def _statistics(self, places: dict[str, Place], span: Span) -> Statistics:
        """Counts of what the server shows; a timeseries that it lists but does not count is one without the right."""
        known = self._reader.statistics(places.values(), span)
        if isinstance(self.model, TableModel) or not places:
            return known
        hidden = [p for p, place in places.items() if not any((place.device, f) in known for f in place.fields)]
        if hidden:
            refused = AccessError(
                f"IoTDB at {self.login.places} keeps the values of {hidden[0]!r}"
                + (f" and {len(hidden) - 1} more points" if len(hidden) > 1 else "")
                + f" from user {self.login.user!r}",
                f"GRANT READ_DATA ON root.** TO USER {self.login.user}, or ask for its own points only.",
            )
            if len(hidden) == len(places):
                raise refused
            self.failures.update(dict.fromkeys(hidden, refused))
        return known

    def _span(self, start: int | None, end: int | None) -> Span:
        """A range in ns as the server's integers: the same rows lie in it."""
        precision = self._connection.precision
        unit = UNITS[precision] if self.windows is None else self.windows.every_in(precision) * UNITS[precision]
        scale = 1 if self.windows is None else self.windows.every_in(precision)
        first = None if start is None else -(-start // unit) * scale
        return Span(first, None if end is None else -(-end // unit) * scale)

    def _narrowed(self, span: Span, places: dict[str, Place]) -> Span:
        """A range of years cut to where there is something: the server lists each of its weeks for each device."""
        if span.start is None or span.end is None:
            return span
        wide = (span.end - span.start) * UNITS[self._connection.precision] > _WIDE
        return self._clipped(span, self._statistics(places, Span(None, None))) if wide else span

    def _clipped(self, span: Span, known: Statistics) -> Span:
        """The part of a range that holds rows, in whole windows: the server makes each window, empty or not."""
        every = 1 if self.windows is None else self.windows.every_in(self._connection.precision)
        counted = [k for k in known.values() if k.count]
        if not counted:
            return Span(0, 0)
        first = min(k.first for k in counted) // every * every
        end = (max(k.last for k in counted) // every + 1) * every
        start = first if span.start is None else max(first, span.start)
        return Span(start, max(start, end if span.end is None else min(end, span.end)))

    def _bounded(self, places: dict[str, Place], known: Statistics, span: Span) -> None:
        total = sum(max(_count(known, place, f) for f in place.fields) for place in places.values())
        if self.windows is not None and span.start is not None and span.end is not None:
            every = self.windows.every_in(self._connection.precision)
            total = min(total, (span.end - span.start) // every * len(places))
        if total > self.max_rows:
            raise TooManyRowsError(
                f"{len(places)} point(s) of {self.describe()} hold {total:,} rows in the range asked for, "
                f"more than source.max_rows={self.max_rows:,}",
                f"Ask for less (source.since=, source.until=), aggregate (source.aggregate=avg source.every=60s), "
                f"or set source.max_rows={total}.",
            )

    def _piece(self, point_id: str, place: Place, stamps: IntArray, values: FloatArray) -> Series:
        unit = UNITS[self._connection.precision]
        if len(stamps) and max(abs(int(stamps[0])), abs(int(stamps[-1]))) > _LAST_NS // unit:
            raise SeriesError(
                f"point {point_id!r} of {self.describe()} has times outside 1677 to 2262",
                "Ask for a range inside, or mend the timestamps.",
            )
        alone = self.model.layout == "point"
        return validate(
            point_id, stamps * unit if unit > 1 else stamps, values,
            ("value",) if alone else tuple(f.name for f in place.fields), source=f"{self.describe()}",
            duplicates=self.rules.duplicates, backward=self.rules.backward, infinite=self.rules.infinite, piece=True,
        )  # fmt: skip


def _count(known: Statistics, place: Place, field: Field) -> int:
    found = known.get((place.device, field))
    return found.count if found else 0


def _windows(aggregate: str | None, every: str | None) -> Windows | None:
    if aggregate is None:
        return None
    if aggregate not in AGGREGATES:
        raise ConfigError(f"source.aggregate={aggregate!r} is not known", f"Take one of {', '.join(AGGREGATES)}.")
    span = parse_duration(every or "", "source.every")
    if span % 1_000_000:
        raise ConfigError(f"source.every={every!r} is no whole number of milliseconds", "Write e.g. 500ms or 60s.")
    return Windows(aggregate, span // 1_000_000)
