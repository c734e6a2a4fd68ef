"""Series from a table of an SQL database: long (point, time, value) or wide (a column per point)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import ConfigError, SeriesError, SourceError, TooManyRowsError, TsadError
from tsad.core.series import Series
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Labelling, Source, batches, bounds, one_of
from tsad.sources.times import TimeReader
from tsad.sources.validate import Rules, validate

if TYPE_CHECKING:
    from tsad.sources.clock import Clock
    from tsad.sources.sql.connection import Database
    from tsad.sources.sql.readers import Rows
    from tsad.sources.sql.tables import Table

BATCH = 1_000_000  # values that one statement brings: many small points, or a part of a large one
TOGETHER = 50_000_000  # values of a wide table that are held at once, so that its rows are not read for each point
NAMES = 2_000  # points named in one statement
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Arguments that do not change what a series is; the place is told apart by describe().
_ELSEWHERE = {
    "self", "__class__", "url", "url_env", "labels_table", "labels_columns", "labels_end", "labels_agreement",
    "since", "until", "max_rows", "retries", "retry_seconds", "timeout_seconds",
}  # fmt: skip


class SqlSource(Source):
    """Series from one table or view; every argument is explained in ``conf/source/sql.yaml``.

    A point's identifier is what the point column says (long), or its column's name (wide). Points, columns and the kind
    of times are looked up once in the life of the object; rows without a time belong to no range and are not read.

    Raises:
        ConfigError: a value that no table could satisfy.
        SourceUnavailableError, AccessError: (on reading) the server does not answer, or refuses.
        TooManyRowsError: (on reading) more than ``max_rows``.
    """

    name = "sql"
    ranged = True

    def __init__(
        self,
        *,
        url: str | None,
        url_env: str,
        schema: str | None,
        table: str,
        layout: str,
        point_column: str | None,
        time_column: str | None,
        value_columns: list[str] | None,
        ignore_columns: list[str],
        time_format: str,
        time_zone: str,
        daylight_saving: str,
        since: str | None,
        until: str | None,
        labels_table: str | None,
        labels_columns: dict[str, str | None],
        labels_end: str,
        labels_agreement: float,
        duplicates: str,
        infinite: str,
        min_points: int,
        max_rows: int,
        retries: int,
        retry_seconds: float,
        timeout_seconds: float,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in _ELSEWHERE}
        super().__init__()
        self._signature = digest_of_parts(sorted(given.items()))
        one_of("layout", layout, "long", "wide")
        one_of("labels_end", labels_end, "exclusive", "inclusive")
        one_of("duplicates", duplicates, "last", "mean", "error")
        one_of("infinite", infinite, "error", "missing")
        if not _VARIABLE.fullmatch(url_env):
            raise ConfigError("source.url_env is no name of an environment variable", "It names where the URL is kept.")
        if not table:
            raise ConfigError("source.table is empty", "Name the table or view that holds the series.")
        if "%" in time_format:
            raise ConfigError(f"source.time_format={time_format!r} is for files", "Make a view with a timestamp.")
        if min(max_rows, retries + 1) < 1 or retry_seconds < 0 or timeout_seconds <= 0:
            raise ConfigError(
                f"source.max_rows={max_rows}, retries={retries}, retry_seconds={retry_seconds:g}, "
                f"timeout_seconds={timeout_seconds:g} cannot be",
                "None may be negative, and one row and some time are needed.",
            )
        self.url, self.url_env, self.wide = url, url_env, layout == "wide"
        self.table_name = f"{schema}.{table}" if schema else table
        self.schema, self.max_rows = schema, max_rows
        self._columns = (
            table, schema, self.wide, point_column, time_column,
            None if value_columns is None else tuple(value_columns), tuple(ignore_columns),
        )  # fmt: skip
        self.span = bounds(since, until)
        self.times = TimeReader(time_format, time_zone, daylight_saving)
        self.rules = Rules(duplicates=duplicates, infinite=infinite, min_points=min_points)
        if labels_table is not None:
            from tsad.sources.sql.labels import check_columns

            check_columns(labels_columns)
        if not 0.0 <= labels_agreement <= 1.0:
            raise ConfigError(f"source.labels_agreement={labels_agreement:g} is outside 0..1", "1 = edges count.")
        self._labels = (labels_table, labels_columns, labels_end, labels_agreement)
        self._patience = (retries, retry_seconds, timeout_seconds)
        self._raw: dict[str, Any] | None = None  # what the point column holds, by the point's name

    # -- what a source offers -----------------------------------------------------------------

    def points(self) -> list[str]:
        """See :meth:`Source.points`: the columns of a wide table; one statement for a long one."""
        return sorted(self._points())

    def describe(self) -> str:
        return f"sql:{self._database.place}/{self.table_name}"

    def identity(self) -> str:
        """From database, table and how they are read; whoever reads them, and from which labels."""
        return digest_of_parts(self.describe(), self._signature)

    def digest(self, point_id: str | None = None) -> str:
        """From :meth:`identity`: a database does not say when a series has changed."""
        return digest_of_parts(self.identity(), point_id)

    def close(self) -> None:
        """Forget what was looked up; no connection stays open between statements."""
        self._raw = None
        for name in ("_table", "_clock"):
            self.__dict__.pop(name, None)

    def extents(self, point_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See :meth:`Source.extents`: one statement for up to 2,000 points."""
        from tsad.sources.sql.tables import ends

        found: dict[str, tuple[int, int]] = {}
        for raw in self._named(point_ids):
            spans = self._database.run(partial(ends, table=self._table, points=list(raw)))
            for held, (first, last) in self._clock.spans(spans).items():
                found[raw[held]] = first, last + 1
        return {p: found[p] for p in point_ids if p in found}

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`: statements that bring many points each, or a part of a large one.

        Raises:
            TooManyRowsError: counted before anything is read.
        """
        low, high = self._clock.bounds(start, end)
        rows = self._counted(point_ids, low, high)
        for point_id, found in self._read([p for p in point_ids if p in rows], rows, low, high):
            try:
                series = self._series(point_id, found, start, end)
            except TsadError as error:
                self.failures[point_id] = error
                continue
            if series is not None:
                yield series

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`: from ``labels_table``, by :func:`tsad.sources.consensus.consensus`."""
        name, columns, closing, agreement = self._labels
        if name is None:
            return None
        from tsad.sources.consensus import consensus
        from tsad.sources.sql.labels import read_submissions

        said = read_submissions(
            self._database, name, self.schema, columns, list(point_ids), self.times, inclusive=closing == "inclusive"
        )
        return consensus(said, agreement)

    # -- what was looked up -------------------------------------------------------------------

    @cached_property
    def _database(self) -> Database:
        from tsad.sources.sql.connection import Database, url_of

        retries, pause, limit = self._patience
        return Database(url_of(self.url, self.url_env), retries=retries, retry_seconds=pause, timeout_seconds=limit)

    @cached_property
    def _table(self) -> Table:
        from tsad.sources.sql.tables import Asked, open_table

        return self._database.run(lambda c: open_table(c, Asked(*self._columns), self._database.place))

    @cached_property
    def _clock(self) -> Clock:
        from tsad.sources.clock import clock_of
        from tsad.sources.sql.tables import sample

        table = self._table
        some = self._database.run(lambda c: sample(c, table))
        if not some:
            raise SourceError(f"{self.describe()} holds no rows with a time", "Check source.table and rights on it.")
        return clock_of(some, self.times, f"{self.describe()}: column {table.time.name!r}")

    def _points(self) -> dict[str, Any]:
        if self._raw is None:
            from tsad.sources.sql.tables import known_points

            table = self._table
            if self.wide:
                self._raw = {c.name: c.name for c in table.values}
            else:
                self._raw = {str(p): p for p in self._database.run(lambda c: known_points(c, table))}
            if not self._raw:
                raise SourceError(f"{self.describe()} holds no points", "Check source.table and the user's rights.")
        return self._raw

    # -- reading ------------------------------------------------------------------------------

    def _named(self, point_ids: Sequence[str]) -> Iterator[dict[Any, str]]:
        """What the table calls these points -> their names, as many at once as a statement takes."""
        known = self._points()
        every = [p for p in point_ids if p in known]
        for at in range(0, len(every), NAMES):
            yield {known[p]: p for p in every[at : at + NAMES]}

    def _counted(self, point_ids: Sequence[str], low: Any, high: Any) -> dict[str, int]:
        """Rows of each point in the range.

        Raises:
            TooManyRowsError: more in all than ``max_rows``.
        """
        from tsad.sources.sql.tables import counts

        rows: dict[str, int] = {}
        for raw in self._named(point_ids):
            found = self._database.run(
                partial(counts, table=self._table, points=list(raw), low=low, high=high)
            )
            for held, number in found.items():
                if held not in raw:
                    raise SourceError(
                        f"{self.describe()} takes {held!r} for another of its points: its point column ignores case or "
                        "accents", "Make a view that compares them exactly (a binary collation).",
                    )
                rows[raw[held]] = number
        total = sum(rows.values())
        if total > self.max_rows:
            raise TooManyRowsError(
                f"{self.describe()} holds {total:,} rows in the range asked for, of {len(rows)} point(s); "
                f"source.max_rows={self.max_rows:,}",
                f"Ask for less (source.since=, source.until=), or set source.max_rows={total}.",
            )
        return rows

    def _read(
        self, point_ids: Sequence[str], rows: Mapping[str, int], low: Any, high: Any
    ) -> Iterator[tuple[str, Rows | SeriesError]]:
        """Rows of each point, in the order asked; a statement that fails is tried again, and those before it stay."""
        from tsad.sources.sql.readers import read_long, read_wide

        names = {p: self._points()[p] for p in point_ids}
        width = 1 if self.wide else len(self._table.values)
        for batch in batches(point_ids, [rows[p] * width for p in point_ids], TOGETHER if self.wide else BATCH, NAMES):
            cells = sum(rows[p] * width for p in batch)
            read = read_wide if self.wide else read_long
            found = read(
                self._database.run, self._table, self._clock, [names[p] for p in batch], low, high,
                page=BATCH // max(width, len(batch) if self.wide else 1) if cells > BATCH else None,
            )  # fmt: skip
            yield from ((p, found[names[p]]) for p in batch if names[p] in found)

    def _series(self, point_id: str, found: Rows | SeriesError, start: int | None, end: int | None) -> Series | None:
        """The rows inside the range as a piece of a series, ``None`` where there are none.

        Raises:
            SeriesError: a time or a value that is none.
        """
        where = f"series {point_id!r} ({self.describe()})"
        if isinstance(found, SeriesError):
            raise SeriesError(f"{where}: {found.found}", found.remedy)
        channels = ("value",) if self.wide else tuple(c.name for c in self._table.values)
        columns = []
        for name, column in zip(channels, found.values, strict=True):
            if isinstance(column, SeriesError):
                inside = point_id if self.wide else name
                raise SeriesError(f"{where}: in column {inside!r} {column.found}", column.remedy)
            columns.append(column)
        times = self._clock.times(found.times, where)
        stamps, values = times.stamps, np.column_stack(columns)
        if (np.diff(stamps) < 0).any():  # the server was not asked for an order
            order = np.argsort(stamps, kind="stable")
            stamps, values = stamps[order], values[order]
        first = 0 if start is None else int(np.searchsorted(stamps, start))
        stop = len(stamps) if end is None else int(np.searchsorted(stamps, end))
        if stop <= first:
            return None
        return validate(
            point_id, stamps[first:stop], values[first:stop], channels, time_kind=times.kind, source=self.describe(),
            notes=times.notes, piece=True, **asdict(self.rules),
        )
