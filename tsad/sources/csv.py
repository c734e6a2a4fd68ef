"""Series from text files: one file, a folder, or a glob; plain or gzip."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from tsad.core.errors import SeriesError
from tsad.core.option_model import Options
from tsad.sources.csv_text import Dialect, read_columns, read_head, row_number
from tsad.sources.file_source import FileLocation, FileOptions, FileSource, Listing
from tsad.sources.rows import ParsedTable
from tsad.sources.values import Reference


class CsvOptions(FileOptions):
    """``source=csv``; ``conf/source/csv.yaml`` explains each key."""

    separator: str
    encoding: str
    header: bool
    skip_rows: int = Field(ge=0)

    @model_validator(mode="after")
    def _written(self) -> CsvOptions:
        if self.separator != "auto" and len(self.separator) != 1:
            raise ValueError(f"source.separator={self.separator!r}. Take one character, or auto.")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError(f"source.encoding={self.encoding!r} is not known. Take utf-8, utf-16 or gbk.") from error
        return self


class CsvSource(FileSource):
    """Series from CSV and similar files; every option is explained in ``conf/source/csv.yaml``.

    A point's identifier is the file's path below ``root`` without its suffix; in a ``wide`` file the column's
    name (behind the file's, where there are several files), in a ``long`` one what the point column says.
    What there is, is looked up once in the life of the object.

    Raises:
        pydantic.ValidationError: a value that no file could satisfy.
        SourceError: (on reading) ``root`` does not exist or holds no matching file.
    """

    name = "csv"
    options_model: ClassVar[type[Options]] = CsvOptions

    def __init__(self, options: CsvOptions | None = None, **given: Any) -> None:
        settings: CsvOptions = self.configured(options, given)
        super().__init__(settings)
        self.encoding = settings.encoding
        self.dialect = Dialect(
            settings.separator, settings.decimal, settings.encoding, settings.header, settings.writing().missing,
            settings.skip_rows,
        )

    def inside(self, name: str, path: Path, *, alone: bool) -> Listing:
        head = read_head(path, self.dialect)
        columns = self.form.columns.choose(path, head.names)
        if columns.point is None:
            return Listing({c if alone else f"{name}/{c}": FileLocation((path,), c) for c in columns.values})
        table = read_columns(path, head, self.dialect, [columns.point], whole=[columns.point])
        return self.listed(name, path, table.column(0), lambda k: row_number(path, head, self.dialect, k))

    def rows(self, point_ids: Sequence[str], place: FileLocation, start: int | None, end: int | None) -> ParsedTable:
        """All rows of the file: text has no place to begin at."""
        (path,) = place.paths
        head = read_head(path, self.dialect)
        columns = self.form.columns.choose(path, head.names)
        values = self.wanted(point_ids) or columns.values
        as_text = list(columns.times) if self.form.times.as_text or len(columns.times) > 1 else []
        names = [n for n in (columns.point,) if n is not None]
        table = read_columns(path, head, self.dialect, columns.read(values), as_text, names)
        if table.num_rows == 0:
            raise SeriesError(f"{path} has a header but no rows", "Leave it out, or write the rows again.")

        def text_of(name: str) -> pa.ChunkedArray:
            return read_columns(path, head, self.dialect, [name], [name]).column(0)

        reference = Reference(
            f"csv:{path.as_posix()}", lambda position: row_number(path, head, self.dialect, position),
            "add it to source.missing, or add the column to source.ignore_columns", text_of,
        )  # fmt: skip
        return ParsedTable(table, columns, self.form, reference, values)
