"""Text for terminals and log files: what is data is shown as data, measured in cells, wrapped at words."""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# Control characters (an ESC begins a terminal's commands), what turns the writing direction or ends a line in
# disguise, and bytes of file names that are no text in this machine's encoding.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with all that a terminal would obey or choke on as an escape, e.g. ``\x1b``; lines stay lines."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def cells(text: str) -> int:
    """Columns that a terminal needs for the text: two for a wide (Chinese, ...) character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or character == "\N{ZERO WIDTH JOINER}":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str, width: int) -> str:
    """The text in at most ``width`` cells, its middle left out: both ends of a name tell it from others."""
    if cells(text) <= width:
        return text
    room = width - 1
    head, tail = _within(text, room - room // 2), _within(text[::-1], room // 2)
    return f"{head}{ELLIPSIS}{tail[::-1]}" if width > 0 else ""


def _within(text: str, width: int) -> str:
    """As much of the text's beginning as fits into ``width`` cells."""
    taken = 0
    for at, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return text[:at]
    return text


def decimals(value: float, digits: int = 3, sign: str = "") -> str:
    """A figure of 0 to 1, or a difference of two, as tables have it: ``.564``; with ``sign="+"`` ``+.250``."""
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.{digits}f}"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The text in lines of at most ``width`` cells, broken between words alone; a longer word keeps a line of its own.

    Args:
        indent: what every line after the first begins with. The first line keeps the blanks that it begins with.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if cells(paragraph) <= width:
            lines.append(paragraph)
            continue
        words = paragraph.split()
        line = paragraph[: len(paragraph) - len(paragraph.lstrip())] + words[0]
        for word in words[1:]:
            if cells(line) + 1 + cells(word) <= width:
                line += f" {word}"
            else:
                lines.append(line)
                line = indent + word
        lines.append(line)
    return lines
