"""Series from Apache IoTDB 2.x, tree or table model: many points per statement, resumed where a connection breaks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tsad.core.errors import AccessError, SeriesError, SourceError, TooManyRowsError, TsadError
from tsad.core.intervals import intervals_to_mask, point_scores
from tsad.core.option_model import Configured, Options
from tsad.core.reading import Extents, ReadFailure
from tsad.core.reviews import Labelling
from tsad.core.series import Series
from tsad.core.types import Detection, FloatArray, IntArray, Interval
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source, bounds
from tsad.sources.iotdb.connection import Connection, Login, parse_nodes
from tsad.sources.iotdb.models import Device, Field, Place, TableModel, TickRange
from tsad.sources.iotdb.options import IotdbOptions
from tsad.sources.iotdb.reader import Known, Reader, Statistics
from tsad.sources.iotdb.writer import JudgedPoints, write_detection
from tsad.sources.labels import known_points, read_interval_csv
from tsad.sources.times import UNITS, TimeReader
from tsad.sources.validate import RawSeries, validate

__all__ = ["IotdbSource"]

_LAST_NS = 2**63 - 1
_WIDE = 2 * 366 * 86_400 * 10**9  # ns: two years


class _OfThread(threading.local):
    """One session with the server for each thread that reads: an answer under way is nobody else's."""

    def __init__(self, source: IotdbSource) -> None:
        self.connection = Connection(source.login)
        source._sessions.append(self.connection)
        names = source._names
        self.reader = Reader(self.connection, source.model, source.settings.fetch_rows, source.windows, names)


