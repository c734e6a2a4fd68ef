"""Where verbs present what they were answered: lines and tables for people, or one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tsad.core.results import Result

if TYPE_CHECKING:
    from rich.console import Console as Screen

R = TypeVar("R", bound=Result)
WIDTH = 160  # of a log file, which has none: 80 columns would fold every cell


class Console:
    """Standard output for the answer; where that is JSON, every other line goes to standard error.

    Args:
        as_json: the answer is one line of JSON.
        out: standard output; ``None`` = as it is when something is said.
    """

    def __init__(self, as_json: bool = False, out: TextIO | None = None) -> None:
        self.as_json, self._out = as_json, out

    def answer(self, result: R, present: Callable[[R, Console], None]) -> R:
        """Give the answer: as JSON, or as ``present`` says it to people. It is there at once, also in a pipe."""
        if self.as_json:
            out = self._out or sys.stdout
            out.write(json.dumps(result.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
            out.flush()
        else:
            present(result, self)
        return result

    def say(self, text: str) -> None:
        """One line for people."""
        self._screen(soft_wrap=True, highlight=False, markup=False).print(text)

    def table(self, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
        """Rows as a table; floats with three decimals, ``None`` and NaN as a dash."""
        from rich.table import Table

        if not rows:
            return
        table = Table(title=title or None, title_justify="left")
        numeric = {k for k in rows[0] if all(isinstance(r.get(k), int | float | None) for r in rows)}
        for key in rows[0]:
            table.add_column(str(key), justify="right" if key in numeric else "left", overflow="fold", min_width=4)
        for row in rows:
            table.add_row(*(_cell(row.get(key)) for key in rows[0]))
        screen = self._screen()
        (screen if screen.is_terminal else self._screen(width=WIDTH)).print(table)

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[str], None]]:
        """A line that says what is waited for while the block runs; the block may change it."""
        from rich.console import Console as Screen

        with Screen(stderr=True).status(text) as line:
            yield line.update

    def _screen(self, **how: Any) -> Screen:
        from rich.console import Console as Screen

        return Screen(file=sys.stderr if self.as_json else self._out, **how)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
