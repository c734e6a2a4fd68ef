"""The first level: series that this call has just read, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from tsad.sources.cache.entries import Content


class WorkingSet:
    """Contents of cache files by their path, which never change; what was used least recently goes first.

    Safe to use from several threads.

    Args:
        limit: bytes of timestamps and values; 0 = keep nothing.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit, self.used = limit, 0
        self._contents: OrderedDict[Path, Content] = OrderedDict()
        self._lock = threading.RLock()

    def __contains__(self, path: Path) -> bool:
        with self._lock:
            return path in self._contents

    def get(self, path: Path) -> Content | None:
        """What was kept under this path, now used most recently."""
        with self._lock:
            content = self._contents.get(path)
            if content is not None:
                self._contents.move_to_end(path)
            return content

    def put(self, path: Path, content: Content) -> None:
        """Keep a content; its arrays become read-only, since several readers share them."""
        size = _bytes(content)
        with self._lock:
            if path in self._contents or size > self.limit:
                return
            for array in (content.series.timestamps, content.series.values):
                array.flags.writeable = False
            self._contents[path] = content
            self.used += size
            while self.used > self.limit:
                self.drop(next(iter(self._contents)))

    def drop(self, path: Path) -> None:
        """Forget a content; nothing happens where it is not there."""
        with self._lock:
            content = self._contents.pop(path, None)
            if content is not None:
                self.used -= _bytes(content)


def _bytes(content: Content) -> int:
    return content.series.timestamps.nbytes + content.series.values.nbytes
