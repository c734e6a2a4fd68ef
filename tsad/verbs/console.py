"""Where verbs present what they were answered: lines and tables for people, or one line of JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tsad.core.printing import printable, wrapped
from tsad.core.results import Result
from tsad.verbs.tables import table_lines

if TYPE_CHECKING:
    from tsad.verbs.foot import Foot

R = TypeVar("R", bound=Result)
WIDTH = 160  # of a log file, which has none: 80 columns would cut names that nobody needs to have cut
LEAST_WIDTH = 40  # of a terminal that says it is narrower, or nothing sensible
_HANGING = "  "  # what the second line of a wrapped one begins with
_PLAIN = str.maketrans({"─": "-", "…": "~", "·": "-", "━": "-"})  # where the stream's encoding has none of these
GREEN, YELLOW, RED, OFF = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_COLOURED = re.compile(
    r"\b(?:(?P<green>promoted)|(?P<yellow>(?:champion )?kept(?: the champion)?)|(?P<red>FAILED|failed)|(?P<error>^error:))"
    r"(?![\w./=-])"
)


class Console:
    """Standard output for the answer; where that is JSON, every other line goes to standard error.

    Whatever it is given may hold names from data: they are shown, never obeyed.

    Args:
        as_json: the answer is one line of JSON.
        out: standard output; ``None`` = as it is when something is said.
        foot: the line that says how far work is, above which everything is said.
    """

    def __init__(self, as_json: bool = False, out: TextIO | None = None, foot: Foot | None = None) -> None:
        self.as_json, self._out, self._foot = as_json, out, foot

    def answer(self, result: R, present: Callable[[R, Console], None]) -> R:
        """Give the answer: as JSON, or as ``present`` says it to people. It is there at once, also in a pipe."""
        if self._foot is not None:
            self._foot.end()  # a verb that goes on serving has nothing left to wait for
        if self.as_json:
            out = self._out or sys.stdout
            out.write(json.dumps(result.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
            out.flush()
        else:
            present(result, self)
        return result

    @property
    def private(self) -> bool:
        """Whether only whoever sits at the terminal reads what is said: no file, no pipe, no program."""
        return not self.as_json and is_terminal(self._stream)

    def say(self, text: str) -> None:
        """One line for people, wrapped at words in a terminal."""
        with self._aside():
            write_lines(self._stream, text)

    def table(self, rows: Sequence[Mapping[str, Any]], title: str = "", spare: Sequence[str] = ()) -> None:
        """Rows as a table that fits into the terminal; see :func:`~tsad.verbs.tables.table_lines`."""
        if rows:
            stream = self._stream
            with self._aside():
                for line in table_lines(rows, width_of(stream), title, spare):
                    write_line(stream, line)

    def _aside(self) -> AbstractContextManager[None]:
        return nullcontext() if self._foot is None else self._foot.aside()

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self.as_json else self._out or sys.stdout


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
    colour = {"green": GREEN, "yellow": YELLOW}.get(str(match.lastgroup), RED)
    return f"{colour}{match[0]}{OFF}"
