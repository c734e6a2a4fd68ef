"""Answers of the server (serialised TsBlocks) straight into NumPy arrays, without a frame in between.

A block holds, big-endian: the number of value columns (int32), their types (a byte each), the number of rows T
(int32), the encodings of time and value columns (a byte each), then the columns. A column is a flag "has nulls",
where that is set a bit per row (1 = null), and the values that are not null; booleans are a bit per row. A run-length
column is its inner encoding and one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray

BOOLEANS, INT32, INT64, BINARY, RUN_LENGTH = range(5)  # encodings


@dataclass(frozen=True, eq=False, slots=True)
class Column:
    """One column of a block.

    Attributes:
        values: [N] the values that are not null (booleans: all T of them); a single one where ``constant``.
            Floating-point columns come as integers of their width, see :meth:`numbers`.
        nulls: [T] bool, ``None`` where no row is null.
        constant: one row stands for all T.
    """

    values: Any
    nulls: BoolArray | None
    constant: bool
    rows: int

    def numbers(self, kind: str) -> npt.NDArray[Any]:
        """[N] numbers that are not null, of a column of type ``kind``; repeated where constant."""
        values = self.values
        if kind == "DOUBLE":
            values = values.view(">f8")
        elif kind == "FLOAT":
            values = values.view(">f4")
        if values.dtype == np.bool_ and self.nulls is not None:
            values = values[~self.nulls]
        return np.repeat(values, self.rows) if self.constant and len(values) else values

    def present(self) -> BoolArray | None:
        """[T] bool: where there is a value; ``None`` = everywhere."""
        if self.nulls is None:
            return None
        return np.full(self.rows, not self.nulls[0]) if self.constant else ~self.nulls

    def texts(self) -> list[str | None]:
        """[T] texts, ``None`` where null; a single one where constant."""
        rows = 1 if self.constant else self.rows
        if self.nulls is None:
            return [v.decode() for v in self.values]
        given = iter(self.values)
        return [None if self.nulls[k] else next(given).decode() for k in range(rows)]


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """Rows of an answer.

    Attributes:
        rows: T.
        times: [T] big-endian int64 in the server's precision; of no meaning where the answer has no time.
        columns: in the server's order.
    """

    rows: int
    times: npt.NDArray[Any]
    columns: list[Column]


def decode(data: bytes) -> Block:
    """A serialised TsBlock.

    Raises:
        ValueError: an encoding that no server of version 2 sends.
    """
    count = int.from_bytes(data[:4], "big")
    rows = int.from_bytes(data[4 + count : 8 + count], "big")
    encodings = data[8 + count : 9 + 2 * count]
    at = 9 + 2 * count
    columns = []
    for encoding in encodings:
        column, at = _column(data, at, encoding, rows)
        columns.append(column)
    times = columns[0].numbers("INT64")
    return Block(rows, times, columns[1:])


def _column(data: bytes, at: int, encoding: int, rows: int) -> tuple[Column, int]:
    if encoding == RUN_LENGTH:
        inner, at = _column(data, at + 1, data[at], 1)
        return Column(inner.values, inner.nulls, True, rows), at
    nulls = None
    has_nulls, at = data[at], at + 1
    if has_nulls:
        nulls, at = _bits(data, at, rows)
    present = rows if nulls is None else rows - int(np.count_nonzero(nulls))
    if encoding == INT64:
        return Column(np.frombuffer(data, ">i8", present, at), nulls, False, rows), at + 8 * present
    if encoding == INT32:
        return Column(np.frombuffer(data, ">i4", present, at), nulls, False, rows), at + 4 * present
    if encoding == BOOLEANS:
        values, at = _bits(data, at, rows)
        return Column(values, nulls, False, rows), at
    if encoding == BINARY:
        texts = []
        for _ in range(present):
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            texts.append(data[at + 4 : end])
            at = end
        return Column(texts, nulls, False, rows), at
    raise ValueError(f"IoTDB sent a column in encoding {encoding}, which this version of tsad does not know")


def _bits(data: bytes, at: int, rows: int) -> tuple[BoolArray, int]:
    size = (rows + 7) // 8
    bits = np.unpackbits(np.frombuffer(data, np.uint8, size, at), count=rows)
    return bits.view(np.bool_), at + size
