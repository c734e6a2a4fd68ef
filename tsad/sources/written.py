"""How the cells of a text column are written: plain numbers, numbers for people, times, codes or words.

A number for people has a decimal mark of another kind, marks between thousands, a unit, or a sign behind it. Such a
column is never left out in silence: it is read where the configuration says how, else it is an error with the key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.sources.written_cells import Cell, Obstacle, fault_of, read_cell

SAMPLE = 100_000  # cells of a long column that are looked at to tell what it is
PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_MOMENT = re.compile(
    r"\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}日?(?:[T ,].*)?|\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
    r"|\w{3,9}\.? \d{1,2},? \d{4}.*|\d{1,2}[- ]\w{3,9}\.?[- ]\d{2,4}.*"
)
_OF_DAY = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?:/\d+)?")
_MANY = 10_000  # rows from which on each text is read once
_FEW_WORDS = 5  # so many different words among numbers are states of a sensor, more of them are prose


@dataclass(frozen=True)
class Writing:
    """How numbers are written in a source.

    Attributes:
        decimal: ``.`` or ``,``.
        thousands: ``auto`` = a column that may have marks between thousands is an error; ``none`` = there are none;
            else the mark, ``space`` for all kinds of blanks.
        units: texts before or behind numbers that are taken off.
        missing: texts that mean "no value".
    """

    decimal: str = "."
    thousands: str = "auto"
    units: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """What a text column is.

    Attributes:
        name: ``numbers``, ``fault`` (numbers but for something), ``empty``, ``times``, ``day times`` (of no date),
            ``codes`` or ``words``.
        fault: what stands between a column of faults and numbers.
    """

    name: str
    fault: Obstacle | None = None


def without_missing(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.ChunkedArray:
    """Text with blanks around it taken off, null where it says that there is no value."""
    trimmed = pc.utf8_trim_whitespace(column)  # type: ignore[attr-defined]
    gone = pc.is_in(trimmed, value_set=pa.array(missing, pa.string()))  # type: ignore[attr-defined]
    nothing = pa.scalar(None, pa.string())
    return pc.if_else(gone, nothing, trimmed) if pc.any(gone).as_py() else trimmed  # type: ignore[attr-defined]


def as_numbers(column: pa.ChunkedArray, writing: Writing) -> tuple[FloatArray, BoolArray]:
    """Numbers of a text column as ``writing`` has them, [T], NaN where missing; and a mask of cells that are none."""
    if len(column) > _MANY:
        encoded = column.combine_chunks().dictionary_encode()
        if len(encoded.dictionary) < len(column) // 4:
            numbers, bad = as_numbers(pa.chunked_array([encoded.dictionary]), writing)
            codes = encoded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
            return np.append(numbers, np.nan)[codes], np.append(bad, False)[codes]
    text = without_missing(column, writing.missing)
    if writing.units:
        marks = "|".join(re.escape(u) for u in sorted(writing.units, key=len, reverse=True))
        text = pc.replace_substring_regex(text, rf"^([+-]?)\s*(?:{marks})\s*([+-]?[\d.])", r"\1\2")  # type: ignore[attr-defined]
        text = pc.replace_substring_regex(text, rf"([\d.,])\s*(?:{marks})$", r"\1")  # type: ignore[attr-defined]
    if writing.thousands not in ("auto", "none"):
        text = _without_thousands(text, writing)
    if writing.decimal == ",":
        # what has a point is no number here, lest 1.234 become one
        pointed = pc.match_substring(text, ".")  # type: ignore[attr-defined]
        text = pc.if_else(pointed, "a point", pc.replace_substring(text, ",", "."))  # type: ignore[attr-defined]
    good = pc.match_substring_regex(text, PLAIN)  # type: ignore[attr-defined]
    kept = pc.if_else(good, text, pa.scalar(None, pa.string()))  # type: ignore[attr-defined]
    numbers = kept.cast(pa.float64()).to_numpy()
    if len(codes := numeric_codes(writing.missing)):
        numbers = np.where(np.isin(numbers, codes), np.nan, numbers)
    return numbers, ~good.fill_null(True).to_numpy()


def numeric_codes(missing: Sequence[str]) -> FloatArray:
    """Those of the texts that mean "no value" which are numbers: ``-999`` also stands for ``-999.0``."""
    texts = pa.array(missing, pa.string())
    plain = texts.filter(pc.match_substring_regex(texts, PLAIN))  # type: ignore[attr-defined]
    codes = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return codes[~np.isnan(codes)]


def _without_thousands(text: pa.ChunkedArray, writing: Writing) -> pa.ChunkedArray:
    """Numbers whose marks stand between groups of three (or two, as in India) without them."""
    mark = r"[\s\x{00a0}\x{2009}\x{202f}]" if writing.thousands == "space" else re.escape(writing.thousands)
    whole = rf"^[+-]?\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{re.escape(writing.decimal)}\d*)?$"
    grouped = pc.match_substring_regex(text, whole)  # type: ignore[attr-defined]
    return pc.if_else(grouped, pc.replace_substring_regex(text, mark, ""), text)  # type: ignore[attr-defined]


def kind_of(column: pa.ChunkedArray, writing: Writing) -> Kind:
    """What a text column is, told by up to ``SAMPLE`` of its cells; see :class:`Kind`.

    Columns of numbers with some cells that are none: codes (``3A``) where those are most, else a fault.
    """
    counted = _sampled(column, writing.missing).value_counts()
    texts = [str(t) for t in counted.field("values").to_pylist()]
    if not texts:
        return Kind("empty")
    counts = np.asarray(counted.field("counts").to_pylist())
    _, bad = as_numbers(pa.chunked_array([pa.array(texts, pa.string())]), writing)
    if not bad.any():
        return Kind("codes" if _padded(texts) else "numbers")
    cells = [None if not wrong else read_cell(t) for t, wrong in zip(texts, bad, strict=True)]
    strange = np.array([wrong and cell is None for wrong, cell in zip(bad, cells, strict=True)])
    if not strange.any():
        return _written(texts, [c for c in cells if c is not None], bad, writing)
    return _mixed(texts, counts, strange, cells, writing)


def _written(texts: Sequence[str], cells: Sequence[Cell], bad: BoolArray, writing: Writing) -> Kind:
    """Every cell is a number, plain or for people."""
    if all(_ADDRESS.fullmatch(t) for t in texts):
        return Kind("codes")
    plain = [t for t, wrong in zip(texts, bad, strict=True) if not wrong]
    fault = fault_of(cells, plain, writing.decimal)
    return Kind("codes") if fault is None else Kind("fault", fault)


def _mixed(
    texts: Sequence[str], counts: IntArray, strange: BoolArray, cells: Sequence[Cell | None], writing: Writing
) -> Kind:
    """Some cells or all are no numbers at all."""
    others = [t for t, odd in zip(texts, strange, strict=True) if odd]
    share = float(counts[~strange].sum()) / float(counts.sum())
    wordy = not any(any(ch.isdigit() for ch in t) for t in others)
    # a part of one ("3" beside "3A"), or the few states of a sensor among its values ("Bad")
    sensor = share >= 0.5 or (wordy and share > 0 and len(others) <= _FEW_WORDS)
    if sensor:
        written = [c for c in cells if c is not None]
        fault = fault_of(written, [t for t, odd in zip(texts, strange, strict=True) if not odd], writing.decimal)
        if fault is None or not written:
            fault = Obstacle(others[0], "is not a number", "")
        return Kind("fault", fault)
    if all(_OF_DAY.fullmatch(t) for t in others):
        return Kind("day times")
    if all(_MOMENT.fullmatch(t) for t in others):
        return Kind("times")
    return Kind("words" if wordy else "codes")


def _sampled(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.Array:
    if len(column) > SAMPLE:
        places = np.unique(np.concatenate((np.arange(1000), np.linspace(0, len(column) - 1, SAMPLE).astype(np.int64))))
        column = column.take(pa.array(places))
    return without_missing(column, missing).drop_null().combine_chunks()


def _padded(texts: Sequence[str]) -> bool:
    """Whether whole numbers of one length begin with zeros: numbers of things, not values."""
    long = [t for t in texts if len(t) > 1 and t[0] == "0" and t.isdigit()]
    return bool(long) and len({len(t) for t in texts}) == 1 and all(t.isdigit() for t in texts)
