"""Labels that people already have: a CSV of intervals, attached to the series they belong to.

Columns: ``point_id, start, end`` and, optional, ``label`` (the kind) and ``score``. Times as the series have
them (see ``times.py``), whole numbers for series with an integer index. A row with neither start nor end says that
its point was looked at and nothing is abnormal; a point without any row stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsad.core.errors import LabelError, SeriesError
from tsad.core.names import of_cell
from tsad.core.series import Series
from tsad.core.types import ANOMALY, FloatArray, IntArray, Interval
from tsad.sources.csv_text import Dialect, Head, read_columns, read_head, row_number
from tsad.sources.times import TimeReader
from tsad.sources.validate import fit

_NAMES = {
    "point_id": ("point_id", "point", "series", "tag"),
    "start": ("start", "start_time", "begin"),
    "end": ("end", "end_time", "stop"),
    "label": ("label", "kind", "type"),
    "score": ("score",),
}
_MISSING = ("", "NA", "NaN", "nan", "null", "None")


def read_interval_csv(
    path: Path, times: TimeReader | None = None, *, ends: str = "exclusive", encoding: str = "utf-8"
) -> dict[str, tuple[Interval, ...]]:
    """Intervals of each point in a CSV file.

    Args:
        times: how the times of the series are read; its labels' times alike or, where that cannot be, as ``auto``.
            ``None`` = ``auto``, UTC. A repeated hour is not told by the order of labels.
        ends: ``exclusive`` = the end is the first normal instant; ``inclusive`` = the last abnormal one.

    Returns:
        Point -> intervals in time order; an empty tuple where a row says that nothing is abnormal.

    Raises:
        LabelError: a column, time or score that is missing or wrong; an end before its start.
        SourceError: the file cannot be read.
    """
    dialect = Dialect("auto", ".", encoding, True, _MISSING)
    try:
        head = read_head(path, dialect)
        columns = _columns(path, head)
        text = [columns[k] for k in ("point_id", "label") if k in columns]
        reader = times or TimeReader()
        reader = replace(reader, daylight_saving="error") if reader.daylight_saving == "infer" else reader
        text += [columns[k] for k in ("start", "end")] if reader.as_text else []
        table = read_columns(path, head, dialect, list(columns.values()), text)
        file = _LabelFile(path, head, dialect, columns)
        try:
            return _intervals(file, table, reader, ends)
        except SeriesError:
            if reader.time_format in ("auto", "index"):  # an index is no time, however it is written
                raise
            with suppress(SeriesError, LabelError):  # written in another way than the series, without doubt
                return _intervals(file, table, replace(reader, time_format="auto"), ends)
            raise
    except SeriesError as error:
        raise LabelError(error.found, error.remedy) from error


def with_labels(series: Series, labels: Mapping[str, tuple[Interval, ...]]) -> Series:
    """The series with its labels from ``labels``, cut to its span; as it was where ``labels`` says nothing of it.

    Raises:
        LabelError: a label that lies wholly outside the series.
    """
    given = labels.get(series.point_id)
    if given is None:
        return series
    return replace(series, labels=fit(given, series.timestamps, f"series {series.point_id!r}"))


def known_points(labels: Mapping[str, object], points: Iterable[str], path: Path) -> None:
    """Refuse labels of points that the source does not have.

    Raises:
        LabelError: naming them.
    """
    have = set(points)
    unknown = sorted(set(labels) - have)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise LabelError(
            f"{path} labels {', '.join(map(repr, unknown[:5]))}{more}, which the source does not have",
            f"Its points are called, e.g., {', '.join(sorted(have)[:3])}.",
        )


def _columns(path: Path, head: Head) -> dict[str, str]:
    lowered = {name.lower(): name for name in head.names}
    found = {
        key: lowered[next(n for n in usual if n in lowered)]
        for key, usual in _NAMES.items()
        if any(n in lowered for n in usual)
    }
    missing = [key for key in ("point_id", "start", "end") if key not in found]
    if missing:
        raise LabelError(
            f"{path} has no column {', '.join(missing)}: it has {', '.join(head.names)}",
            "A CSV of intervals has point_id, start, end and, optional, label and score.",
        )
    return found


@dataclass(frozen=True)
class _LabelFile:
    """A CSV of intervals, and which of its columns is what."""

    path: Path
    head: Head
    dialect: Dialect
    columns: dict[str, str]

    def row(self, position: int) -> int:
        """The row that a person finds."""
        return row_number(self.path, self.head, self.dialect, position)

    def refused(self, position: int, found: str, remedy: str) -> LabelError:
        return LabelError(f"{self.path}: row {self.row(position)}: {found}", remedy)


def _intervals(
    file: _LabelFile, table: pa.Table, reader: TimeReader, ends: str
) -> dict[str, tuple[Interval, ...]]:
    path, columns, refused = file.path, file.columns, file.refused
    names = table.column(columns["point_id"]).to_pylist()
    if None in names:
        raise refused(names.index(None), "no point_id", "Name the point.")
    points = [of_cell(str(name)) for name in names]
    no_start, no_end = (table.column(columns[k]).is_null().to_numpy() for k in ("start", "end"))
    half = np.flatnonzero(no_start != no_end)
    if len(half):
        raise refused(int(half[0]), "a start without an end, or an end without a start", "Give both, or neither.")
    out: dict[str, list[Interval]] = {point: [] for point in points}
    rows = np.flatnonzero(~no_start)
    filled = table.take(pa.array(rows))
    if not len(rows):
        return dict.fromkeys(out, ())
    start, end = (
        reader.read(filled.column(columns[k]), str(path), lambda k: file.row(int(rows[k]))) for k in ("start", "end")
    )
    if start.kind != end.kind:
        raise LabelError(f"{path}: start is a {start.kind}, end a {end.kind}", "Set both to times or to an index.")
    stops = end.stamps + (1 if ends == "inclusive" else 0)
    kinds = filled.column(columns["label"]).to_pylist() if "label" in columns else [None] * len(rows)
    scores = _scores(filled, columns, rows, refused)
    for k, row in enumerate(rows):
        if stops[k] <= start.stamps[k]:
            raise refused(int(row), "the end is not after the start", "Swap them, or read ends=inclusive.")
        out[points[row]].append(
            Interval(int(start.stamps[k]), int(stops[k]), of_cell(kinds[k] or ANOMALY), float(scores[k]))
        )
    return {point: tuple(sorted(items)) for point, items in out.items()}


def _scores(
    filled: pa.Table, columns: dict[str, str], rows: IntArray, refused: Callable[[int, str, str], LabelError]
) -> FloatArray:
    """Confidence of each row, 1 where none is given. [K] float64."""
    if "score" not in columns:
        return np.ones(len(rows))
    column = filled.column(columns["score"])
    if pa.types.is_string(column.type):
        raise refused(int(rows[0]), f"column {columns['score']!r} holds text", "Scores are numbers in 0..1.")
    scores = column.cast(pa.float64()).fill_null(1.0).to_numpy()
    bad = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(bad):
        raise refused(int(rows[bad[0]]), f"score {scores[bad[0]]:g} is outside 0..1", "Rescale the scores.")
    return scores
