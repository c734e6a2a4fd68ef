"""A label per point, as files give them: 0/1, true/false, or the kind's name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tsad.core.errors import LabelError
from tsad.core.types import ANOMALY
from tsad.sources.validate import PointLabels

NORMAL_WORDS = frozenset({"", "0", "0.0", "false", "no", "none", "normal", "ok", "正常"})
ABNORMAL_WORDS = frozenset({"1", "1.0", "true", "yes", "anomaly", "abnormal", "异常"})  # a kind that nobody named


def point_labels(
    column: pa.ChunkedArray, *, negative: str, name: str, where: str, row_of: Callable[[int], int]
) -> tuple[PointLabels | None, dict[str, int | float | str]]:
    """Labels of the points of one column, and what to note.

    0, false and words such as ``normal`` are normal; every other whole number, true and text are abnormal, text
    being the kind. An empty label is normal and counted (``labels_missing``); a column with none at all
    says that nobody labelled the series. Negative numbers mean "unknown" to some and "outlier" to others:
    an error unless ``negative`` says which.

    Args:
        column: [T] integers, floats, booleans or text.
        negative: error | normal | anomaly.
        name: the column's name, for errors.

    Raises:
        LabelError: a negative or fractional label.
    """
    notes: dict[str, int | float | str] = {}
    if column.null_count == len(column):
        return None, notes
    if column.null_count:
        notes["labels_missing"] = column.null_count
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _from_text(column), notes
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise LabelError(f"{where}: label column {name!r} holds {column.type}", "Choose source.label_column.")
    values = np.nan_to_num(column.cast(pa.float64()).to_numpy(), nan=0.0)
    fractional = np.flatnonzero(values != np.floor(values))
    if len(fractional):
        raise LabelError(
            f"{where}: label {values[fractional[0]]:g} at row {row_of(int(fractional[0]))} of column {name!r} "
            "is not 0 or 1",
            "If the column is no label, set source.label_column=null or name the right one.",
        )
    below = np.flatnonzero(values < 0)
    if len(below) and negative == "error":
        raise LabelError(
            f"{where}: label {values[below[0]]:g} at row {row_of(int(below[0]))} of column {name!r} "
            "means unknown to some and outlier to others",
            "Set source.negative_labels=normal or source.negative_labels=anomaly.",
        )
    abnormal = (values != 0) if negative == "anomaly" else (values > 0)
    return PointLabels(abnormal.astype(np.int64)), notes


def _from_text(column: pa.ChunkedArray) -> PointLabels:
    encoded = column.combine_chunks().dictionary_encode()
    words = [str(w).strip() for w in encoded.dictionary.to_pylist()]
    kinds: list[str] = []
    code_of = np.zeros(len(words) + 1, np.int64)  # the last one stands for an empty label
    for k, word in enumerate(words):
        if word.lower() in NORMAL_WORDS:
            continue
        kind = ANOMALY if word.lower() in ABNORMAL_WORDS else word
        if kind not in kinds:
            kinds.append(kind)
        code_of[k] = kinds.index(kind) + 1
    return PointLabels(code_of[encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)], tuple(kinds))
