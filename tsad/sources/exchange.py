"""Files that people exchange: what an algorithm said of a series, as CSV under a name that says whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from tsad.core.errors import FileNameError, LabelError
from tsad.core.intervals import intervals_to_mask, point_ends, point_scores
from tsad.core.names import cell
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Detection, FloatArray, IntArray, Interval
from tsad.files.atomic import atomic
from tsad.sources.csv_text import Dialect, read_columns, read_head
from tsad.sources.labels import read_interval_csv
from tsad.sources.naming import FileName, file_name, parse_file_name
from tsad.sources.times import TimeReader


def write_intervals(
    folder: Path, series: Series, intervals: Sequence[Interval], model_version: str
) -> Path:
    """Write intervals as ``point_id,start,end,label,score,model_version``; what :func:`read_intervals` and ``labels=``
    read. The file is named for the version.

    Ends are exclusive. No intervals at all is one row without start and end: looked at, nothing abnormal.

    Raises:
        StorageError: the folder cannot be written.
        FileNameError: a point whose name is too long.
    """
    kind, version = series.time_kind, cell(model_version)
    rows = [
        (cell(series.point_id), format_time(i.start, kind), format_time(i.end, kind), cell(i.label), repr(i.score),
         version)
        for i in intervals
    ] or [(cell(series.point_id), "", "", "", "", version)]
    names = ("point_id", "start", "end", "label", "score", "model_version")
    return _write(folder, series, model_version, dict(zip(names, zip(*rows, strict=True), strict=True)))


def write_detection(folder: Path, series: Series, detection: Detection, algorithm: str | None = None) -> Path:
    """Write a detection as ``timestamp,score,anomaly,model_version``, a row per point.

    Args:
        algorithm: what the file is named for; ``None`` = the model version.

    Raises:
        StorageError, FileNameError: as :func:`write_intervals`.
    """
    stamps: object = series.timestamps // 1_000_000_000
    if series.time_kind == "time":
        fine = bool((series.timestamps % 1_000_000_000).any())
        text = np.datetime_as_string(series.timestamps.view("M8[ns]"), unit="ns" if fine else "s")
        stamps = np.char.add(text, "Z")
    mask = intervals_to_mask(detection.intervals, series.timestamps)
    version = detection.origin.model_version
    columns = {
        "timestamp": stamps, "score": point_scores(detection, series.timestamps), "anomaly": mask.astype(np.int8),
        "model_version": pa.array([cell(version)] * len(series)),
    }  # fmt: skip
    return _write(folder, series, algorithm or version, columns)


def read_intervals(path: Path) -> tuple[FileName, tuple[Interval, ...]]:
    """Read back what :func:`write_intervals` wrote.

    Raises:
        FileNameError: the name does not follow the form, or names another point than the rows.
        LabelError, SourceError: the content cannot be read.
    """
    name = parse_file_name(path.name)
    found = read_interval_csv(path, TimeReader("index" if name.time_kind == "index" else "iso"))
    if set(found) != {name.point_id}:
        raise FileNameError(f"{path} is named for {name.point_id!r} and holds {', '.join(sorted(found))}", "Rename it.")
    return name, found[name.point_id]


def read_detection(path: Path) -> tuple[FileName, IntArray, FloatArray]:
    """Read back what :func:`write_detection` wrote: name, timestamps [T] ns UTC, scores [T].

    Raises:
        FileNameError: the name does not follow the form.
        SeriesError, SourceError: the content cannot be read.
    """
    name = parse_file_name(path.name)
    dialect = Dialect("auto", ".", "utf-8", True, ("", "nan"))
    head = read_head(path, dialect)
    if not {"timestamp", "score"} <= set(head.names):
        raise LabelError(f"{path} has no column timestamp and score: it has {', '.join(head.names)}")
    table = read_columns(path, head, dialect, ["timestamp", "score"])
    reader = TimeReader("index" if name.time_kind == "index" else "iso")
    stamps = reader.read(table.column("timestamp"), str(path), lambda k: k + 2).stamps
    return name, stamps, table.column("score").cast(pa.float64()).to_numpy()


def _write(folder: Path, series: Series, algorithm: str, columns: dict[str, object]) -> Path:
    end = int(point_ends(series.timestamps)[-1])
    name = file_name(series.point_id, int(series.timestamps[0]), end, algorithm, time_kind=series.time_kind)
    with atomic(folder / name) as partial:
        pacsv.write_csv(pa.table(columns), str(partial))
    return folder / name
