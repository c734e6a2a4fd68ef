"""How far long work is, as a line at the foot of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tsad.verbs.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class TerminalProgress:
    """The :class:`~tsad.core.protocols.Progress` of a terminal: a line per task, on standard error, gone when it ends.

    Where standard error is no terminal only the notes are said.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None  # while any task is watched

    @contextmanager
    def task(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See :class:`~tsad.core.protocols.Progress`."""
        if not sys.stderr.isatty():
            yield lambda count: None
            return
        outer, bar = self._bar, self._bar or _bar()
        self._bar = bar
        bar.start()
        line = bar.add_task(name, total=total, completed=done)
        try:
            yield lambda count: bar.update(line, completed=count)
        finally:
            bar.remove_task(line)
            if outer is None:
                bar.stop()
            self._bar = outer

    def note(self, text: str) -> None:
        """See :class:`~tsad.core.protocols.Progress`."""
        if self._bar is None:
            self._console.say(text)
            return
        self._bar.stop()  # or its line would stay between those of the notes
        self._console.say(text)
        self._bar.start()


def _bar() -> Bar:
    from rich.console import Console as Screen
    from rich.progress import Progress as Bar

    # What is written to standard output meanwhile is not to end on standard error.
    return Bar(console=Screen(stderr=True), transient=True, redirect_stdout=False)
