"""Where verbs present what they were answered: lines and tables for people, or one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tsad.core.results import Result
from tsad.verbs.streams import is_terminal, width_of, write_line, write_lines
from tsad.verbs.tables import table_lines

if TYPE_CHECKING:
    from tsad.verbs.foot import Foot

R = TypeVar("R", bound=Result)


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
