"""The rows of one device, gathered in arrays that are as long as the server's count says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.sources.iotdb.models import Device

Spread = tuple[FloatArray, BoolArray | None] | None  # values [T], present [T] or None = everywhere; None = nowhere


class Collector:
    """The rows of one device as they arrive.

    Args:
        capacity: rows expected; more are taken too.
        width: number of fields.
    """

    def __init__(self, device: Device, capacity: int, width: int) -> None:
        self.device, self.rows, self.last = device, 0, 0
        self.stamps: IntArray = np.empty(capacity, np.int64)
        self.values: list[FloatArray | None] = [None] * width  # until something comes
        self.present: list[BoolArray | None] = [None] * width
        self.given = [False] * width  # whether anything has come

    def append(self, times: IntArray, columns: Sequence[Spread]) -> None:
        """Rows in the order of time, and what each column has in them."""
        stop = self.rows + len(times)
        if stop > len(self.stamps):
            self._grow(stop)
        part = slice(self.rows, stop)
        self.stamps[part] = times
        for k, column in enumerate(columns):
            held, mask = self.values[k], self.present[k]
            if column is None and held is None:
                continue
            values, present = column or (np.nan, np.False_)
            if held is None:
                self.values[k] = held = np.empty(len(self.stamps))
                held[: self.rows] = np.nan
            if mask is None and (present is not None or (self.rows and not self.given[k])):
                self.present[k] = mask = np.zeros(len(self.stamps), np.bool_)
                mask[: self.rows] = self.given[k]
            held[part] = values
            self.given[k] = True
            if mask is not None:
                mask[part] = True if present is None else present
        self.rows, self.last = stop, int(self.stamps[stop - 1])

    def counts(self) -> list[int]:
        """Values of each field."""
        return [
            0 if v is None else self.rows if m is None else int(np.count_nonzero(m[: self.rows]))
            for v, m in zip(self.values, self.present, strict=True)
        ]

    def field(self, k: int) -> tuple[IntArray, FloatArray]:
        """Times and values [T] of one field, without the rows that it has nothing in."""
        mask, values, part = self.present[k], self.values[k], slice(self.rows)
        if values is None:
            return self.stamps[:0], np.empty(0)
        if mask is None or mask[part].all():
            return self.stamps[part], values[part]
        return self.stamps[part][mask[part]], values[part][mask[part]]

    def _grow(self, rows: int) -> None:
        size = max(rows, len(self.stamps) + len(self.stamps) // 2)
        self.stamps = np.resize(self.stamps, size)
        self.values = [None if v is None else np.resize(v, size) for v in self.values]
        self.present = [None if m is None else np.resize(m, size) for m in self.present]
