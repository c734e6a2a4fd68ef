"""The one door: rows as a source delivers them become a valid :class:`Series`, or a named error.

What is mended is counted in ``Series.notes``; what cannot be mended without guessing is a
:class:`SeriesError` that names the row.

| found | what happens |
|---|---|
| identical timestamps | ``duplicates``: the last row stays (default), the mean of them, or an error |
| timestamps that step backwards | ``backward``: rows are sorted, stably (default), or an error |
| missing values | kept as NaN, never filled; their count and the longest run are noted |
| nothing but missing values | error |
| infinite values | ``infinite``: error (default), or taken as missing |
| a channel that never changes | kept; noted |
| fewer than ``min_points`` rows | error |

A ``piece`` of a series, as ranged sources fetch it, may be short or hold missing values only; what speaks of the
whole (missing runs, channels that never change) is noted when the pieces are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tsad.core.errors import LabelError, SeriesError
from tsad.core.intervals import point_ends, runs_of
from tsad.core.series import Series
from tsad.core.types import ANOMALY, BoolArray, FloatArray, IntArray, Interval, TimeKind

Note = int | float | str
RowOf = Callable[[int], int]  # position in what was read -> row number that a person finds in the file


_FEW = 16  # rows, below which it is not asked whether duplicates are what they seem


@dataclass(frozen=True, eq=False)
class PointLabels:
    """A label for each point, as a label column gives them.

    Attributes:
        codes: [T] int; 0 = normal, k = ``kinds[k - 1]``.
        kinds: names of the kinds of anomaly.
    """

    codes: IntArray
    kinds: tuple[str, ...] = (ANOMALY,)


Labels = PointLabels | Sequence[Interval] | BoolArray


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the door does with what it finds; see the table at the top of the module."""

    duplicates: str = "last"  # last | mean | error
    backward: str = "sort"  # sort | error
    infinite: str = "error"  # error | missing
    min_points: int = 2


