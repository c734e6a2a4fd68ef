"""Series from text files: one file, a folder, or a glob; plain or gzip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tsad.core.errors import ConfigError, SourceError, TsadError
from tsad.core.types import Interval, Series
from tsad.sources.base import Source, digest_of
from tsad.sources.csv_columns import ColumnRules
from tsad.sources.csv_files import named_files, state_of
from tsad.sources.csv_rows import Reading, Rows
from tsad.sources.csv_text import Dialect, read_columns, read_head
from tsad.sources.labels import known_points, read_interval_csv, with_labels
from tsad.sources.times import TimeReader
from tsad.sources.validate import Rules


class Place(NamedTuple):
    """Where a point is found: a file, and in a wide one its column."""

    path: Path
    column: str | None


class CsvSource(Source):
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
        super().__init__()
        self._signature = digest_of(sorted(given.items()))
        _one_of("layout", layout, "multichannel", "wide", "long")
        _one_of("negative_labels", negative_labels, "error", "normal", "anomaly")
        _one_of("labels_end", labels_end, "exclusive", "inclusive")
        _one_of("duplicates", duplicates, "last", "mean", "error")
        _one_of("backward", backward, "sort", "error")
        _one_of("infinite", infinite, "error", "missing")
        if not root:
            raise ConfigError("source.root is empty", "Give a file, a folder or a glob: source.root=FOLDER.")
        self.root, self.glob, self.layout = Path(root).expanduser(), tuple(glob), layout
        self.reading = Reading(
            Dialect(separator, decimal, encoding, header, tuple(missing)),
            ColumnRules(
                layout, time_column, point_column, None if value_columns is None else tuple(value_columns),
                tuple(ignore_columns), label_column,
            ),
            TimeReader(time_format, time_zone, daylight_saving),
            negative_labels,
            Rules(duplicates=duplicates, backward=backward, infinite=infinite, min_points=min_points),
        )  # fmt: skip
        self.labels, self.labels_end = Path(labels).expanduser() if labels else None, labels_end
        self._labels: dict[str, tuple[Interval, ...]] | None = None
        self._places: dict[str, Place] | None = None
        self._unopened: dict[str, TsadError] = {}  # files (wide, long) whose points could not be told

    def points(self) -> list[str]:
        """See :meth:`Source.points`: lists files; opens them for their header (wide) or point column (long) only."""
        return sorted(self._index())

    def describe(self) -> str:
        return f"csv:{self.root.absolute().as_posix()}"

    def identity(self) -> str:
        return digest_of(self.describe(), self._signature)

    def digest(self, point_id: str | None = None) -> str:
        """From how files are read, and the size and time of change of the point's file and the labels."""
        index = self._index()
        if point_id is not None and point_id not in index:
            raise self._unknown([point_id], sorted(index))
        paths = {place.path for place in index.values()} if point_id is None else {index[point_id].path}
        states = [state_of(path) for path in (*sorted(paths), self.labels) if path is not None]
        return digest_of(self._signature, point_id, *states)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`: a file is parsed once for all of its points that follow each other."""
        index, labels = self._index(), self._interval_labels()
        self.failures.update(self._unopened)
        for path, group in groupby(point_ids, key=lambda point_id: index[point_id].path):
            members = list(group)
            columns = [column for p in members if (column := index[p].column) is not None]
            try:
                rows = Rows(path, self.reading, columns or None)
            except TsadError as error:
                self.failures.update(dict.fromkeys(members, error))
                continue
            for point_id in members:
                try:
                    series = self._series(rows, point_id, index[point_id].column)
                    series = series if labels is None else with_labels(series, labels)
                except TsadError as error:
                    self.failures[point_id] = error
                    continue
                yield series

    def _series(self, rows: Rows, point_id: str, column: str | None) -> Series:
        if column is not None:
            return rows.column(point_id, column)
        return rows.point(point_id) if self.layout == "long" else rows.all(point_id)

    def _index(self) -> dict[str, Place]:
        if self._places is None:
            files = named_files(self.root, self.glob)
            if self.layout == "multichannel":
                self._places = {name: Place(path, None) for name, path in files.items()}
            else:
                self._places = self._inner(files)
        return self._places

    def _inner(self, files: dict[str, Path]) -> dict[str, Place]:
        """Points inside files; a file that cannot be opened is a failure by its own name."""
        index: dict[str, Place] = {}
        for name, path in files.items():
            try:
                found = self._inside(name, path, alone=len(files) == 1)
            except TsadError as error:
                self._unopened[name] = error
                continue
            for point_id, place in found.items():
                if point_id in index:
                    raise SourceError(
                        f"point {point_id!r} is in {index[point_id].path} and in {path}", "Put it into one file."
                    )
                index[point_id] = place
        if not index:
            self.failures.update(self._unopened)
            raise SourceError(f"no points in {self.describe()}: {self.failure_list()}", "Check source.layout.")
        return index

    def _inside(self, name: str, path: Path, *, alone: bool) -> dict[str, Place]:
        head = read_head(path, self.reading.dialect)
        columns = self.reading.columns.choose(path, head.names)
        if columns.point is None:
            return {c if alone else f"{name}/{c}": Place(path, c) for c in columns.values}
        table = read_columns(path, head, self.reading.dialect, [columns.point], [columns.point])
        return {str(p): Place(path, None) for p in table.column(0).unique().to_pylist() if p is not None}

    def _interval_labels(self) -> dict[str, tuple[Interval, ...]] | None:
        if self.labels is not None and self._labels is None:
            read = read_interval_csv(
                self.labels, time_zone=self.reading.times.time_zone, ends=self.labels_end,
                encoding=self.reading.dialect.encoding,
            )  # fmt: skip
            known_points(read, self.points(), self.labels)
            self._labels = read
        return self._labels


def _one_of(key: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ConfigError(f"source.{key}={value!r} is not known", f"Take {', '.join(allowed[:-1])} or {allowed[-1]}.")
