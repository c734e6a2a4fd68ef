"""Rows as lines of a given width: headers and numbers whole, names cut in the middle, sentences wrapped at words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsad.core.printing import cells, decimals, printable, shortened, wrapped

GAP = "  "  # between two columns
LEAST_NAME, LEAST_PROSE = 12, 24  # cells that a column of names, of sentences is not made narrower than
PROSE = 4  # words: from here on a cell is read, not looked up
# Counts, dates, shares, sizes and durations: half of such a cell would be another one.
_FIGURES = re.compile(r"[-+.,:/%<>=\d\sTZv]*(?: ?(?:[kMGT]?B|[mun]?s|min|h|d))?")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TableColumn:
    """A column as it is to be drawn.

    Attributes:
        texts: one per row; may have several lines.
        numeric: aligned to the right. whole: never cut. prose: wrapped instead of cut.
    """

    header: str
    texts: tuple[str, ...]
    numeric: bool
    whole: bool
    prose: bool

    @property
    def natural(self) -> int:
        """Cells that it takes whole."""
        return max([cells(self.header), *(cells(line) for text in self.texts for line in text.split("\n"))])

    @property
    def least(self) -> int:
        """Cells that it needs."""
        if self.whole:
            return self.natural
        return max(cells(self.header), min(self.natural, LEAST_PROSE if self.prose else LEAST_NAME))


def figure(value: float) -> str:
    """A figure for people: three decimals up to one (``.564``), three digits above."""
    size = abs(value)
    if 0 < size < 0.0005:
        return f"{value:.0e}"
    if size <= 1:
        return decimals(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"


def size_text(count: int | None) -> str | None:
    """Bytes for people: ``312 B``, ``4.2 kB``, ``1.3 GB``."""
    if count is None:
        return None
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def seconds_text(seconds: float) -> str:
    """A duration for people, seconds whole: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def table_lines(rows: Sequence[Row], width: int, title: str = "", spare: Sequence[str] = ()) -> list[str]:
    """The rows under their headers, in lines of at most ``width`` cells.

    A table that is too wide has its names cut and its sentences wrapped; then it does without ``spare`` columns, one
    after the other, and says so; then its columns are drawn in several blocks, each beginning with the first column.
    Only where two columns do not fit beside each other is a line longer.

    Args:
        rows: a column per key of any of them.
        spare: keys of columns that a narrow table does without, the first one first.
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = [_column(str(key), [row.get(key) for row in rows]) for key in keys]
    left_out: list[str] = []
    for key in spare:
        if _least(columns) <= width:
            break
        left_out += [key for column in columns if column.header == key]
        columns = [column for column in columns if column.header != key]
    lines = wrapped(printable(title), width) if title else []
    for block in _blocks(columns, width):
        lines += _drawn(block, _widths(block, width))
    if left_out:
        lines += wrapped(f"(not shown: {', '.join(left_out)}; a wider terminal or -o json has them)", width, " ")
    return lines


def _column(header: str, values: Sequence[Any]) -> TableColumn:
    numeric = all(isinstance(value, int | float | None) and not isinstance(value, bool) for value in values)
    texts = tuple(_text(value) for value in values)
    whole = all(text in ("-", "yes", "no") or _FIGURES.fullmatch(text) for text in texts)
    prose = not whole and any(len(line.split()) >= PROSE for text in texts for line in text.split("\n"))
    return TableColumn(printable(header), texts, numeric, whole, prose)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return figure(value) if isinstance(value, float) else printable(str(value)).replace("\t", r"\t")


def _least(columns: Sequence[TableColumn]) -> int:
    return sum(column.least for column in columns) + len(GAP) * (len(columns) - 1)


def _blocks(columns: Sequence[TableColumn], width: int) -> list[list[TableColumn]]:
    """The columns in as many tables as it takes, the first column in each."""
    blocks = [[columns[0]]]
    for column in columns[1:]:
        if len(blocks[-1]) > 1 and _least([*blocks[-1], column]) > width:
            blocks.append([columns[0]])
        blocks[-1].append(column)
    return blocks


def _widths(columns: Sequence[TableColumn], width: int) -> list[int]:
    """Cells for each column: what it takes whole, the widest of those that may be narrower shrunk until all fit."""
    sizes, least = [column.natural for column in columns], [column.least for column in columns]
    over = sum(sizes) + len(GAP) * (len(columns) - 1) - width
    while over > 0 and any(size > low for size, low in zip(sizes, least, strict=True)):
        at = max(range(len(sizes)), key=lambda k: sizes[k] - least[k] and sizes[k])
        sizes[at] -= 1
        over -= 1
    return sizes


def _drawn(columns: Sequence[TableColumn], sizes: Sequence[int]) -> list[str]:
    lines = [_line([_placed(c.header, size, c.numeric) for c, size in zip(columns, sizes, strict=True)])]
    lines.append(_line(["─" * size for size in sizes]))
    for at in range(len(columns[0].texts)):
        parts = [_cell_lines(c, c.texts[at], size) for c, size in zip(columns, sizes, strict=True)]
        for height in range(max(map(len, parts))):
            lines.append(
                _line([
                    _placed(part[height] if height < len(part) else "", size, column.numeric)
                    for column, part, size in zip(columns, parts, sizes, strict=True)
                ])
            )  # fmt: skip
    return lines


def _cell_lines(column: TableColumn, text: str, width: int) -> list[str]:
    if not column.prose:
        return [shortened(line, width) for line in text.split("\n")]
    short = "\n".join(" ".join(shortened(word, width) for word in line.split(" ")) for line in text.split("\n"))
    return wrapped(short, width)


def _placed(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def _line(parts: Sequence[str]) -> str:
    return GAP.join(parts).rstrip()
