"""Ctrl-C and SIGTERM: work stops where nothing is lost; once more, or where there is no such point, at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tsad.core.control import Switch
from tsad.verbs.foot import ERASE

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAID = b"stopping at the next safe point; once more stops at once\n"


class Interrupts(Switch):
    """The :class:`~tsad.core.protocols.Control` of a command that signals stop.

    Attributes:
        reached: whether the work has safe points at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reached = False

    def safe_point(self) -> None:
        """See :class:`~tsad.core.protocols.Control`."""
        self.reached = True
        super().safe_point()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Both signals come here while the block runs; outside the main thread none arrives anyway."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._process = os.getpid()
        before = {number: signal.signal(number, self._arrived) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked worker: it ends as if nobody had asked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.stopping or not self.reached:
            raise KeyboardInterrupt
        self.stop()
        # Over the line at the foot of a terminal, which is drawn again below.
        begin = ERASE.encode() if os.isatty(2) else b""
        os.write(2, begin + SAID)  # a handler may come in the middle of somebody's print
