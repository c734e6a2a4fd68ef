"""One parsed file: times, values and labels of its rows, handed out as validated series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tsad.core.errors import SeriesError
from tsad.core.types import FloatArray, IntArray, Series
from tsad.sources.csv_columns import ColumnRules
from tsad.sources.csv_text import Dialect, read_columns, read_head, row_number
from tsad.sources.label_column import point_labels
from tsad.sources.times import TimeReader
from tsad.sources.validate import Note, PointLabels, Rules, validate


@dataclass(frozen=True)
class Reading:
    """How a file is read: text, columns, times, labels, and what the door does with its rows."""

    dialect: Dialect
    columns: ColumnRules
    times: TimeReader
    negative_labels: str
    rules: Rules


class Rows:
    """The rows of one file.

    Args:
        only: value columns to parse; ``None`` = all that are values.

    Raises:
        SourceError, SeriesError, LabelError: what makes the whole file unreadable.
    """

    def __init__(self, path: Path, reading: Reading, only: Sequence[str] | None = None) -> None:
        self.path, self.reading = path, reading
        self.where = f"csv:{path.as_posix()}"
        self.head = read_head(path, reading.dialect)
        self.columns = reading.columns.choose(path, self.head.names)
        time, label, point = self.columns.time, self.columns.label, self.columns.point
        wanted = self.columns.values if only is None else tuple(only)
        names = [n for n in dict.fromkeys((point, time, label, *wanted)) if n is not None]
        as_text = [n for n in (time if reading.times.as_text else None, point) if n is not None]
        table = read_columns(path, self.head, reading.dialect, names, as_text)
        if table.num_rows == 0:
            raise SeriesError(f"{path} has a header but no rows", "Leave it out, or write the rows again.")
        self.notes: dict[str, Note] = {}
        self.times = reading.times.read(table.column(time), self.where, self.row)
        self.notes.update(self.times.notes)
        self.texts: dict[str, pa.ChunkedArray] = {}
        self.values = self._numbers(table, wanted)
        self.labels: PointLabels | None = None
        if label is not None:
            self.labels, notes = point_labels(
                table.column(label), negative=reading.negative_labels, name=label, where=self.where, row_of=self.row
            )
            self.notes.update(notes)
        self.rows_of = _grouped(table.column(point)) if point is not None else {}

    def row(self, position: int) -> int:
        """The line of the file that a person finds a row at."""
        return row_number(self.path, self.head, self.reading.dialect, position)

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
        """The rows of one point (long)."""
        return self._series(point_id, tuple(self.values), self.values, self.rows_of[point_id])

    def _series(
        self, point_id: str, channels: tuple[str, ...], values: dict[str, FloatArray], rows: IntArray | slice
    ) -> Series:
        labels = self.labels
        if labels is not None and not isinstance(rows, slice):
            labels = PointLabels(labels.codes[rows], labels.kinds)
        return validate(
            point_id, self.times.stamps[rows], np.column_stack([values[c][rows] for c in channels]), channels,
            time_kind=self.times.kind, labels=labels, source=self.where, notes=self.notes,
            row_of=self.row if isinstance(rows, slice) else lambda k: self.row(int(rows[k])),
            **asdict(self.reading.rules),
        )  # fmt: skip

    def _numbers(self, table: pa.Table, names: Sequence[str]) -> dict[str, FloatArray]:
        """Value columns as float64; columns of words alone are left out where nobody named them as values."""
        values: dict[str, FloatArray] = {}
        for name in names:
            column = table.column(name)
            if _is_number(column.type):
                values[name] = column.cast(pa.float64()).to_numpy()
            else:
                self.texts[name] = column
        if self.reading.columns.layout == "wide":
            return values  # each column is a point of its own: its text is its own error
        for name in self.texts:
            if self.reading.columns.values is not None or not values or self._holds_numbers(name):
                raise self._text_error(name)
        if self.texts:
            self.notes["text_columns_ignored"] = ", ".join(self.texts)
        return values

    def _holds_numbers(self, name: str) -> bool:
        column = self.texts[name]
        if not pa.types.is_string(column.type):
            return False
        return bool(pd.to_numeric(column.unique().to_pandas().dropna(), errors="coerce").notna().any())

    def _text_error(self, name: str) -> SeriesError:
        column = self.texts[name]
        filled = np.flatnonzero(column.is_valid().to_numpy())
        if pa.types.is_string(column.type):
            words = pd.to_numeric(column.to_pandas(), errors="coerce").isna().to_numpy()
            filled = filled[words[filled]]
        text = str(column[int(filled[0])])
        decimal = " Decimal commas: source.decimal=','." if "," in text else ""
        return SeriesError(
            f"{self.where}: row {self.row(int(filled[0]))}: {text[:40]!r} in value column {name!r} is not a number",
            f"Mend it, add it to source.missing, or add the column to source.ignore_columns.{decimal}",
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
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    )
