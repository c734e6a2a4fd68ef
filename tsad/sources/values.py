"""The value columns of a table: numbers as they are or as people wrote them, and what is no value, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsad.core.errors import SeriesError
from tsad.core.types import FloatArray, IntArray
from tsad.sources.csv_columns import MARK_NAMES, ROW_NAMES
from tsad.sources.validate import RowOf
from tsad.sources.written import Kind, Writing, as_numbers, kind_of, numeric_codes
from tsad.sources.written_cells import Obstacle, ambiguous

_LOOKED_AT = 50  # points of a long table whose text is told apart before a column of text is given up
_GLANCE = 1_000  # rows that settle most columns of numbers
_FEWEST = 3  # cells with exactly three digits behind the mark, from which on they are noticed
_AS_MARKS = "marks points with 0 and 1; source.label_column={0} takes it as the label"


@dataclass(frozen=True, eq=False)
class Reference:
    """How errors refer to rows.

    Attributes:
        where: what they lie in, e.g. ``csv:/data/a.csv``.
        row_of: position -> the row that a person finds.
        remedy: what to do about text among numbers, beside mending it.
        text_of: a column as it is written, where the parser has made numbers of it; ``None`` = it never does.
    """

    where: str
    row_of: RowOf
    remedy: str
    text_of: Callable[[str], pa.ChunkedArray] | None = None


@dataclass(eq=False)
class ValueColumns:
    """Value columns of one table.

    Attributes:
        numbers: [T] of each column of numbers.
        texts: columns whose text is an error of whoever asks for them: a wide table's column, a long table's point.
        ignored: what is no value, with the reason.
    """

    reference: Reference
    writing: Writing
    numbers: dict[str, FloatArray] = field(default_factory=dict)
    texts: dict[str, pa.ChunkedArray] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)

    def error(self, name: str, rows: IntArray | None = None, kind: Kind | None = None) -> SeriesError:
        """Why a column (or these rows of it) is not read as numbers; names the first cell."""
        column = self.texts[name] if rows is None else self.texts[name].take(pa.array(rows))
        kind = kind or (kind_of(column, self.writing) if pa.types.is_string(column.type) else Kind("times"))
        fault = kind.fault
        if fault is None:
            filled = int(np.flatnonzero(column.is_valid().to_numpy())[0]) if column.null_count < len(column) else 0
            fault = Obstacle(str(column[filled]), "is not a number", "")
        at = _position(column, fault.text)
        row = self.reference.row_of(at if rows is None else int(rows[at]))
        found = f"{self.reference.where}: row {row}: {fault.text[:40]!r} in value column {name!r} {fault.what}"
        if not fault.remedy:
            return SeriesError(found, f"Mend it, {self.reference.remedy}.")
        return SeriesError(found, f"{fault.remedy} If the column holds no values: source.ignore_columns=[{name!r}].")


def value_columns(
    table: pa.Table, names: Sequence[str], layout: str, chosen: bool, writing: Writing, reference: Reference
) -> ValueColumns:
    """Sort out which columns hold numbers.

    Args:
        names: what may be a value. chosen: somebody named them.

    Raises:
        SeriesError: a column of numbers that is not written as the configuration says; none of numbers at all.
    """
    out = ValueColumns(reference, writing)
    codes = numeric_codes(writing.missing)
    for name in names:
        column = table.column(name)
        if _is_number(column.type):
            numbers = column.cast(pa.float64(), safe=False).to_numpy()
            if len(codes) and (gone := np.isin(numbers, codes)).any():
                numbers = np.where(gone, np.nan, numbers)
            _check_thousands(name, numbers, out)
            out.numbers[name] = numbers
        else:
            out.texts[name] = column
    for name in list(out.texts):
        _text(out, name, layout, chosen)
    out.numbers = {name: out.numbers[name] for name in names if name in out.numbers}  # in the order of the file
    if layout == "multichannel" and not chosen:
        _no_channels(out, table, names)
    if not out.numbers and not out.texts and out.ignored:
        raise _nothing(out, table)
    return out


def _text(out: ValueColumns, name: str, layout: str, chosen: bool) -> None:
    """Make numbers of a column of text, keep it for an error of its own, or ignore it."""
    column = out.texts[name]
    if not pa.types.is_string(column.type):
        if chosen:
            raise out.error(name)
        if layout != "wide":
            out.ignored[name] = "day times" if pa.types.is_time(column.type) else _typed(column.type)
            del out.texts[name]
        return
    kind = kind_of(column, out.writing)
    if kind.name == "numbers" or (chosen and kind.name in ("codes", "empty")):
        numbers, bad = as_numbers(column, out.writing)
        if not bad.any():
            out.numbers[name] = numbers
            del out.texts[name]
            return
        kind = (
            kind
            if kind.name != "numbers"
            else Kind("fault", Obstacle(str(column[int(np.argmax(bad))]), "is not a number", ""))
        )
    if layout != "multichannel":
        return  # settled by point or column
    if chosen or kind.name == "fault":
        raise out.error(name, kind=kind)
    out.ignored[name] = kind.name
    del out.texts[name]


def settled_by_point(out: ValueColumns, rows_of: dict[str, IntArray], chosen: bool) -> None:
    """Of a long table, keep those columns of text that are some point's numbers; the others are ignored."""
    for name in list(out.texts):
        column = out.texts[name]
        _, bad = as_numbers(column, out.writing)
        filled = column.is_valid().to_numpy()
        some = any(len(r) and filled[r].any() and not bad[r].any() for r in rows_of.values())
        first = islice((r for r in rows_of.values() if len(r)), _LOOKED_AT)
        if some or chosen or any(kind_of(column.take(pa.array(r)), out.writing).fault for r in first):
            continue
        if out.numbers:
            out.ignored[name] = kind_of(column, out.writing).name
            del out.texts[name]


