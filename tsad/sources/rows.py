"""Parsed rows, of one file or several: times, values and labels, handed out as validated series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tsad.core.errors import SeriesError
from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray
from tsad.sources.csv_columns import ColumnRules, Columns
from tsad.sources.label_column import point_labels
from tsad.sources.times import TimeReader
from tsad.sources.validate import Note, PointLabels, RawSeries, RowOf, Rules, validate


@dataclass(frozen=True)
class TableFormat:
    """How rows are read: columns, times, labels, and what the door does with them."""

    columns: ColumnRules
    times: TimeReader
    negative_labels: str
    rules: Rules


@dataclass(frozen=True, eq=False)
class Reference:
    """How errors refer to rows.

    Attributes:
        where: what they lie in, e.g. ``csv:/data/a.csv``.
        row_of: position -> the row that a person finds.
        remedy: what to do about text among numbers, beside mending it.
    """

    where: str
    row_of: RowOf
    remedy: str


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
        where, row_of = reference.where, reference.row_of
        self.notes: dict[str, Note] = {}
        self.times = form.times.read(table.column(columns.time), where, row_of)
        self.notes.update(self.times.notes)
        self.texts: dict[str, pa.ChunkedArray] = {}
        self.values = self._numbers(table, values)
        self.labels: PointLabels | None = None
        if columns.label is not None:
            self.labels, notes = point_labels(
                table.column(columns.label), negative=form.negative_labels, name=columns.label, where=where,
                row_of=row_of,
            )  # fmt: skip
            self.notes.update(notes)
        self.rows_of = _grouped(table.column(columns.point)) if columns.point is not None else {}

    def all(self, point_id: str) -> Series:
        """The whole file as one series, its value columns as channels."""
        return self._series(point_id, tuple(self.values), self.values, slice(None))

    def column(self, point_id: str, name: str) -> Series:
        """One column as a series of its own (wide).

        Raises:
            SeriesError: it holds text.
        """
        if name in self.texts:
            raise self._text_error(name)
        return self._series(point_id, ("value",), {"value": self.values[name]}, slice(None))

    def point(self, point_id: str) -> Series:
        """The rows of one point (long).

        Raises:
            SeriesError: it has none here.
        """
        if point_id not in self.rows_of:
            found = f"series {point_id!r} has no rows in {self.reference.where}"
            raise SeriesError(found, "Is the range in time empty?")
        return self._series(point_id, tuple(self.values), self.values, self.rows_of[point_id])

    def _series(
        self, point_id: str, channels: tuple[str, ...], values: dict[str, FloatArray], rows: IntArray | slice
    ) -> Series:
        labels = self.labels
        if labels is not None and not isinstance(rows, slice):
            labels = PointLabels(labels.codes[rows], labels.kinds)
        row_of = self.reference.row_of
        raw = RawSeries(
            point_id, self.times.stamps[rows], np.column_stack([values[c][rows] for c in channels]), channels,
            self.times.kind, labels, self.reference.where, self.notes,
            row_of if isinstance(rows, slice) else lambda k: row_of(int(rows[k])),
        )  # fmt: skip
        return validate(raw, self.form.rules)

    def _numbers(self, table: pa.Table, names: Sequence[str]) -> dict[str, FloatArray]:
        """Value columns as float64; columns of words alone are left out where nobody named them as values."""
        values: dict[str, FloatArray] = {}
        for name in names:
            column = table.column(name)
            if _is_number(column.type):
                values[name] = column.cast(pa.float64(), safe=False).to_numpy()
            else:
                self.texts[name] = column
        if self.form.columns.layout == "wide":
            return values  # each column is a point of its own: its text is its own error
        for name in self.texts:
            if self.form.columns.values is not None or not values or self._holds_numbers(name):
                raise self._text_error(name)
        if self.texts:
            self.notes["text_columns_ignored"] = ", ".join(self.texts)
        return values

    def _holds_numbers(self, name: str) -> bool:
        import pandas as pd

        column = self.texts[name]
        if not pa.types.is_string(column.type):
            return False
        return bool(pd.to_numeric(column.unique().to_pandas().dropna(), errors="coerce").notna().any())

    def _text_error(self, name: str) -> SeriesError:
        import pandas as pd

        column, where = self.texts[name], self.reference.where
        filled = np.flatnonzero(column.is_valid().to_numpy())
        if pa.types.is_string(column.type):
            words = pd.to_numeric(column.to_pandas(), errors="coerce").isna().to_numpy()
            filled = filled[words[filled]]
        text = str(column[int(filled[0])])
        decimal = " Decimal commas: source.decimal=','." if "," in text and where.startswith("csv:") else ""
        return SeriesError(
            f"{where}: row {self.reference.row_of(int(filled[0]))}: {text[:40]!r} in value column {name!r} "
            "is not a number",
            f"Mend it, {self.reference.remedy}.{decimal}",
        )


def _grouped(column: pa.ChunkedArray) -> dict[str, IntArray]:
    """Rows of each point, in file order."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    return {name: order[bounds[k] : bounds[k + 1]] for k, name in enumerate(encoded.dictionary.to_pylist())}


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    )
