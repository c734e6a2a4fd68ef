"""Long work is watched and stopped from outside: by a terminal's bar and Ctrl-C, or by a service's job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StopRequested(KeyboardInterrupt):
    """Work that was asked to stop and did so at a safe point: what is finished is kept, the rest is done again."""


class Switch:
    """The :class:`~tsad.core.protocols.Control` that others hold on to: stop, pause, resume, checkpoint now.

    Safe to use from any thread and from a signal handler.
    """

    def __init__(self) -> None:
        self._stop, self._run, self._checkpoint = threading.Event(), threading.Event(), threading.Event()
        self._run.set()

    def stop(self) -> None:
        """Stop at the next safe point; ends a pause."""
        self._stop.set()
        self._run.set()

    def pause(self) -> None:
        """Wait at the next safe point until :meth:`resume` or :meth:`stop`."""
        self._run.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._run.set()

    def checkpoint(self) -> None:
        """Have the work keep its state at its next safe point, where it can."""
        self._checkpoint.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def safe_point(self) -> None:
        """Called by the work where it may end or wait without losing anything.

        Raises:
            StopRequested: it was asked to stop.
        """
        while not self._run.wait(0.5):  # in short waits: Ctrl-C has to get through
            pass
        if self._stop.is_set():
            raise StopRequested

    def checkpoint_asked(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        asked = self._checkpoint.is_set()
        self._checkpoint.clear()
        return asked


class Silent:
    """The :class:`~tsad.core.protocols.Progress` that nobody watches."""

    @contextmanager
    def task(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See :class:`~tsad.core.protocols.Progress`."""
        yield lambda count: None

    def note(self, text: str) -> None:
        """See :class:`~tsad.core.protocols.Progress`."""