class IotdbSource(Configured, Source):
    """Series from IoTDB; every option is explained in ``conf/source/iotdb.yaml``.

    Nothing connects before it is asked for. What points there are is looked up once in the life of the object.

    Raises:
        pydantic.ValidationError: a value that no server could satisfy.
    """

    name = "iotdb"
    ranged = True

    options_model: ClassVar[type[Options]] = IotdbOptions

    def __init__(self, options: IotdbOptions | None = None, **given: Any) -> None:
        settings: IotdbOptions = self.configured(options, given)
        self.settings, self.rules, self.windows = settings, settings.rules(), settings.windows()
        self.model = settings.asked()
        user, password = (os.environ.get(name) or "root" for name in (settings.user_env, settings.password_env))
        self.login = Login(
            nodes=parse_nodes(settings.nodes), user=user, password=password, user_env=settings.user_env,
            password_env=settings.password_env, dialect=self.model.dialect, timeout=settings.timeout_seconds,
            retries=settings.retries, database=settings.database if settings.model == "table" else "",
        )  # fmt: skip
        self.span, self.write_back = bounds(settings.since, settings.until), settings.write_back
        self.labels = Path(settings.labels).expanduser() if settings.labels else None
        self._sessions: list[Connection] = []
        self._names: dict[Device, set[str]] = {}  # all fields of each device, asked for or not
        self._own = _OfThread(self)
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

    def extents(self, point_ids: Sequence[str]) -> Extents:
        """See :meth:`Source.extents`: one statement for some hundred points.

        Raises:
            AccessError: the user sees none of the points' values.
        """
        places = self._at(point_ids)
        known, hidden = self._statistics(places, TickRange(None, None))
        unit, out = UNITS[self._connection.precision], {}
        for point_id, place in places.items():
            ends = [k for f in place.fields if (k := known.get((place.device, f))) and k.count]
            if ends:
                first, last = min(k.first for k in ends), max(k.last for k in ends)
                if self.windows is not None:
                    every = self.windows.every_in(self._connection.precision)
                    first, last = first // every * every, last // every * every
                out[point_id] = (first * unit, min(last * unit + 1, _LAST_NS))
        return Extents(out, hidden)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        """See :meth:`Source.fetch`: pieces, in the order asked, handed on as they become complete.

        Raises:
            TooManyRowsError: before anything is read.
            SourceUnavailableError: the server cannot be reached, or was lost and did not come back in time.
        """
        places = self._at(point_ids)
        for point_id in [p for p, place in places.items() if not all(f.numeric for f in place.fields)]:
            kind = places.pop(point_id).fields[0].type
            what = f"point {point_id!r} of {self.describe()} is of type {kind}, not a number"
            yield ReadFailure(point_id, SeriesError(what, "Leave it out."))
        span = self._narrowed(self._span(start, end), places)
        known, hidden = self._statistics(places, span)
        yield from (ReadFailure(point_id, error) for point_id, error in hidden.items())
        filled = {p: place for p, place in places.items() if any(_count(known, place, f) for f in place.fields)}
        if self.windows is not None:
            span = self._clipped(span, known)
        self._bounded(filled, known, span)
        known = {(place.device, f): known.get((place.device, f), Known(0, 0, 0))
                 for place in filled.values() for f in place.fields}  # fmt: skip
        names = {place: point_id for point_id, place in filled.items()}
        for place, stamps, values in self._own.reader.read(list(filled.values()), known, span):
            try:
                yield self._piece(names[place], place, stamps, values)
            except SeriesError as error:
                yield ReadFailure(names[place], error)

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`: from ``source.labels``, a CSV of intervals."""
        if self.labels is None:
            return None
        if self._labels is None:
            self._labels = self._read_labels(self.labels)
        return {p: Labelling(self._labels[p]) for p in point_ids if p in self._labels}

    def _read_labels(self, path: Path) -> dict[str, tuple[Interval, ...]]:
        times = TimeReader(time_zone=self.settings.time_zone)
        return read_interval_csv(path, times, ends=self.settings.labels_end)

    def write(self, series: Series, detection: Detection) -> int:
        """See :meth:`Source.write`: ``<point>.anomaly_score``, ``.anomaly``, ``.anomaly_model_version``."""
        place = self._at([series.point_id])[series.point_id]
        unit = UNITS[self._connection.precision]
        stamps, rest = np.divmod(series.timestamps, unit)
        if rest.any():
            raise SourceError(
                f"the timestamps of {series.point_id!r} are finer than the server's {self._connection.precision}",
                "Write back what was read from this server.",
            )
        flags = intervals_to_mask(detection.intervals, series.timestamps)
        judged = JudgedPoints(stamps, point_scores(detection, series.timestamps), flags, detection.origin.model_version)
        return write_detection(self._connection, self.model, place, judged)

    def close(self) -> None:
        for session in list(self._sessions):
            session.close()

    @property
    def _connection(self) -> Connection:
        return self._own.connection

    def _index(self) -> dict[str, Place]:
        if self._places is None:
            places = self.model.catalogue(self._connection)
            for place in places.values():
                self._names.setdefault(place.device, set()).update(f.name for f in place.fields)
            if self.labels is not None:
                self._labels = self._read_labels(self.labels)
                known_points(self._labels, places, self.labels)
            self._places = places
        return self._places

    def _at(self, point_ids: Sequence[str]) -> dict[str, Place]:
        index = self._index()
        missing = sorted(set(point_ids) - set(index))
        if missing:
            raise self._unknown(missing, sorted(index))
        return {p: index[p] for p in point_ids}

    def _statistics(
        self, places: dict[str, Place], span: TickRange
    ) -> tuple[Statistics, dict[str, TsadError]]:
        """Counts of what the server shows; a timeseries that it lists but does not count is one without the right.

        Raises:
            AccessError: none of the points may be read.
        """
        known = self._own.reader.statistics(places.values(), span)
        if isinstance(self.model, TableModel) or not places:
            return known, {}
        hidden = [p for p, place in places.items() if not any((place.device, f) in known for f in place.fields)]
        if not hidden:
            return known, {}
        refused = AccessError(
            f"IoTDB at {self.login.places} keeps the values of {hidden[0]!r}"
            + (f" and {len(hidden) - 1} more points" if len(hidden) > 1 else "")
            + f" from user {self.login.user!r}",
            f"GRANT READ_DATA ON root.** TO USER {self.login.user}, or ask for its own points only.",
        )
        if len(hidden) == len(places):
            raise refused
        return known, dict.fromkeys(hidden, refused)

    def _span(self, start: int | None, end: int | None) -> TickRange:
        """A range in ns as the server's integers: the same rows lie in it."""
        precision = self._connection.precision
        unit = UNITS[precision] if self.windows is None else self.windows.every_in(precision) * UNITS[precision]
        scale = 1 if self.windows is None else self.windows.every_in(precision)
        first = None if start is None else -(-start // unit) * scale
        return TickRange(first, None if end is None else -(-end // unit) * scale)

    def _narrowed(self, span: TickRange, places: dict[str, Place]) -> TickRange:
        """A range of years cut to where there is something: the server lists each of its weeks for each device."""
        if span.start is None or span.end is None:
            return span
        wide = (span.end - span.start) * UNITS[self._connection.precision] > _WIDE
        return self._clipped(span, self._statistics(places, TickRange(None, None))[0]) if wide else span

    def _clipped(self, span: TickRange, known: Statistics) -> TickRange:
        """The part of a range that holds rows, in whole windows: the server makes each window, empty or not."""
        every = 1 if self.windows is None else self.windows.every_in(self._connection.precision)
        counted = [k for k in known.values() if k.count]
        if not counted:
            return TickRange(0, 0)
        first = min(k.first for k in counted) // every * every
        end = (max(k.last for k in counted) // every + 1) * every
        start = first if span.start is None else max(first, span.start)
        return TickRange(start, max(start, end if span.end is None else min(end, span.end)))

    def _bounded(self, places: dict[str, Place], known: Statistics, span: TickRange) -> None:
        total = sum(max(_count(known, place, f) for f in place.fields) for place in places.values())
        if self.windows is not None and span.start is not None and span.end is not None:
            every = self.windows.every_in(self._connection.precision)
            total = min(total, (span.end - span.start) // every * len(places))
        if total > self.settings.max_rows:
            raise TooManyRowsError(
                f"{len(places)} point(s) of {self.describe()} hold {total:,} rows in the range asked for, "
                f"more than source.max_rows={self.settings.max_rows:,}",
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
        raw = RawSeries(
            point_id, stamps * unit if unit > 1 else stamps, values,
            ("value",) if alone else tuple(f.name for f in place.fields), source=self.describe(),
        )  # fmt: skip
        return validate(raw, self.rules, piece=True)


def _count(known: Statistics, place: Place, field: Field) -> int:
    found = known.get((place.device, field))
    return found.count if found else 0
