"""What a terminal is given, and what a file: widths, wrapping, colours, and characters that it knows."""

from __future__ import annotations

import os
import re
from typing import TextIO

from tsad.core.printing import printable, wrapped

WIDTH = 160  # of a log file, which has none: 80 columns would cut names that nobody needs to have cut
LEAST_WIDTH = 40  # of a terminal that says it is narrower, or nothing sensible
_HANGING = "  "  # what the second line of a wrapped one begins with
_PLAIN = str.maketrans({"─": "-", "…": "~", "·": "-", "━": "-"})  # where the stream's encoding has none of these
GREEN, YELLOW, RED, OFF = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_COLOURED = re.compile(
    r"\b(?:(?P<green>promoted)|(?P<yellow>(?:champion )?kept(?: the champion)?)|(?P<red>FAILED|failed|^error:))"
    r"(?![\w./=-])"
)


def is_terminal(stream: TextIO) -> bool:
    """Whether people read the stream in a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def width_of(stream: TextIO) -> int:
    """Columns of the terminal, or of a log file; ``COLUMNS`` counts first."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return max(int(given), LEAST_WIDTH)
    if not is_terminal(stream):
        return WIDTH
    try:
        return max(os.get_terminal_size(stream.fileno()).columns or 80, LEAST_WIDTH)
    except (OSError, ValueError):
        return 80


def write_lines(stream: TextIO, text: str) -> None:
    """The text as it is, or wrapped at words in a terminal."""
    text = printable(text)
    for line in wrapped(text, width_of(stream), _HANGING) if is_terminal(stream) else [text]:
        write_line(stream, line)


def write_line(stream: TextIO, line: str) -> None:
    """A printable line, verdicts in colour in a terminal that takes colours."""
    try:
        line.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        encoding = stream.encoding
        line = line.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    stream.write((_COLOURED.sub(_painted, line) if takes_colour(stream) else line) + "\n")
    stream.flush()


def takes_colour(stream: TextIO) -> bool:
    """A terminal, unless ``NO_COLOR`` is set or it can do nothing."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _painted(match: re.Match[str]) -> str:
    colour = {"green": GREEN, "yellow": YELLOW, "red": RED}[str(match.lastgroup)]
    return f"{colour}{match[0]}{OFF}"
