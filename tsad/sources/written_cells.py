"""One cell as a number written for people, and what a column of such cells needs to be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_BLANKS = "\u00a0\u2009\u202f "
_CELL = re.compile(
    r"(?P<open>\()?(?P<sign>[+-]?)\s*(?P<front>[^\d\s()+\-.,:/'’]{1,6}\.?)?\s*(?P<sign2>[+-]?)"
    r"(?P<core>\d[\d.,'’_ ]*\d|\d|[.,]\d+)(?P<power>[eE][+-]?\d+)?(?P<after>-?)"
    r"(?P<back>\s*[^\d\s()+\-:/.,;][^\d:;]{0,11})?(?P<close>\))?"
)
_GROUPED = re.compile(r"\d{1,3}(?:(?P<mark>[.,'’_ ])\d{2,3}(?:(?P=mark)\d{2,3})*)?")
_UNIT_WORDS = 3


@dataclass(frozen=True)
class Cell:
    """A number written for people: its text, digits with marks, unit ("" = none), and whether its sign is odd."""

    text: str
    core: str
    unit: str
    odd: bool

    @property
    def marks(self) -> str:
        """The marks among the digits, in order."""
        return "".join(ch for ch in self.core if not ch.isdigit())


@dataclass(frozen=True)
class Obstacle:
    """Why a column is not read as numbers: a cell, what it is, and the key that reads it."""

    text: str
    what: str
    remedy: str


def read_cell(text: str) -> Cell | None:
    """A cell as a number for people; ``None`` = something else. Blanks and digits of every kind are read (NFKC)."""
    plain = unicodedata.normalize("NFKC", text).strip().lstrip("'").replace("\u2212", "-").replace("\u2013", "-")
    match = _CELL.fullmatch(plain)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    core = match["core"]
    if not _numeric(core):
        return None
    unit = (match["front"] or match["back"] or "").strip()
    if len(unit.split()) > _UNIT_WORDS or (match["front"] and match["back"]):
        return None
    if match["front"] and unit.isalpha() and (core.isdigit() or plain[len(match["sign"]) + len(unit)] != " "):
        return None  # T101, Room 101: names
    odd = bool(match["open"] or match["after"]) or plain != re.sub(f"[{_BLANKS}]", " ", text).strip()
    return Cell(text, core, unit, odd)


def fault_of(cells: Sequence[Cell], plain: Sequence[str], decimal: str) -> Obstacle | None:
    """What hinders a column, of whose cells these are no plain numbers; ``None`` = they are codes, not numbers.

    Args:
        plain: the other cells.
    """
    if not cells:
        return None
    units = list(dict.fromkeys(c.unit for c in cells))
    named = [u for u in units if u]
    if len(named) > 1:
        return _several_units(cells, named)
    if named and len(cells) + len(plain) == 1 and cells[0].core.isdigit():
        return None  # one cell such as 3A or 5 in pipe all the way is a name
    first = next((c for c in cells if c.marks or c.unit or c.odd), cells[0])
    keys = [*_marks(cells, plain, decimal)]
    if named:
        keys.append(f"source.units=[{_quoted(named[0])}]")
    if any(c.odd for c in cells) and not keys:
        odd = next(c for c in cells if c.odd)
        what = "is a number with its sign, digits or quote written for people"
        return Obstacle(odd.text, what, "Write all as -12.5.")
    if not keys:
        return Obstacle(first.text, "is not a number", "")
    what = _what(cells, named, first, decimal)
    joined = " ".join(k for k in keys if " or " not in k)
    asked = next((k for k in keys if " or " in k), "")
    remedy = ", and ".join(part for part in (asked, joined) if part)
    return Obstacle(first.text, what, f"Set {remedy}.")


def ambiguous(text: str) -> bool:
    """Whether a number with one mark may be a whole number of thousands: ``1,234`` but not ``0,234`` or ``20,5``."""
    return re.fullmatch(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", text.strip()) is not None


def _numeric(core: str) -> bool:
    """Whether digits with marks are one number: a decimal mark at most, and groups of thousands before it."""
    for mark in ".,":
        before, found, after = core.rpartition(mark)
        if (
            found
            and after.isdigit()
            and (not before or before.isdigit() or _GROUPED.fullmatch(before))
            and mark not in before
        ):
            return True
    match = _GROUPED.fullmatch(core)
    if core.isdigit():
        return True
    return match is not None and len(core.rpartition(match["mark"])[2]) == 3


def _several_units(cells: Sequence[Cell], named: Sequence[str]) -> Obstacle | None:
    """Values in two units are an error; names such as 3A, 3B, 5 - closed are none."""
    fractions = any(c.marks for c in cells)
    numbers = len({c.core for c in cells})
    if not fractions or len(named) > 4 or numbers <= len(named) or any(" " in u for u in named):
        return None
    odd = next(c for c in cells if c.unit == named[1])
    return Obstacle(odd.text, f"has the unit {named[1]!r} where others have {named[0]!r}", "Write one unit.")


def _marks(cells: Sequence[Cell], plain: Sequence[str], decimal: str) -> list[str]:
    """Keys for decimal and thousands marks."""
    other = "," if decimal == "." else "."
    thousands = {m for c in cells for m in _thousands(c, decimal)}
    cored = [c.core for c in cells if c.marks]
    pointed = [c for c in cells if other in c.marks]
    keys = []
    decimals = {_decimal(c) for c in cells if _decimal(c)}
    if thousands:
        mark = sorted(thousands)[0]
        keys.append(f"source.thousands={'space' if mark == ' ' else _quoted(mark)}")
    elif pointed and all(ambiguous(c.core) for c in pointed) and len(pointed) == len(cored):
        mark = _quoted(other)
        keys.append(f"source.thousands={mark} if {pointed[0].core} is {pointed[0].core.replace(other, '')}, or "
                    f"source.decimal={mark} if it is {pointed[0].core.replace(other, '.')}")  # fmt: skip
        return keys
    elif pointed:
        decimals.add(other)
    if other in decimals:
        keys.append(f"source.decimal={_quoted(other)}")
    return keys


def _thousands(cell: Cell, decimal: str) -> set[str]:
    """Marks that can only stand between thousands: several of them, another mark after them, a blank or a quote."""
    marks = cell.marks
    blanks = {m for m in marks if m in "'’_ "}
    if blanks:
        return blanks
    if len(set(marks)) == 2:
        return {marks[0]}
    return {marks[0]} if len(marks) > 1 else set()


def _decimal(cell: Cell) -> str:
    """The decimal mark, where a cell has marks of two kinds."""
    marks = cell.marks
    return marks[-1] if len(set(marks)) == 2 and marks[-1] in ".," else ""


def _what(cells: Sequence[Cell], named: Sequence[str], first: Cell, decimal: str) -> str:
    if named and not any(c.marks.replace(decimal, "") for c in cells):
        return f"is a number with the unit {named[0]!r}"
    if ambiguous(first.core) and not first.unit:
        return "is a number with a mark that may be a decimal one or stand between thousands"
    return "is a number written for people" + (f", with the unit {named[0]!r}" if named else "")


def _quoted(text: str) -> str:
    """A value as it is typed on the command line."""
    return text if re.fullmatch(r"\w+", text) else f"'{text}'" if "'" not in text else f'"{text}"'
