"""What sources that read files share: points found in files, digests by the state of files, labels from a CSV."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tsad.core.errors import ConfigError, SourceError, TsadError
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source, one_of
from tsad.sources.csv_columns import ColumnRules
from tsad.sources.csv_files import named_files, state_of
from tsad.sources.labels import known_points, read_interval_csv, with_labels
from tsad.sources.rows import Reading, Rows
from tsad.sources.times import TimeReader
from tsad.sources.validate import Rules


class Place(NamedTuple):
    """Where a point is found: a file, or several that make one table, and in a wide one its column."""

    paths: tuple[Path, ...]
    column: str | None


class FileSource(Source):
    """Series from files below ``root``; what there is, is looked up once in the life of the object.

    A kind of file implements ``inside`` and ``rows``.

    Args:
        options: all that say how files are read, by the names that their YAML gives them: those of every kind of file
            (``layout`` to ``min_points``), and the kind's own.
        encoding: of the CSV of labels.
    """

    def __init__(self, *, root: str, glob: Sequence[str], options: Mapping[str, Any], encoding: str) -> None:
        super().__init__()
        columns, labels, labels_end = options["value_columns"], options["labels"], options["labels_end"]
        reading = Reading(
            ColumnRules(
                options["layout"], options["time_column"], options["point_column"],
                None if columns is None else tuple(columns), tuple(options["ignore_columns"]), options["label_column"],
            ),
            TimeReader(options["time_format"], options["time_zone"], options["daylight_saving"]),
            options["negative_labels"],
            Rules(**{key: options[key] for key in ("duplicates", "backward", "infinite", "min_points")}),
        )  # fmt: skip
        one_of("layout", reading.columns.layout, "multichannel", "wide", "long")
        one_of("negative_labels", reading.negative_labels, "error", "normal", "anomaly")
        one_of("labels_end", labels_end, "exclusive", "inclusive")
        one_of("duplicates", reading.rules.duplicates, "last", "mean", "error")
        one_of("backward", reading.rules.backward, "sort", "error")
        one_of("infinite", reading.rules.infinite, "error", "missing")
        if not root:
            raise ConfigError("source.root is empty", "Give a file, a folder or a glob: source.root=FOLDER.")
        self.root, self.glob, self.layout = Path(root).expanduser(), tuple(glob), reading.columns.layout
        self.reading, self._signature, self._encoding = reading, digest_of_parts(sorted(options.items())), encoding
        self.labels, self.labels_end = Path(labels).expanduser() if labels else None, labels_end
        self._labels: dict[str, tuple[Interval, ...]] | None = None
        self._places: dict[str, Place] | None = None
        self._unopened: dict[str, TsadError] = {}  # files (wide, long) whose points could not be told

    @abstractmethod
    def inside(self, name: str, path: Path, *, alone: bool) -> dict[str, Place]:
        """The points of a file of this name, whose columns (wide) or rows (long) they are.

        Args:
            alone: it is the only file, so that its name is not part of theirs.
        """

    @abstractmethod
    def rows(self, point_ids: Sequence[str], place: Place, start: int | None, end: int | None) -> Rows:
        """The rows of points that lie in the same files; in a wide file their columns."""

    def together(self, paths: Sequence[Path], point_ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """Points of the same files whose rows are in memory at once: all of them, where a file is read as a whole."""
        yield point_ids

    def points(self) -> list[str]:
        """See :meth:`Source.points`: lists files; opens them for their header (wide) or point column (long) only."""
        return sorted(self.index())

    def describe(self) -> str:
        return f"{self.name}:{self.root.absolute().as_posix()}"

    def identity(self) -> str:
        return digest_of_parts(self.describe(), self._signature)

    def digest(self, point_id: str | None = None) -> str:
        """From how files are read, and the size and time of change of the point's files and the labels."""
        index = self.index()
        if point_id is not None and point_id not in index:
            raise self._unknown([point_id], sorted(index))
        places = index.values() if point_id is None else [index[point_id]]
        paths = {path for place in places for path in place.paths}
        states = [state_of(path) for path in (*sorted(paths), self.labels) if path is not None]
        return digest_of_parts(self._signature, point_id, *states)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`: a file is parsed once for all of its points that follow each other."""
        index, labels = self.index(), self._interval_labels()
        self.failures.update(self._unopened)
        for paths, group in groupby(point_ids, key=lambda point_id: index[point_id].paths):
            for members in self.together(paths, list(group)):
                try:
                    rows = self.rows(members, Place(paths, None), start, end)
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

    def index(self) -> dict[str, Place]:
        """Where each point is found.

        Raises:
            SourceError: nothing there, or a point in two files.
        """
        if self._places is None:
            files = named_files(self.root, self.glob)
            if self.layout == "multichannel":
                self._places = {name: Place((path,), None) for name, path in files.items()}
            else:
                self._places = self.found_in(files)
        return self._places

    def found_in(self, files: dict[str, Path]) -> dict[str, Place]:
        """Points inside files; a file that cannot be opened is a failure by its own name."""
        index: dict[str, Place] = {}
        for name, path in files.items():
            try:
                found = self.inside(name, path, alone=len(files) == 1)
            except TsadError as error:
                self._unopened[name] = error
                continue
            for point_id, place in found.items():
                if point_id in index:
                    raise SourceError(
                        f"point {point_id!r} is in {index[point_id].paths[0]} and in {path}", "Put it into one file."
                    )
                index[point_id] = place
        return self.some(index)

    def some(self, index: dict[str, Place]) -> dict[str, Place]:
        """The index itself.

        Raises:
            SourceError: it is empty; says why.
        """
        if not index:
            self.failures.update(self._unopened)
            raise SourceError(f"no points in {self.describe()}: {self.failure_list()}", "Check source.layout.")
        return index

    def wanted(self, point_ids: Sequence[str]) -> list[str] | None:
        """The columns of these points of a wide file; ``None`` = all value columns."""
        index = self.index()
        return [column for p in point_ids if (column := index[p].column) is not None] or None

    def _series(self, rows: Rows, point_id: str, column: str | None) -> Series:
        if column is not None:
            return rows.column(point_id, column)
        return rows.point(point_id) if rows.columns.point is not None else rows.all(point_id)

    def _interval_labels(self) -> dict[str, tuple[Interval, ...]] | None:
        if self.labels is not None and self._labels is None:
            read = read_interval_csv(
                self.labels, time_zone=self.reading.times.time_zone, ends=self.labels_end, encoding=self._encoding
            )
            known_points(read, self.points(), self.labels)
            self._labels = read
        return self._labels
