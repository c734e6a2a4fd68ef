"""How far long work is: one line at the foot of the terminal, a plain line per part of the work elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tsad.core.printing import cells, printable, shortened
from tsad.verbs.console import Console
from tsad.verbs.foot import Foot
from tsad.verbs.streams import width_of, write_line
from tsad.verbs.tables import figure, seconds_text

BAR = 20  # cells
SPINNER = "|/-\\"


@dataclass
class Watched:
    """A part of the work while it goes on: items in all (``None`` = unknown), at its beginning, and now.

    Attributes:
        waits: it is waiting, which is worth no line where there is no terminal.
    """

    name: str
    total: int | None
    first: int
    count: int
    waits: bool = False
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun

    def figures(self) -> str:
        """Count, rate and time left where they are known, else the time that it took so far."""
        rate = (self.count - self.first) / max(self.seconds, 1e-9)
        if not self.total:
            count = f"{self.count}, " if self.count else ""
            return f"{count}{seconds_text(self.seconds)}"
        if rate <= 0:
            return f"{self.count} of {self.total}, {seconds_text(self.seconds)}"
        speed = f"{figure(rate)}/s" if rate >= 0.995 else f"{figure(rate * 60)}/min"
        return f"{self.count} of {self.total}, {speed}, {seconds_text((self.total - self.count) / rate)} left"


class TerminalProgress:
    """The :class:`~tsad.core.protocols.Progress` of a command, on standard error.

    In a terminal one line, of the innermost part of the work, gone when it ends; elsewhere a plain line as each part
    begins, and one now and then while it goes on.
    """

    def __init__(self, console: Console, foot: Foot) -> None:
        self._console, self._foot = console, foot
        self._foot.text = self._text
        self._parts: list[Watched] = []

    @contextmanager
    def command(self, verb: str, waits: bool = False) -> Iterator[None]:
        """The whole verb: what it does before and between its parts shows too, unless it ``waits`` there."""
        with self._within(Watched(verb, None, 0, 0, waits)):
            yield

    @contextmanager
    def task(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See :class:`~tsad.core.protocols.Progress`."""
        part = Watched(printable(name), total, done, done)
        if not self._foot.live:
            depth = sum(outer.total is None for outer in self._parts[1:])
            write_line(sys.stderr, "  " * depth + part.name + (f": {total}" if total else ""))

        def reached(count: int) -> None:
            part.count = count

        with self._within(part):
            yield reached

    def note(self, text: str) -> None:
        """See :class:`~tsad.core.protocols.Progress`."""
        self._console.say(text)

    @contextmanager
    def _within(self, part: Watched) -> Iterator[None]:
        self._parts.append(part)
        self._foot.begin()
        try:
            yield
        finally:
            self._parts.remove(part)
            if not self._parts:
                self._foot.end()

    def _text(self) -> str:
        """The line of the innermost part, or of the command as such between its parts."""
        parts = list(self._parts)
        if not parts:
            return ""
        if not self._foot.live:
            return "" if parts[-1].waits else f"{parts[-1].name}: {parts[-1].figures()}"
        part, width = parts[-1], width_of(sys.stderr) - 1
        label = " · ".join(outer.name for outer in parts[1:]) or part.name
        spin, figures = SPINNER[int(part.seconds * 5) % len(SPINNER)], part.figures()
        room = width - cells(figures) - 4
        label = label if cells(label) <= room else shortened(part.name, room)
        full = round(BAR * min(1.0, part.count / part.total)) if part.total else 0
        bar = f"{'━' * full}{' ' * (BAR - full)}  " if part.total and cells(label) + BAR + 2 <= room else ""
        return f"{spin} {label}  {bar}{figures}"
