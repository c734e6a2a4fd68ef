"""Series from text files: one file, a folder, or a glob; plain or gzip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tsad.core.errors import SeriesError
from tsad.sources.csv_text import Dialect, read_columns, read_head, row_number
from tsad.sources.file_source import FileSource, Place
from tsad.sources.rows import Rows


class CsvSource(FileSource):
    """Series from CSV and similar files; every argument is explained in ``conf/source/csv.yaml``.

    A point's identifier is the file's path below ``root`` without its suffix; in a ``wide`` file the column's
    name (behind the file's, where there are several files), in a ``long`` one what the point column says.
    What there is, is looked up once in the life of the object.

    Raises:
        ConfigError: a value that no file could satisfy.
        SourceError: (on reading) ``root`` does not exist or holds no matching file.
    """

    name = "csv"

    def __init__(
        self,
        *,
        root: str,
        glob: list[str],
        layout: str,
        separator: str,
        decimal: str,
        encoding: str,
        header: bool,
        missing: list[str],
        time_column: str | None,
        time_format: str,
        time_zone: str,
        daylight_saving: str,
        point_column: str | None,
        value_columns: list[str] | None,
        ignore_columns: list[str],
        label_column: str | None,
        negative_labels: str,
        labels: str | None,
        labels_end: str,
        duplicates: str,
        backward: str,
        infinite: str,
        min_points: int,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__", "root", "glob")}
        self.dialect = Dialect(separator, decimal, encoding, header, tuple(missing))
        super().__init__(root=root, glob=glob, options=given, encoding=encoding)

    def inside(self, name: str, path: Path, *, alone: bool) -> dict[str, Place]:
        head = read_head(path, self.dialect)
        columns = self.reading.columns.choose(path, head.names)
        if columns.point is None:
            return {c if alone else f"{name}/{c}": Place((path,), c) for c in columns.values}
        table = read_columns(path, head, self.dialect, [columns.point], [columns.point])
        return {str(p): Place((path,), None) for p in table.column(0).unique().to_pylist() if p is not None}

    def rows(self, point_ids: Sequence[str], place: Place, start: int | None, end: int | None) -> Rows:
        """All rows of the file: text has no place to begin at."""
        (path,) = place.paths
        head = read_head(path, self.dialect)
        columns = self.reading.columns.choose(path, head.names)
        values = self.wanted(point_ids) or columns.values
        names = [n for n in dict.fromkeys((columns.point, columns.time, columns.label, *values)) if n is not None]
        as_text = [n for n in (columns.time if self.reading.times.as_text else None, columns.point) if n is not None]
        table = read_columns(path, head, self.dialect, names, as_text)
        if table.num_rows == 0:
            raise SeriesError(f"{path} has a header but no rows", "Leave it out, or write the rows again.")
        return Rows(
            table, columns, self.reading, where=f"csv:{path.as_posix()}", values=values,
            row_of=lambda position: row_number(path, head, self.dialect, position),
            remedy="add it to source.missing, or add the column to source.ignore_columns",
        )  # fmt: skip
