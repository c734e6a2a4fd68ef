"""Series from a table of an SQL database: long (point, time, value) or wide (a column per point)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tsad.core.errors import SeriesError, SourceError, TooManyRowsError, TsadError
from tsad.core.option_model import Configured, Options
from tsad.core.reading import Extents, ReadFailure
from tsad.core.reviews import Labelling
from tsad.core.series import Series
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source, batches, bounds
from tsad.sources.csv_columns import COLUMNS, roles_text
from tsad.sources.sql.options import ELSEWHERE, SqlOptions
from tsad.sources.validate import RawSeries, Rules, validate

if TYPE_CHECKING:
    from tsad.sources.clock import Clock
    from tsad.sources.sql.connection import Database
    from tsad.sources.sql.readers import PointRows
    from tsad.sources.sql.tables import Table

BATCH = 1_000_000  # values that one statement brings: many small points, or a part of a large one
TOGETHER = 50_000_000  # values of a wide table that are held at once, so that its rows are not read for each point
NAMES = 2_000  # points named in one statement


class SqlSource(Configured, Source):
    """Series from one table or view; every option is explained in ``conf/source/sql.yaml``.

    A point's identifier is what the point column says (long), or its column's name (wide). Points, columns and the kind
    of times are looked up once in the life of the object; rows without a time belong to no range and are not read.

    Raises:
        pydantic.ValidationError: a value that no table could satisfy.
        SourceUnavailableError, AccessError: (on reading) the server does not answer, or refuses.
        TooManyRowsError: (on reading) more than ``max_rows``.
    """

    name = "sql"
    ranged = True

    options_model: ClassVar[type[Options]] = SqlOptions

    def __init__(self, options: SqlOptions | None = None, **given: Any) -> None:
        settings: SqlOptions = self.configured(options, given)
        self.settings = settings
        self._signature = digest_of_parts(sorted(settings.model_dump(exclude=ELSEWHERE).items()))
        self.wide, self.max_rows = settings.layout == "wide", settings.max_rows
        self.table_name = f"{settings.schema}.{settings.table}" if settings.schema else settings.table
        self.span, self.times = bounds(settings.since, settings.until), settings.times()
        self.rules = Rules(
            duplicates=settings.duplicates, infinite=settings.infinite, min_points=settings.min_points
        )
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
        for name in ("_table", "_clock", "_roles"):
            self.__dict__.pop(name, None)

    def extents(self, point_ids: Sequence[str]) -> Extents:
        """See :meth:`Source.extents`: one statement for up to 2,000 points."""
        from tsad.sources.sql.tables import ends

        spans: dict[str, tuple[int, int]] = {}
        for raw in self._named(point_ids):
            held = self._database.run(partial(ends, table=self._table, points=list(raw)))
            for name, (first, last) in self._clock.spans(held).items():
                spans[raw[name]] = first, last + 1
        return Extents({p: spans[p] for p in point_ids if p in spans})

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
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
                yield ReadFailure(point_id, error)
                continue
            if series is not None:
                yield series

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`: from ``labels_table``, by :func:`tsad.agreement.consensus.consensus`."""
        settings = self.settings
        if settings.labels_table is None:
            return None
        from tsad.agreement.consensus import consensus
        from tsad.sources.sql.labels import LabelsTable, read_submissions

        table = LabelsTable(
            settings.labels_table, settings.schema, settings.labels_columns, settings.labels_end == "inclusive"
        )
        submissions = read_submissions(self._database, table, list(point_ids), self.times)
        return consensus(submissions, settings.labels_agreement)

    # -- what was looked up -------------------------------------------------------------------

    @cached_property
    def _database(self) -> Database:
        from tsad.sources.sql.connection import Database, url_of

        told = self.settings
        return Database(
            url_of(told.url, told.url_env), retries=told.retries, retry_seconds=told.retry_seconds,
            timeout_seconds=told.timeout_seconds,
        )  # fmt: skip

    @cached_property
    def _table(self) -> Table:
        from tsad.sources.sql.tables import Asked, open_table

        told = self.settings
        values = None if told.value_columns is None else tuple(told.value_columns)
        asked = Asked(
            told.table, told.schema, self.wide, told.point_column, told.time_column, values, tuple(told.ignore_columns)
        )
        return self._database.run(lambda c: open_table(c, asked, self._database.place))

    @cached_property
    def _clock(self) -> Clock:
        from tsad.sources.clock import clock_of
        from tsad.sources.sql.tables import sample

        table = self._table
        some = self._database.run(lambda c: sample(c, table))
        if not some:
            raise SourceError(f"{self.describe()} holds no rows with a time", "Check source.table and rights on it.")
        return clock_of(some, self.times, f"{self.describe()}: column {table.time.name!r}")

    @cached_property
    def _roles(self) -> str:
        """What the table's columns became, in words."""
        table = self._table
        channels = [] if self.wide else [c.name for c in table.values]
        return roles_text(
            [table.time.name], None if table.point is None else table.point.name, channels, None, dict(table.ignored)
        )

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
    ) -> Iterator[tuple[str, PointRows | SeriesError]]:
        """Rows of each point, in the order asked; a statement that fails is tried again, and those before it stay."""
        from tsad.sources.sql.readers import Wanted, read_long, read_wide

        names = {p: self._points()[p] for p in point_ids}
        width = 1 if self.wide else len(self._table.values)
        for batch in batches(point_ids, [rows[p] * width for p in point_ids], TOGETHER if self.wide else BATCH, NAMES):
            cells = sum(rows[p] * width for p in batch)
            read = read_wide if self.wide else read_long
            page = BATCH // max(width, len(batch) if self.wide else 1) if cells > BATCH else None
            wanted = Wanted([names[p] for p in batch], low, high, page)
            found = read(self._database.run, self._table, self._clock, wanted)
            yield from ((p, found[names[p]]) for p in batch if names[p] in found)

    def _series(
        self, point_id: str, found: PointRows | SeriesError, start: int | None, end: int | None
    ) -> Series | None:
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
        raw = RawSeries(
            point_id, stamps[first:stop], values[first:stop], channels, times.kind, source=self.describe(),
            notes={**times.notes, COLUMNS: self._roles},
        )  # fmt: skip
        return validate(raw, self.rules, piece=True)