def _no_channels(out: ValueColumns, table: pa.Table, names: Sequence[str]) -> None:
    """Ignore columns of numbers that number rows or mark points, and a last column without any value."""
    for name in list(out.numbers):
        if len(out.numbers) == 1:
            return
        values, lowered = out.numbers[name], name.strip().lower()
        if lowered in ROW_NAMES and len(values) > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all()):
            out.ignored[name] = "row numbers"
        elif lowered in MARK_NAMES and bool(np.isin(values[~np.isnan(values)], (-1, 0, 1)).all()):
            out.ignored[name] = _AS_MARKS.format(name)
        elif name == names[-1] and table.column(name).null_count == len(values):
            out.ignored[name] = "empty"
        else:
            continue
        del out.numbers[name]


def _finer(numbers: FloatArray) -> bool:
    """Whether some of these numbers have more than three decimals."""
    thousandths = numbers[np.isfinite(numbers)] * 1000
    return bool((np.abs(thousandths - np.round(thousandths)) > 1e-6).any())


def _nothing(out: ValueColumns, table: pa.Table) -> SeriesError:
    name = next(iter(out.ignored))
    out.texts[name] = table.column(name)
    return out.error(name)


def _check_thousands(name: str, numbers: FloatArray, out: ValueColumns) -> None:
    """Refuse ``998, 999, 1.000, 1.001``: a mark with three digits behind it wherever it is, and cells without.

    Raises:
        SeriesError: the column may be read in two ways.
    """
    writing, text_of = out.writing, out.reference.text_of
    if writing.thousands != "auto" or text_of is None or not len(numbers):
        return
    if _finer(numbers[:_GLANCE]):
        return
    size = np.abs(numbers[~np.isnan(numbers)])
    if not len(size) or size.max() >= 1000:
        return
    fractions = size[size != np.floor(size)]
    if len(fractions) in (0, len(size)) or (fractions < 1).any() or _finer(fractions):
        return
    text = text_of(name).drop_null().unique()
    marked = pc.match_substring(text, writing.decimal)  # type: ignore[attr-defined]
    with_mark, without = text.filter(marked).to_pylist(), text.filter(pc.invert(marked))  # type: ignore[attr-defined]
    if len(with_mark) < _FEWEST or not len(without) or not all(ambiguous(t) for t in with_mark):
        return
    first, mark = with_mark[0].strip(), writing.decimal
    other = "." if mark == "," else ","
    row = out.reference.row_of(_position(text_of(name), with_mark[0]))
    raise SeriesError(
        f"{out.reference.where}: row {row}: {first!r} in value column {name!r} may be {first.replace(mark, '.')} or "
        f"{first.replace(mark, '')}: wherever there is a mark, three digits follow, and other cells have none",
        f"Set source.thousands='{mark}' source.decimal='{other}' if it stands between thousands, or "
        "source.thousands=none if it is the decimal mark.",
    )


def _position(column: pa.ChunkedArray, text: str) -> int:
    if not pa.types.is_string(column.type):
        return 0
    at = pc.index(pc.utf8_trim_whitespace(column), text.strip()).as_py()  # type: ignore[attr-defined]
    return max(int(at), 0)


def _typed(kind: pa.DataType) -> str:
    return "times" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else f"{kind}"


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )
