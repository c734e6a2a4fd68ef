"""The lines of a text file: what stands above its header, and rows that a quote which nobody closes would swallow."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tsad.core.errors import SeriesError
from tsad.sources.csv_columns import TIME_NAMES

SEPARATORS = (",", ";", "\t", "|")
_EXCEL = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_LOOKED_AT = 200  # lines
_MOST = 0.8  # of the lines in the second half have as many fields as rows have
_TOP = 40  # lines among which a header is looked for
_SPANS = 1_000  # cells of several lines that are looked at


@dataclass(frozen=True)
class Top:
    """The top of a file.

    Attributes:
        header: cells of the first line that counts.
        line: that line.
        separator: one character.
        skipped: lines above it that are not read.
        widened: rows end with one more separator than the header has.
    """

    header: tuple[str, ...]
    line: str
    separator: str
    skipped: int
    widened: bool


def top_of(path: Path, lines: Sequence[str], separator: str, skip: int, header: bool) -> Top:
    """What the first lines tell.

    Args:
        lines: from the first one, empty ones too; the last may be cut.
        separator: one character, or ``auto``.
        skip: lines that are skipped whatever they hold.
        header: whether a header is expected.

    Raises:
        SeriesError: nothing but empty lines; a first line that is no header, while a later one looks like it.
    """
    rest = lines[skip:]
    first = next((k for k, line in enumerate(rest) if line.strip()), None)
    if first is None:
        raise SeriesError(f"{path} is empty", "Leave it out, or write the rows again.")
    declared = _EXCEL.fullmatch(rest[first].strip("\r\n"))
    if declared and any(line.strip() for line in rest[first + 1 :]):
        separator = declared[1] if separator == "auto" else separator
        skip += first + 1
        rest = lines[skip:]
        first = next(k for k, line in enumerate(rest) if line.strip())
    own = separator if separator != "auto" else separator_of(rest[first])
    cells = fields(rest[first], own)
    body = [(k, line) for k, line in enumerate(rest[first : first + _LOOKED_AT]) if line.strip()]
    body = body[:-1] if len(body) > 3 else body
    if header:
        _check_header(path, body, skip + first, separator, cells)
    counts = [len(fields(line, own)) for _, line in body[1:]]
    widened = (
        bool(counts)
        and set(counts) == {len(cells) + 1}
        and all(line.rstrip("\r\n").endswith(own) for _, line in body[1:])
    )
    return Top(tuple(cells), rest[first], own, skip, widened)


def fields(line: str, separator: str) -> list[str]:
    """The cells of a line."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def separator_of(line: str) -> str:
    """The separator that a line uses most, outside of quotes; a comma where it has none."""
    bare = "".join(line.split('"')[::2])
    count, _, best = max((bare.count(s), -k, s) for k, s in enumerate(SEPARATORS))
    return best if count else ","


def _check_header(
    path: Path, body: Sequence[tuple[int, str]], above: int, separator: str, cells: Sequence[str]
) -> None:
    """Refuse a first line that has not the fields of the rows, where a later line has and looks like a header.

    Raises:
        SeriesError: names both lines.
    """
    half = [line for _, line in body[len(body) // 2 :]]
    if len(body) < 3:
        return
    used = separator if separator != "auto" else Counter(separator_of(line) for line in half).most_common(1)[0][0]
    width, times = Counter(len(fields(line, used)) for line in half).most_common(1)[0]
    if width < 2 or times < _MOST * len(half):
        return
    first = fields(body[0][1], used)
    begins = [cell.lower() in TIME_NAMES[:-2] for cell in first]
    for at, line in body[1:_TOP]:
        later = fields(line, used)
        if len(later) != width:
            continue
        rows = all(not cell or cell[0].isdigit() or cell[0] in "+-." for cell in later)
        named = not rows and any(cell.lower() in TIME_NAMES[:-2] for cell in later)
        if (len(first) != width and not rows) or (named and not any(begins)):
            raise SeriesError(
                f"{path}: line {above + 1} {body[0][1].strip()[:60]!r} is no header, line {above + at + 1} "
                f"{line.strip()[:60]!r} looks like it",
                f"Set source.skip_rows={above + at}.",
            )
        if rows and len(first) == len(cells) == 1:
            raise SeriesError(
                f"{path}: line {above + 1} {body[0][1].strip()[:60]!r} is no header, and rows begin at line "
                f"{above + at + 1}",
                f"Set source.skip_rows={above + at} source.header=false.",
            )


def check_quotes(path: Path, raw: bytes, separator: str, width: int, skipped: int) -> None:
    """Refuse a file in which a quote opens a cell that swallows the rows behind it.

    A cell of several lines is fine, unless one of these lines has the fields of a row.

    Args:
        raw: the whole file, in an encoding that has ASCII's quote and line ends. width: columns.

    Raises:
        SeriesError: names the line where the quote opens.
    """
    content = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero(content == 10)
    ends = ends if len(ends) else np.flatnonzero(content == 13)
    quotes = np.flatnonzero(content == 34)
    before = np.searchsorted(quotes, np.append(ends, len(content)))
    uneven = np.flatnonzero(np.diff(before, prepend=0) % 2)
    odd = [int(line) for line in uneven[: 2 * _SPANS] if line >= skipped]
    opening = re.compile(rb"(?:^|" + re.escape(separator.encode()) + rb')\s*"(?:[^"]|"")*$')
    k = 0
    while k < len(odd):
        line = _line(content, ends, odd[k])
        if not opening.search(line):
            k += 1  # an inch, say: inside a cell a quote is like any other sign
            continue
        close = odd[k + 1] if k + 1 < len(odd) else None
        inside = range(odd[k] + 1, (len(ends) if close is None else close) + 1)
        rows = [j for j in inside if _line(content, ends, j).count(separator.encode()) == width - 1][:1]
        if close is None or rows:
            number = len(inside) if close is not None else len([j for j in inside if _line(content, ends, j).strip()])
            raise SeriesError(
                f"{path}: row {odd[k] + 1}: a quote opens ({line.decode('utf-8', 'replace').strip()[:60]!r}) and "
                + (f"swallows {number} row(s)" if close is not None else "is never closed"),
                "Close the quote, or double it inside a quoted cell.",
            )
        k += 2


def lines_of(raw: bytes) -> int:
    """How many lines are not empty."""
    content = np.frombuffer(raw, np.uint8)
    mark = 10 if (content == 10).any() else 13
    ends = np.append(np.flatnonzero(content == mark), len(content))
    lengths = np.diff(ends, prepend=-1) - 1
    starts = ends - lengths
    only_return = (lengths == 1) & (content[np.minimum(starts, max(len(content) - 1, 0))] == 13)
    return int(((lengths > 0) & ~only_return).sum())


def _line(content: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], number: int) -> bytes:
    start = 0 if number == 0 else int(ends[number - 1]) + 1
    stop = int(ends[number]) if number < len(ends) else len(content)
    return content[start:stop].tobytes().rstrip(b"\r")
