"""Series from Parquet: a file, a folder, a glob, or a set partitioned into folders such as ``point_id=A/``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tsad.core.errors import SeriesError, SourceError, TsadError
from tsad.core.option_model import Options
from tsad.core.types import NS_PER_SECOND
from tsad.sources.clock import clock_of
from tsad.sources.csv_columns import POINT_NAMES, TIME_NAMES, ColumnRules, Columns
from tsad.sources.csv_files import NamedFiles, named_files
from tsad.sources.file_source import FileLocation, FileOptions, FileSource, Listing
from tsad.sources.rows import ParsedTable
from tsad.sources.values import Reference
from tsad.sources.written import without_missing

ROWS = 20_000_000  # of a long table: about how many are held at once
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # how Hive, Spark and Arrow write a key without a value


class ParquetOptions(FileOptions):
    """``source=parquet``; ``conf/source/parquet.yaml`` explains each key."""

    hive: Literal["auto", "none"]


class ParquetSource(FileSource):
    """Series from Parquet files; every option is explained in ``conf/source/parquet.yaml``.

    Points are called as in :class:`~tsad.sources.csv.CsvSource`. Where folders are named ``key=value``, all files are
    one table, in which the keys are columns: a multichannel set is one series then, called by its root. Of a file,
    only the columns and row groups are read that points and a range in time need, by the statistics in it.

    Raises:
        pydantic.ValidationError: a value that no file could satisfy.
        SourceError: (on reading) ``root`` does not exist or holds no matching file.
    """

    name = "parquet"
    options_model: ClassVar[type[Options]] = ParquetOptions

    def __init__(self, options: ParquetOptions | None = None, **given: Any) -> None:
        settings: ParquetOptions = self.configured(options, given)
        super().__init__(settings)
        self.hive = settings.hive == "auto"
        self._schemas: dict[Path, pa.Schema] = {}

    def looked_up(self) -> Listing:
        """See :meth:`FileSource.looked_up`; a partitioned set is one table of many files."""
        if self.hive:
            named = named_files(self.root, self.glob)
            files = {n: p for n, p in named.files.items() if not self._passing(p)}
            if any(self._keys(path) for path in files.values()):
                return self.filled(self._partitioned(NamedFiles(files, named.refused)))
        return super().looked_up()

    def inside(self, name: str, path: Path, *, alone: bool) -> Listing:
        columns = self._columns(path)
        if columns.point is None:
            return Listing({c if alone else f"{name}/{c}": FileLocation((path,), c) for c in columns.values})
        return self.listed(name, path, self._points_in(path, columns.point), lambda k: k + 1)

    def rows(self, point_ids: Sequence[str], place: FileLocation, start: int | None, end: int | None) -> ParsedTable:
        """The rows of these points in all of their files, of those row groups that may hold the range."""
        first = place.paths[0]
        columns = self._columns(first)
        values = self.wanted(point_ids) or columns.values
        names = columns.read(values)
        tables = []
        for path in place.paths:
            missing = [n for n in names if n not in (*self._schema(path).names, *self._keys(path))]
            if missing:
                raise SeriesError(f"{path} has no column {missing[0]!r}, as {first} has", "Leave it out: source.glob.")
            tables.append(self._table(path, names, columns, point_ids, start, end))
        with _readable(first):
            table = pa.concat_tables(tables, promote_options="permissive")
        where = f"parquet:{(first if len(tables) == 1 else self.root).as_posix()}"
        if table.num_rows == 0:
            bounded = start is not None or end is not None
            what = "no rows in the range asked for" if bounded else "no rows"
            raise SeriesError(f"{where.partition(':')[2]} has {what}", "Leave it out, or write the rows again.")
        reference = Reference(
            where, lambda position: position + 1,
            "name the columns of numbers in source.value_columns, or add this one to source.ignore_columns",
        )
        return ParsedTable(table, columns, self.form, reference, values)

    def together(self, paths: Sequence[Path], point_ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """See :meth:`FileSource.together`: of a large long table, so many points as are some millions of rows."""
        total = 0
        for path in paths:
            with suppress(SourceError), _readable(path):  # reading it will say what is wrong
                total += pq.read_metadata(path).num_rows
        size = len(point_ids) if self.layout != "long" else max(1, len(point_ids) * ROWS // max(total, 1))
        for at in range(0, len(point_ids), size):
            yield point_ids[at : at + size]

    def _partitioned(self, named: NamedFiles) -> Listing:
        """The points of a partitioned set, each with the files that hold it; a damaged file is a failure by name."""
        good: list[Path] = []
        unopened: dict[str, TsadError] = dict(named.refused)
        for name, path in named.files.items():
            try:
                self._schema(path)
            except TsadError as error:
                unopened[name] = error
            else:
                good.append(path)
        inside = self._places_in(tuple(good)) if good else Listing({})
        return Listing(inside.places, {**unopened, **inside.unopened})

    def _places_in(self, paths: tuple[Path, ...]) -> Listing:
        if self.layout == "multichannel":
            return Listing({self.root.name or "series": FileLocation(paths, None)})
        columns = self._columns(paths[0])
        if columns.point is None:
            return Listing({c: FileLocation(paths, c) for c in columns.values})
        members: dict[str, list[Path]] = {}
        unopened: dict[str, TsadError] = {}
        for path in paths:
            inside = self.listed(path.as_posix(), path, self._points_in(path, columns.point), lambda k: k + 1)
            unopened |= inside.unopened
            for point_id in inside.places:
                members.setdefault(point_id, []).append(path)
        return Listing({p: FileLocation(tuple(holding), None) for p, holding in members.items()}, unopened)

    def _points_in(self, path: Path, column: str) -> pa.ChunkedArray:
        """What a point column says in one file, row by row; a folder's key says it once, without reading."""
        keys = self._keys(path)
        if column in keys:
            return pa.chunked_array([pa.array([keys[column]], pa.string())])
        with _readable(path):
            table = pq.read_table(path, columns=[column], partitioning=None)
            return _plain(table, [column]).column(0)

    def _columns(self, path: Path) -> Columns:
        """Which column of a file is what; keys of its folders are points, never values."""
        schema, rules = self._schema(path), self.form.columns
        keys = [k for k in self._keys(path) if k not in schema.names]
        point = rules.point
        if rules.layout == "long" and point is None:
            point = next((k for u in POINT_NAMES for k in (*keys, *schema.names) if k.lower() == u), None)
        time = rules.time
        if time is None and not any(n.lower() in TIME_NAMES for n in schema.names):
            timed = [f.name for f in schema if pa.types.is_timestamp(f.type) or pa.types.is_date(f.type)]
            time = timed[0] if len(timed) == 1 else None
        ignored = (*rules.ignored, *(k for k in keys if k != point))
        chosen = ColumnRules(rules.layout, time, point, rules.values, ignored, rules.label)
        return chosen.choose(path, [*schema.names, *keys])

    def _table(
        self,
        path: Path,
        names: Sequence[str],
        columns: Columns,
        point_ids: Sequence[str],
        start: int | None,
        end: int | None,
    ) -> pa.Table:
        schema, keys = self._schema(path), self._keys(path)
        stored = [n for n in names if n in schema.names]
        with _readable(path):
            table = pq.read_table(
                path, columns=stored, partitioning=None,
                filters=self._filter(path, schema, columns, point_ids, start, end),
            )  # fmt: skip
            as_text = [columns.point, *(columns.times if self.form.times.as_text else ())]
            table = _plain(table, [n for n in as_text if n is not None])
            table = _emptied(table, columns.times, self.form.writing.missing)
        for name in names:
            if name not in stored:
                table = table.append_column(name, pa.array([keys[name]] * table.num_rows, pa.string()))
        return table.select(list(names))

    def _filter(
        self,
        path: Path,
        schema: pa.Schema,
        columns: Columns,
        point_ids: Sequence[str],
        start: int | None,
        end: int | None,
    ) -> pc.Expression | None:
        """Rows that are wanted, where a file's statistics may spare the others; ``None`` = all."""
        parts = []
        if columns.point in schema.names and pa.types.is_string(schema.field(columns.point).type):
            parts.append(pc.field(columns.point).isin(list(point_ids)))
        kind = schema.field(columns.time).type
        low = high = None
        plain = len(columns.times) == 1 and not self.form.times.as_text
        if (start is not None or end is not None) and _sorts(kind) and plain:
            with pq.ParquetFile(path) as file:
                some = next(file.iter_batches(1000, columns=[columns.time]), None)
            sample = [] if some is None else [v for v in some.column(0).to_pylist() if v is not None]
            if sample:
                with suppress(SourceError):  # days written as numbers are read whole
                    low, high = clock_of(sample, self.form.times, path.as_posix()).bounds(
                        # a column may count whole seconds, or nanoseconds: one second to spare on either side
                        None if start is None else start - NS_PER_SECOND, None if end is None else end + NS_PER_SECOND
                    )  # fmt: skip
        if low is not None:
            parts.append(pc.field(columns.time) >= pa.scalar(low).cast(kind, safe=False))
        if high is not None:
            parts.append(pc.field(columns.time) < pa.scalar(high).cast(kind, safe=False))
        return reduce(and_, parts) if parts else None

    def _schema(self, path: Path) -> pa.Schema:
        if path not in self._schemas:
            with _readable(path):
                self._schemas[path] = pq.read_schema(path)
        return self._schemas[path]

    def _keys(self, path: Path) -> dict[str, str | None]:
        """What the folders between root and file say: ``key=value``."""
        if not self.hive:
            return {}
        base = self.root if self.root.is_dir() else self.root.parent
        parts = path.relative_to(base).parts[:-1] if path.is_relative_to(base) else path.parts[:-1]
        pairs = (part.partition("=") for part in parts if "=" in part)
        return {key: None if value == _NO_VALUE else unquote(value) for key, _, value in pairs if key}

    def _passing(self, path: Path) -> bool:
        """What a writer has not finished: folders and files that begin with an underscore."""
        return path.is_relative_to(self.root) and any(p.startswith("_") for p in path.relative_to(self.root).parts)


def _sorts(kind: pa.DataType) -> bool:
    """Whether a column of this type is in the order of time; text need not be."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind)


def _plain(table: pa.Table, as_text: Sequence[str]) -> pa.Table:
    """Categories and large text as what they stand for; some columns as text."""
    for k, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name in as_text or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        if kind != field.type:
            table = table.set_column(k, field.name, table.column(k).cast(kind))
    return table


def _emptied(table: pa.Table, names: Sequence[str], missing: Sequence[str]) -> pa.Table:
    """Columns of text with null where it says that there is no value."""
    for name in names:
        at = table.schema.get_field_index(name)
        if at >= 0 and pa.types.is_string(table.schema.field(at).type):
            table = table.set_column(at, name, without_missing(table.column(at), missing))
    return table


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What Arrow says of a file, as an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        if "magic bytes" in text or "footer" in text or "file size is" in text:
            raise SourceError(f"{path} is no Parquet file, or a truncated one ({text})", "Copy it again.") from error
        raise SourceError(f"{path} cannot be read ({text})", "Check path and permissions, or copy it again.") from error
