"""What sources that read files share: points found in files, digests by the state of files, labels from a CSV."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from tsad.core.errors import SeriesError, SourceError, TsadError
from tsad.core.option_model import Configured, Options
from tsad.core.reading import ReadFailure, failure_text
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source
from tsad.sources.choices import (
    Backward,
    DaylightSaving,
    Duplicates,
    Infinite,
    LabelsEnd,
    Layout,
    NegativeLabels,
    Thousands,
    worded,
)
from tsad.sources.csv_columns import ColumnRules
from tsad.sources.csv_files import NamedFiles, named_files, state_of
from tsad.sources.label_column import LabelWords
from tsad.sources.labels import known_points, read_interval_csv, with_labels
from tsad.sources.rows import ParsedTable, TableFormat
from tsad.sources.times import TimeReader
from tsad.sources.validate import Rules
from tsad.sources.written import Writing

READING = 2  # how the same keys read the same file; a new number lets no cache answer with what was read before
# Texts that mean "no value" in every file; source.missing adds to them.
MISSING = ("", "-", "NA", "N/A", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None")


class FileOptions(Options):
    """What every kind of file is told; ``conf/source/csv.yaml`` explains each key."""

    root: str
    glob: list[str] = Field(min_length=1)
    layout: Layout
    time_column: str | list[str] | None
    time_format: str
    time_zone: str
    daylight_saving: DaylightSaving
    point_column: str | None
    value_columns: list[str] | None
    ignore_columns: list[str]
    label_column: str | None
    negative_labels: NegativeLabels
    abnormal_labels: list[str] | None
    decimal: Literal[".", ","]
    thousands: Thousands
    units: list[str]
    missing: list[str]
    labels: str | None
    labels_end: LabelsEnd
    duplicates: Duplicates
    backward: Backward
    infinite: Infinite
    min_points: int = Field(ge=1)

    @model_validator(mode="after")
    def _readable(self) -> FileOptions:
        if not self.root:
            raise ValueError("source.root is empty. Give a file, a folder or a glob: source.root=FOLDER.")
        if self.time_column == []:
            raise ValueError("source.time_column is empty. Name one column, or date and time: [Date,Time].")
        if self.thousands == self.decimal:
            raise ValueError(f"source.thousands and source.decimal are both {self.decimal!r}. Change one of them.")
        worded(self.times)
        return self

    def times(self) -> TimeReader:
        """How the time column is read."""
        return TimeReader(self.time_format, self.time_zone, self.daylight_saving)

    def form(self) -> TableFormat:
        """How rows are read."""
        values = None if self.value_columns is None else tuple(self.value_columns)
        time = tuple(self.time_column) if isinstance(self.time_column, list) else self.time_column
        columns = ColumnRules(
            self.layout, time, self.point_column, values, tuple(self.ignore_columns), self.label_column
        )
        rules = Rules(
            duplicates=self.duplicates, backward=self.backward, infinite=self.infinite, min_points=self.min_points
        )
        abnormal = None if self.abnormal_labels is None else tuple(self.abnormal_labels)
        labels = LabelWords(self.negative_labels, abnormal)
        return TableFormat(columns, self.times(), labels, rules, self.writing())

    def writing(self) -> Writing:
        """How numbers are written."""
        return Writing(self.decimal, self.thousands, tuple(self.units), (*MISSING, *self.missing))


class FileLocation(NamedTuple):
    """Where a point is found: a file, or several that make one table, and in a wide one its column."""

    paths: tuple[Path, ...]
    column: str | None


@dataclass(frozen=True)
class Listing:
    """What a look at the files has told.

    Attributes:
        places: where each point is found.
        unopened: files (wide, long) whose points could not be told, by their own names.
    """

    places: Mapping[str, FileLocation]
    unopened: Mapping[str, TsadError] = field(default_factory=dict)


class FileSource(Configured, Source):
    """Series from files below ``root``; what there is, is looked up once in the life of the object.

    A kind of file implements ``inside`` and ``rows``.
    """

    options_model: ClassVar[type[Options]] = FileOptions
    encoding: str = "utf-8"  # of the CSV of labels

    def __init__(self, options: FileOptions | None = None, **given: Any) -> None:
        settings: FileOptions = self.configured(options, given)
        self.root, self.glob, self.layout = Path(settings.root).expanduser(), tuple(settings.glob), settings.layout
        self.form = settings.form()
        self._signature = digest_of_parts(READING, sorted(settings.model_dump(exclude={"root", "glob"}).items()))
        self.labels = Path(settings.labels).expanduser() if settings.labels else None
        self.labels_end = settings.labels_end
        self._labels: dict[str, tuple[Interval, ...]] | None = None
        self._listing: Listing | None = None

    @abstractmethod
    def inside(self, name: str, path: Path, *, alone: bool) -> Listing:
        """The points of a file of this name, whose columns (wide) or rows (long) they are; rows of none are unopened.

        Args:
            alone: it is the only file, so that its name is not part of theirs.
        """

    @abstractmethod
    def rows(self, point_ids: Sequence[str], place: FileLocation, start: int | None, end: int | None) -> ParsedTable:
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

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        """See :meth:`Source.fetch`: a file is parsed once for all of its points that follow each other.

        Files whose points could not be told come first, as failures by their own names.
        """
        index, labels = self.index(), self._interval_labels()
        yield from (ReadFailure(name, error) for name, error in self.listing().unopened.items())
        for paths, group in groupby(point_ids, key=lambda point_id: index[point_id].paths):
            for members in self.together(paths, list(group)):
                try:
                    rows = self.rows(members, FileLocation(paths, None), start, end)
                except TsadError as error:
                    yield from (ReadFailure(point_id, error) for point_id in members)
                    continue
                for point_id in members:
                    try:
                        series = self._series(rows, point_id, index[point_id].column)
                        yield series if labels is None else with_labels(series, labels)
                    except TsadError as error:
                        yield ReadFailure(point_id, error)

    def index(self) -> Mapping[str, FileLocation]:
        """Where each point is found; as :meth:`listing`."""
        return self.listing().places

    def listing(self) -> Listing:
        """What there is.

        Raises:
            SourceError: nothing there, or a point in two files.
        """
        if self._listing is None:
            self._listing = self.looked_up()
        return self._listing

    def looked_up(self) -> Listing:
        """What there is, now; as :meth:`listing`."""
        named = named_files(self.root, self.glob)
        if self.layout == "multichannel":
            return Listing({name: FileLocation((path,), None) for name, path in named.files.items()}, named.refused)
        return self._inside_all(named)

    def _inside_all(self, named: NamedFiles) -> Listing:
        index: dict[str, FileLocation] = {}
        unopened: dict[str, TsadError] = dict(named.refused)
        for name, path in named.files.items():
            try:
                listing = self.inside(name, path, alone=len(named.files) == 1)
            except TsadError as error:
                unopened[name] = error
                continue
            unopened |= listing.unopened
            for point_id, place in listing.places.items():
                if point_id in index:
                    unopened[point_id] = SourceError(
                        f"point {point_id!r} is in {index[point_id].paths[0]} and in {path}", "Put it into one file."
                    )
                else:
                    index[point_id] = place
        index = {point_id: place for point_id, place in index.items() if point_id not in unopened}
        return self.filled(Listing(index, unopened))

    def listed(self, name: str, path: Path, points: pa.ChunkedArray, row_of: Callable[[int], int]) -> Listing:
        """The points that a point column [T] names; rows without a name are a failure beside them."""
        places = {str(p): FileLocation((path,), None) for p in points.unique().to_pylist() if p is not None}
        if not points.null_count:
            return Listing(places)
        row = row_of(int(np.flatnonzero(points.is_null().to_numpy())[0]))
        found = f"{path}: row {row} names no point ({points.null_count} row(s) in all)"
        error = SeriesError(found, "Name it, or remove it.")
        return Listing(places, {f"{name} (rows without a point)": error})

    def filled(self, listing: Listing) -> Listing:
        """The listing itself.

        Raises:
            SourceError: it has no points; says why.
        """
        if not listing.places:
            raise SourceError(
                f"no points in {self.describe()}: {failure_text(listing.unopened)}", "Check source.layout."
            )
        return listing

    def wanted(self, point_ids: Sequence[str]) -> list[str] | None:
        """The columns of these points of a wide file; ``None`` = all value columns."""
        index = self.index()
        return [column for p in point_ids if (column := index[p].column) is not None] or None

    def _series(self, rows: ParsedTable, point_id: str, column: str | None) -> Series:
        if column is not None:
            return rows.column(point_id, column)
        return rows.point(point_id) if rows.columns.point is not None else rows.all(point_id)

    def _interval_labels(self) -> dict[str, tuple[Interval, ...]] | None:
        if self.labels is not None and self._labels is None:
            read = read_interval_csv(self.labels, self.form.times, ends=self.labels_end, encoding=self.encoding)
            known_points(read, self.points(), self.labels)
            self._labels = read
        return self._labels
