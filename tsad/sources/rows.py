"""Parsed rows, of one file or several: times, values and labels, handed out as validated series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from tsad.core.errors import SeriesError
from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray
from tsad.sources.csv_columns import COLUMNS, ColumnRules, Columns, roles_text
from tsad.sources.label_column import LabelWords, point_labels
from tsad.sources.several import check_single
from tsad.sources.times import TimeReader, Times, joined_text
from tsad.sources.validate import Note, PointLabels, RawSeries, Rules, validate
from tsad.sources.values import Reference, settled_by_point, value_columns
from tsad.sources.written import Writing, as_numbers


@dataclass(frozen=True)
class TableFormat:
    """How rows are read: columns, times, labels, numbers, and what the door does with them."""

    columns: ColumnRules
    times: TimeReader
    labels: LabelWords
    rules: Rules
    writing: Writing


class ParsedTable:
    """The rows of one file, or of several that make one table.

    Args:
        table: the columns that ``columns`` names, the point column as text; at least one row.
        values: value columns to hand out.

    Raises:
        SeriesError, LabelError: what makes all rows unreadable.
    """

    def __init__(
        self, table: pa.Table, columns: Columns, form: TableFormat, reference: Reference, values: Sequence[str]
    ) -> None:
        self.columns, self.form, self.reference = columns, form, reference
        self.notes: dict[str, Note] = {}
        self.rows_of = _grouped(table.column(columns.point)) if columns.point is not None else {}
        self.times = self._read_times(table)
        self.notes.update(self.times.notes)
        chosen, layout = form.columns.values is not None, form.columns.layout
        self.values = value_columns(table, values, layout, chosen, form.writing, reference)
        if layout == "multichannel":
            check_single(table, columns, self.values, self.times)
        elif layout == "long":
            settled_by_point(self.values, self.rows_of, chosen)
        self.labels: PointLabels | None = None
        if columns.label is not None:
            self.labels, notes = point_labels(
                table.column(columns.label), form.labels, name=columns.label, where=reference.where,
                row_of=reference.row_of,
            )  # fmt: skip
            self.notes.update(notes)
        self.notes[COLUMNS] = self._roles()

    def all(self, point_id: str) -> Series:
        """The whole file as one series, its value columns as channels."""
        numbers = self.values.numbers
        return self._series(point_id, tuple(numbers), numbers, slice(None))

    def column(self, point_id: str, name: str) -> Series:
        """One column as a series of its own (wide).

        Raises:
            SeriesError: it holds text.
        """
        if name in self.values.texts:
            raise self.values.error(name)
        return self._series(point_id, ("value",), {"value": self.values.numbers[name]}, slice(None))

    def point(self, point_id: str) -> Series:
        """The rows of one point (long).

        Raises:
            SeriesError: it has none here, or text among them.
        """
        rows = self.rows_of.get(point_id)
        if rows is None:
            found = f"series {point_id!r} has no rows in {self.reference.where}"
            raise SeriesError(found, "Is the range in time empty?")
        own = {name: column[rows] for name, column in self.values.numbers.items()}
        for name, column in self.values.texts.items():
            own[name], bad = as_numbers(column.take(pa.array(rows)), self.form.writing)
            if bad.any():
                raise self.values.error(name, rows)
        return self._series(point_id, tuple(own), own, rows)

    def _read_times(self, table: pa.Table) -> Times:
        """The time of each row; where a repeated hour is told by the order of rows, point by point."""
        form, where, row_of = self.form, self.reference.where, self.reference.row_of
        column = joined_text([table.column(n) for n in self.columns.times])
        if form.times.daylight_saving != "infer" or not self.rows_of:
            return form.times.read(column, where, row_of)
        stamps = np.zeros(len(column), np.int64)
        times = None
        for rows in self.rows_of.values():
            if len(rows):
                times = form.times.read(column.take(pa.array(rows)), where, partial(_row_among, row_of, rows))
                stamps[rows] = times.stamps
        return form.times.read(column, where, row_of) if times is None else replace(times, stamps=stamps)

    def _roles(self) -> str:
        """What each column became, in words."""
        columns, values = self.columns, self.values
        channels = [] if self.form.columns.layout == "wide" else [*values.numbers, *values.texts]
        ignored = {**dict(columns.ignored), **values.ignored}
        return roles_text(columns.times, columns.point, channels, columns.label, ignored)

    def _series(
        self, point_id: str, channels: tuple[str, ...], values: dict[str, FloatArray], rows: IntArray | slice
    ) -> Series:
        labels = self.labels
        if labels is not None and not isinstance(rows, slice):
            labels = PointLabels(labels.codes[rows], labels.kinds)
        row_of = self.reference.row_of
        raw = RawSeries(
            point_id, self.times.stamps[rows], np.column_stack([values[c] for c in channels]), channels,
            self.times.kind, labels, self.reference.where, self.notes,
            row_of if isinstance(rows, slice) else partial(_row_among, row_of, rows),
        )  # fmt: skip
        return validate(raw, self.form.rules)


def _row_among(row_of: Callable[[int], int], rows: IntArray, position: int) -> int:
    """The row that a person finds, of a position among some rows."""
    return row_of(int(rows[position]))


def _grouped(column: pa.ChunkedArray) -> dict[str, IntArray]:
    """Rows of each point, in file order."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    return {name: order[bounds[k] : bounds[k + 1]] for k, name in enumerate(encoded.dictionary.to_pylist())}
