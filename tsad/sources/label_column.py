"""A label per point, as files give them: 0/1, true/false, or the kind's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsad.core.errors import LabelError
from tsad.core.types import ANOMALY, BoolArray, FloatArray
from tsad.sources.validate import PointLabels
from tsad.sources.written import PLAIN

NORMAL_WORDS = frozenset({
    "", "0", "0.0", "false", "no", "none", "normal", "ok", "正常", "inlier", "nominal", "healthy",
})  # fmt: skip
ABNORMAL_WORDS = frozenset({"1", "1.0", "true", "yes", "anomaly", "abnormal", "异常", "outlier"})  # a kind nobody named
_KEY = "source.abnormal_labels"
_SHOWN = 6


@dataclass(frozen=True)
class LabelWords:
    """What labels mean.

    Attributes:
        negative: of negative numbers, error | normal | anomaly.
        abnormal: the labels that are abnormal, all others being normal; ``None`` = told by themselves.
    """

    negative: str = "error"
    abnormal: tuple[str, ...] | None = None


def point_labels(
    column: pa.ChunkedArray, words: LabelWords, *, name: str, where: str, row_of: Callable[[int], int]
) -> tuple[PointLabels | None, dict[str, int | float | str]]:
    """Labels of the points of one column, and what to note.

    0, false and words such as ``normal`` are normal; every other whole number, true and text are abnormal, text
    being the kind. An empty label is normal and counted (``labels_missing``); a column with none at all
    says that nobody labelled the series. Negative numbers mean "unknown" to some and "outlier" to others:
    an error unless ``words`` says which. So are codes and words of which none is known as normal: that all points are
    abnormal is not what they say.

    Args:
        column: [T] integers, floats, booleans or text.
        name: the column's name, for errors.

    Raises:
        LabelError: a negative or fractional label; labels that do not say which of them is normal.
    """
    notes: dict[str, int | float | str] = {}
    if column.null_count == len(column):
        return None, notes
    if column.null_count:
        notes["labels_missing"] = column.null_count
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)  # type: ignore[attr-defined]
        if not pc.all(pc.match_substring_regex(text, PLAIN)).as_py():  # type: ignore[attr-defined]
            return _from_text(column, words, name, where), notes
        column = text.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise LabelError(f"{where}: label column {name!r} holds {column.type}", "Choose source.label_column.")
    labelled = ~column.is_null().to_numpy()
    values = np.nan_to_num(column.cast(pa.float64()).to_numpy(), nan=0.0)
    if words.abnormal is not None:
        return PointLabels(_named(values, words.abnormal, name, where).astype(np.int64)), notes
    fractional = np.flatnonzero(values != np.floor(values))
    if len(fractional):
        raise LabelError(
            f"{where}: label {values[fractional[0]]:g} at row {row_of(int(fractional[0]))} of column {name!r} "
            "is not 0 or 1",
            "If the column is no label, set source.label_column=null or name the right one.",
        )
    _check_codes(values[labelled], words, name, where)
    below = np.flatnonzero(values < 0)
    if len(below) and words.negative == "error":
        raise LabelError(
            f"{where}: label {values[below[0]]:g} at row {row_of(int(below[0]))} of column {name!r} "
            "means unknown to some and outlier to others",
            "Set source.negative_labels=normal or source.negative_labels=anomaly.",
        )
    abnormal = (values != 0) if words.negative == "anomaly" else (values > 0)
    return PointLabels(abnormal.astype(np.int64)), notes


def _check_codes(values: FloatArray, words: LabelWords, name: str, where: str) -> None:
    """Refuse codes of which none is normal.

    Raises:
        LabelError: which of them is abnormal has to be said.
    """
    codes = np.unique(values)
    if len(codes) < 2 or (codes == 0).any() or (words.negative == "normal" and (codes < 0).any()):
        return
    listed = ", ".join(f"{c:g}" for c in codes[:_SHOWN])
    share = {c: float((values == c).mean()) for c in codes[:_SHOWN]}
    rare = min(share, key=lambda c: share[c])
    other = max(share, key=lambda c: share[c])
    why = "1 is an inlier and -1 an outlier to scikit-learn, 1 an anomaly to others" if set(codes) == {-1.0, 1.0} else (
        "none of them is 0, so either may be normal")  # fmt: skip
    raise LabelError(
        f"{where}: label column {name!r} holds {listed} alone: {why}",
        f"Set {_KEY}=[{rare:g}] ({share[rare]:.1%} of the points abnormal) or {_KEY}=[{other:g}] ({share[other]:.1%}).",
    )


def _named(values: FloatArray, abnormal: tuple[str, ...], name: str, where: str) -> BoolArray:
    """Which values are among the abnormal ones, by number."""
    codes = []
    for text in abnormal:
        try:
            codes.append(float(text))
        except ValueError as error:
            raise LabelError(
                f"{where}: label column {name!r} holds numbers, {_KEY} names {text!r}", f"Change {_KEY}."
            ) from error
    return np.isin(values, codes)


def _from_text(column: pa.ChunkedArray, words: LabelWords, name: str, where: str) -> PointLabels:
    encoded = column.combine_chunks().dictionary_encode()
    texts = [str(w).strip() for w in encoded.dictionary.to_pylist()]
    lowered = [t.lower() for t in texts]
    if words.abnormal is not None:
        wanted = {w.strip().lower() for w in words.abnormal}
        normal = [t not in wanted for t in lowered]
    else:
        normal = [t in NORMAL_WORDS or (words.negative == "normal" and _below(t)) for t in lowered]
        if words.negative == "error" and any(map(_below, lowered)):
            found = f"{where}: label {next(t for t in texts if _below(t))!r} of column {name!r} "
            raise LabelError(
                found + "means unknown to some and outlier to others",
                f"Set source.negative_labels=normal or anomaly, or {_KEY}.",
            )
        if len(texts) > 1 and not any(normal) and not column.null_count:
            listed = ", ".join(repr(t) for t in texts[:_SHOWN])
            raise LabelError(
                f"{where}: label column {name!r} holds {listed}, none of which is known as normal",
                f"Name those that are abnormal: {_KEY}=[{texts[0]}].",
            )
    kinds: list[str] = []
    code_of = np.zeros(len(texts) + 1, np.int64)  # the last one stands for an empty label
    for k, text in enumerate(texts):
        if normal[k]:
            continue
        kind = ANOMALY if lowered[k] in ABNORMAL_WORDS else text
        if kind not in kinds:
            kinds.append(kind)
        code_of[k] = kinds.index(kind) + 1
    return PointLabels(code_of[encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)], tuple(kinds))


def _below(text: str) -> bool:
    return text[:1] == "-" and text[1:].replace(".", "", 1).isdigit()
