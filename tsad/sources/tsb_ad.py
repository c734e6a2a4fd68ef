"""Series in the format of the TSB-AD benchmark: value columns and a ``Label`` column, no timestamps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from tsad.core.errors import SeriesError, TsadError
from tsad.core.option_model import Configured, Options
from tsad.core.reading import ReadFailure
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source
from tsad.sources.csv_files import NamedFiles, named_files, state_of
from tsad.sources.csv_text import Dialect, read_columns, read_head, row_number
from tsad.sources.label_column import LabelWords, point_labels
from tsad.sources.validate import RawSeries, validate

LABEL = "Label"
_NAME = re.compile(r"_id_\d+_.*tr_\d+_1st_\d+$")
_DIALECT = Dialect(",", ".", "utf-8", True, ("", "nan", "NaN"))


class TsbAdOptions(Options):
    """``source=tsb_ad``.

    Attributes:
        root: a file, a folder (with its subfolders) or a glob.
        glob: in a folder: which files.
    """

    root: str = Field(min_length=1)
    glob: list[str] = Field(min_length=1)


class TsbAdSource(Configured, Source):
    """Files such as ``001_NAB_id_1_Facility_tr_1007_1st_2014.csv``: ``Data,Label``, or several channels and ``Label``.

    Points are numbered from 0 (``time_kind="index"``). Source of the format: Liu and Paparrizos 2024, "The Elephant in
    the Room: Towards A Reliable Time-Series Anomaly Detection Benchmark".

    Raises:
        SourceError: (on reading) ``root`` does not exist or holds no matching file.
    """

    name = "tsb_ad"

    options_model: ClassVar[type[Options]] = TsbAdOptions

    def __init__(self, options: TsbAdOptions | None = None, **given: Any) -> None:
        settings: TsbAdOptions = self.configured(options, given)
        self.root, self.glob = Path(settings.root).expanduser(), tuple(settings.glob)
        self._files: NamedFiles | None = None

    def points(self) -> list[str]:
        return sorted(self._index())

    def describe(self) -> str:
        return f"tsb_ad:{self.root.absolute().as_posix()}"

    def digest(self, point_id: str | None = None) -> str:
        index = self._index()
        if point_id is not None and point_id not in index:
            raise self._unknown([point_id], sorted(index))
        paths = sorted(index.values()) if point_id is None else [index[point_id]]
        return digest_of_parts(point_id, *(state_of(path) for path in paths))

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        index = self._index()
        yield from (ReadFailure(name, error) for name, error in self._named().refused.items())
        for point_id in point_ids:
            try:
                yield _read(index[point_id], point_id)
            except TsadError as error:
                yield ReadFailure(point_id, error)

    def _index(self) -> dict[str, Path]:
        return self._named().files

    def _named(self) -> NamedFiles:
        if self._files is None:
            self._files = named_files(self.root, self.glob)
        return self._files


def is_tsb_ad(path: Path) -> bool:
    """Whether a file is in that format: by its name, or by a header ``Data,Label``."""
    if _NAME.search(path.name.removesuffix(".gz").removesuffix(".csv")):
        return True
    try:
        return tuple(read_head(path, _DIALECT).names) == ("Data", LABEL)
    except TsadError:
        return False


def _read(path: Path, point_id: str) -> Series:
    """One file as a series.

    Raises:
        SeriesError: no column ``Label``, nothing beside it, or a value that is no number.
    """
    where = f"tsb_ad:{path.as_posix()}"
    head = read_head(path, _DIALECT)
    channels = tuple(n for n in head.names if n != LABEL)
    if LABEL not in head.names or not channels:
        raise SeriesError(f"{where} has the columns {', '.join(head.names[:12])}", f"It needs values and {LABEL}.")
    table = read_columns(path, head, _DIALECT, [*channels, LABEL])

    def row_of(position: int) -> int:
        return row_number(path, head, _DIALECT, position)

    try:
        values = np.column_stack([table.column(c).cast(pa.float64()).to_numpy() for c in channels])
    except pa.ArrowInvalid as error:
        raise SeriesError(f"{where}: a value is no number: {error}", "Mend the file.") from error
    labels, notes = point_labels(table.column(LABEL), LabelWords(), name=LABEL, where=where, row_of=row_of)
    stamps = np.arange(len(values), dtype=np.int64) * NS_PER_SECOND
    return validate(RawSeries(point_id, stamps, values, channels, "index", labels, where, notes, row_of))