@dataclass(frozen=True, eq=False)
class RawSeries:
    """Rows as a source delivers them.

    Attributes:
        timestamps: [T] int64 ns UTC (an integer index i as i seconds), in any order.
        values: [T] or [T, C], NaN where missing.
        channels: C names.
        labels: a label per point (mask [T] or :class:`PointLabels`), intervals, or ``None`` = unlabelled.
        source: where they come from; errors name it.
        notes: what the source itself has already mended.
        row_of: turns a position into the row number named in errors; ``None`` = position + 1.
    """

    point_id: str
    timestamps: npt.ArrayLike
    values: npt.ArrayLike
    channels: Sequence[str] = ("value",)
    time_kind: TimeKind = "time"
    labels: Labels | None = None
    source: str = ""
    notes: Mapping[str, Note] = field(default_factory=dict)
    row_of: RowOf | None = None

    @property
    def where(self) -> str:
        """How errors name the series."""
        return f"series {self.point_id!r}" + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows on their way through the door.

    Attributes:
        stamps, values, points: [T] ns UTC, [T, C], labels of the points.
        order: [T] where each row was in what was read; ``None`` = where it is now.
    """

    stamps: IntArray
    values: FloatArray
    points: PointLabels | None
    order: IntArray | None = None

    def sorted(self) -> _Table:
        """The rows in the order of time, stably."""
        rows = np.argsort(self.stamps, kind="stable")
        points = None if self.points is None else PointLabels(self.points.codes[rows], self.points.kinds)
        return _Table(self.stamps[rows], self.values[rows], points, rows)

    def position(self, row: int) -> int:
        """Where a row was in what was read."""
        return row if self.order is None else int(self.order[row])


def validate(raw: RawSeries, rules: Rules | None = None, *, piece: bool = False) -> Series:
    """Make a valid series of rows, or say by name why there is none.

    Args:
        rules: see the table above; ``None`` = the defaults in it.
        piece: part of a series that is joined with others later; one row is enough.

    Raises:
        SeriesError: see the table above.
        LabelError: intervals that lie wholly outside the series.
    """
    rules = Rules() if rules is None else rules
    rules = replace(rules, min_points=1) if piece else rules
    stamps = np.ascontiguousarray(raw.timestamps, dtype=np.int64)
    values = np.asarray(raw.values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    where, labels = raw.where, raw.labels
    if not raw.point_id:
        raise SeriesError(f"a series without a point_id ({raw.source or 'unknown source'})", "Give it a name.")
    if values.shape != (len(stamps), len(raw.channels)):
        raise SeriesError(f"{where}: {len(stamps)} timestamps, {len(raw.channels)} channels, values {values.shape}")
    notes: dict[str, Note] = dict(raw.notes)
    points = _point_labels(labels, len(stamps), where)
    _enough(where, len(stamps), rules)
    table = _ordered(raw, _Table(stamps, _finite(raw, values, rules, notes), points), rules, notes)
    _enough(where, len(table.stamps), rules)
    if not piece:
        _note_values(where, table.values, notes)
    if table.points is not None:
        given: tuple[Interval, ...] | None = intervals_of(table.points, table.stamps)
    else:
        given = None if labels is None else fit(_as_intervals(labels), table.stamps, where)
    return Series(
        raw.point_id, table.stamps, np.ascontiguousarray(table.values), tuple(raw.channels), raw.time_kind, given,
        raw.source, notes,
    )  # fmt: skip


def intervals_of(points: PointLabels, timestamps: IntArray) -> tuple[Interval, ...]:
    """Maximal runs of points of one kind as intervals. timestamps [T] ns, sorted."""
    codes, ends = points.codes, point_ends(timestamps)
    edges = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]))
    first = edges[:-1]
    return tuple(
        Interval(int(timestamps[a]), int(ends[b - 1]), points.kinds[int(codes[a]) - 1])
        for a, b in zip(first, edges[1:], strict=True)
        if codes[a] > 0
    )


def fit(intervals: Sequence[Interval], timestamps: IntArray, where: str) -> tuple[Interval, ...]:
    """Intervals cut to the span of a series, in time order.

    Raises:
        LabelError: one lies wholly outside: a wrong zone, unit or point is more likely than a true label.
    """
    first, end = int(timestamps[0]), int(point_ends(timestamps)[-1])
    for item in intervals:
        if item.end <= first or item.start >= end:
            raise LabelError(
                f"{where}: the label {_utc(item.start)} to {_utc(item.end)} lies outside the series, "
                f"which spans {_utc(first)} to {_utc(end)}",
                "Check time zone, time format and point_id of the labels.",
            )
    return tuple(
        sorted(Interval(max(i.start, first), min(i.end, end), i.label, i.score) for i in intervals)
    )


def _point_labels(labels: Labels | None, count: int, where: str) -> PointLabels | None:
    if isinstance(labels, np.ndarray):
        labels = PointLabels(np.asarray(labels, bool).astype(np.int64))
    if not isinstance(labels, PointLabels):
        return None
    if len(labels.codes) != count:
        raise LabelError(f"{where}: {len(labels.codes)} labels for {count} points")
    return labels


def _as_intervals(labels: Labels) -> Sequence[Interval]:
    return [item for item in labels if isinstance(item, Interval)] if isinstance(labels, (list, tuple)) else ()


def _enough(where: str, count: int, rules: Rules) -> None:
    if count == 0:
        raise SeriesError(f"{where} has no rows", "Check the file or the query: only a header, or an empty range?")
    if count < rules.min_points:
        raise SeriesError(
            f"{where} has {count} point(s), fewer than source.min_points={rules.min_points}",
            "Leave it out, or lower source.min_points.",
        )


def _row(raw: RawSeries, position: int) -> int:
    """The row that a person finds."""
    return position + 1 if raw.row_of is None else raw.row_of(position)


def _finite(raw: RawSeries, values: FloatArray, rules: Rules, notes: dict[str, Note]) -> FloatArray:
    infinite = np.isinf(values)
    if not infinite.any():
        return values
    if rules.infinite == "missing":
        notes["infinite_as_missing"] = int(infinite.sum())
        return np.where(infinite, np.nan, values)
    at, channel = np.argwhere(infinite)[0]
    raise SeriesError(
        f"{raw.where}: infinite value in column {raw.channels[channel]!r}, row {_row(raw, int(at))} "
        f"({int(infinite.sum())} in all)",
        "Mend the source, or set source.infinite=missing to take them as missing.",
    )


def _ordered(raw: RawSeries, table: _Table, rules: Rules, notes: dict[str, Note]) -> _Table:
    """Rows in the order of time, one per timestamp."""
    steps = np.diff(table.stamps)
    if (steps > 0).all():
        return table
    backward = np.flatnonzero(steps < 0)
    if len(backward):
        if rules.backward == "error":
            raise SeriesError(
                f"{raw.where}: time steps backwards at row {_row(raw, int(backward[0]) + 1)} "
                f"({len(backward)} time(s) in all)",
                "Set source.backward=sort to sort the rows.",
            )
        notes["backward_steps"] = len(backward)
        table = table.sorted()
    # first row of each group of equal timestamps
    first: IntArray = np.flatnonzero(np.concatenate(([True], np.diff(table.stamps) > 0)))
    return table if len(first) == len(table.stamps) else _without_duplicates(raw, table, first, rules, notes)


def _without_duplicates(
    raw: RawSeries, table: _Table, first: IntArray, rules: Rules, notes: dict[str, Note]
) -> _Table:
    """One row per timestamp; a labelled duplicate keeps its label, whichever row stays.

    Args:
        first: [K] the first row of each timestamp.
    """
    stamps, values, points = table.stamps, table.values, table.points
    surplus = len(stamps) - len(first)
    if rules.duplicates == "error":
        again = int(np.flatnonzero(np.diff(stamps) == 0)[0]) + 1
        raise SeriesError(
            f"{raw.where}: rows {_row(raw, table.position(again - 1))} and {_row(raw, table.position(again))} "
            f"have the same timestamp {_utc(int(stamps[again]))} ({surplus} duplicate(s) in all)",
            "Set source.duplicates=last or source.duplicates=mean.",
        )
    if rules.duplicates == "mean":
        present = ~np.isnan(values)
        total = np.add.reduceat(np.where(present, values, 0.0), first, axis=0)
        count = np.add.reduceat(present.astype(np.int64), first, axis=0)
        values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        notes["duplicates_averaged"] = surplus
    else:
        last = np.concatenate((first[1:], [len(stamps)])) - 1
        _refuse_losses(raw.where, values, values[last], np.diff(np.append(first, len(stamps))))
        values = values[last]
        notes["duplicates_dropped"] = surplus
    if points is not None:
        points = PointLabels(np.maximum.reduceat(points.codes, first), points.kinds)
    return _Table(stamps[first], values, points)


def _refuse_losses(where: str, values: FloatArray, kept: FloatArray, times: IntArray) -> None:
    """Refuse rows of which most would go for others of their timestamp: those are no duplicates.

    Args:
        values: [T, C] of all rows, in order. kept: [K, C] of those that stay. times: [K] rows of each timestamp.
    """
    stays = np.repeat(kept, times, axis=0)
    lost = int((~((values == stays) | (np.isnan(values) & np.isnan(stays))).all(axis=1)).sum())
    if len(values) >= _FEW and lost > len(values) / 2:
        raise SeriesError(
            f"{where}: {lost} of {len(values)} rows differ from another one of their timestamp: they are of several "
            "series, or the time is in several columns",
            "Set source.layout=long, source.time_column=[...] or another one, or source.duplicates=mean.",
        )


def _note_values(where: str, table: FloatArray, notes: dict[str, Note]) -> None:
    missing = np.isnan(table)
    if missing.all():
        raise SeriesError(f"{where} has only missing values", "Check the value column, or leave the point out.")
    if missing.any():
        runs = [runs_of(missing[:, c]) for c in np.flatnonzero(missing.any(axis=0))]
        notes["missing"] = int(missing.sum())
        notes["longest_missing_run"] = int(max((r[:, 1] - r[:, 0]).max() for r in runs))
    empty = missing.all(axis=0)
    if empty.any():
        notes["empty_channels"] = int(empty.sum())
    low = np.where(missing, np.inf, table).min(axis=0)
    high = np.where(missing, -np.inf, table).max(axis=0)
    constant = int((low == high).sum())
    if constant:
        notes["constant_channels"] = constant


def _utc(stamp: int) -> str:
    return f"{np.datetime64(stamp, 'ns').astype('datetime64[ms]')}Z"
