"""The line at the foot of the terminal that says how far work is; lines of everybody else go above it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tsad.verbs.streams import is_terminal, write_line

DELAY, EVERY = 0.5, 0.2  # seconds: what is over sooner shows no line; between two looks of it
PLAIN_DELAY, PLAIN_EVERY = 1.0, 15.0  # seconds: the same where there is no terminal
ERASE = "\r\x1b[K"


class Foot:
    """One live line on standard error while work goes on, redrawn by a thread; a plain line now and then elsewhere.

    Args:
        text: how far the work is now, as one printable line; "" = nothing to say.
    """

    def __init__(self, text: Callable[[], str] = str) -> None:
        self.text = text
        self._lock = threading.RLock()
        self._ended: threading.Event | None = None  # of the thread that draws; None while nobody works
        self._drawn = False

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw in."""
        return is_terminal(sys.stderr)

    def begin(self) -> None:
        """Draw from now on, after a moment."""
        if self._ended is None:
            self._ended = threading.Event()
            thread = threading.Thread(target=self._draw_on, args=(self._ended, self.live), name="foot", daemon=True)
            thread.start()

    def end(self) -> None:
        """Draw no more, and leave no trace of the line."""
        if self._ended is not None:
            self._ended.set()
            self._ended = None
        with self._lock:
            self._erase()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Whoever writes a line meanwhile finds the foot gone; it is drawn again afterwards."""
        with self._lock:
            drawn = self._drawn
            self._erase()
            yield
            if drawn and self._ended is not None:
                self._draw()

    def _draw_on(self, ended: threading.Event, live: bool) -> None:
        pause = DELAY if live else PLAIN_DELAY
        while not ended.wait(pause):
            pause = EVERY if live else PLAIN_EVERY
            with self._lock:
                if not ended.is_set() and (text := self.text()):
                    self._draw(text) if live else write_line(sys.stderr, text)

    def _draw(self, text: str = "") -> None:
        sys.stderr.write(ERASE + (text or self.text()))
        sys.stderr.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(ERASE)
            sys.stderr.flush()
            self._drawn = False
