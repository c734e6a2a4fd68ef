"""Where ids of jobs wait: huey's storages, SQLite in the store or Redis; what a queue holds is an id and nothing else.

A storage gives an id away before the work begins, so a killed worker loses it; whoever recovers puts it back. What
huey itself puts into its queues is a pickle of a task, which whoever can write there could use to run code: here are
plain texts.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import MissingPackageError, QueueError
from tsad.core.masking import mask_urls
from tsad.files.locate import install_extra

if TYPE_CHECKING:
    from huey.storage import BaseStorage

FILE = "queue.db"
TIMEOUT = 5.0  # seconds that Redis may take to answer
LOCK_SECONDS = 60.0
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class JobQueues:
    """The queues of a store, by name; safe to use from several threads and processes.

    Args:
        address: of Redis; "" = SQLite in the store. home: the store's folder.
    """

    def __init__(self, address: str, home: Path) -> None:
        self._address, self._home = address, home
        self._storages: dict[str, BaseStorage] = {}
        self._lock = threading.Lock()

    @property
    def shared(self) -> bool:
        """Whether workers of other hosts may take from them."""
        return bool(self._address)

    def put(self, queue: str, job_id: str) -> None:
        """Put an id at the end. Raises QueueError, as all of these do."""
        with self._guarded():
            self._storage(queue).enqueue(job_id.encode())

    def take(self, queue: str) -> str | None:
        """Take the id at the head away; ``None`` where nothing waits."""
        with self._guarded():
            text = _text(self._storage(queue).dequeue())
        return text if text is None or _ID.fullmatch(text) else None  # what else is there is not ours

    def empty(self, queue: str) -> bool:
        """Whether nothing waits; the cheapest question."""
        with self._guarded():
            return not self._storage(queue).queue_size()

    def waiting(self, queue: str) -> list[str]:
        """Ids that wait, the next one first; some of them may have been stopped meanwhile."""
        with self._guarded():
            return [str(_text(item)) for item in self._storage(queue).enqueued_items()]

    @contextmanager
    def submitting(self) -> Iterator[None]:
        """Be the only one of all hosts who submits; with SQLite the lock of the host is enough."""
        if not self.shared:
            yield
            return
        with self._guarded():
            redis = self._storage("cpu").conn
            lock = redis.lock("tsad.jobs.submit", timeout=LOCK_SECONDS, blocking_timeout=LOCK_SECONDS)
            if not lock.acquire():
                raise QueueError("another submission has not come to its end", "Try again.")
        try:
            yield
        finally:
            with self._guarded():
                lock.release()

    def check(self) -> None:
        """Ask the queue whether it answers. Raises QueueError."""
        with self._guarded():
            self._storage("cpu").queue_size()

    def close(self) -> None:
        """Let connections go."""
        with self._lock:
            for storage in self._storages.values():
                storage.close()
            self._storages.clear()

    def _storage(self, queue: str) -> BaseStorage:
        with self._lock:
            if queue not in self._storages:
                self._storages[queue] = self._made(queue)
            return self._storages[queue]

    def _made(self, queue: str) -> BaseStorage:
        from huey.storage import RedisStorage, SqliteStorage

        if not self.shared:
            path = self._home / "service" / FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            return SqliteStorage(queue, filename=str(path), timeout=30)
        from redis import ConnectionPool

        pool = ConnectionPool.from_url(self._address, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
        return RedisStorage(f"tsad{queue}", blocking=False, connection_pool=pool)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Failures of the queue as a named error."""
        failures: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
        try:
            if self.shared:
                from redis import RedisError

                failures = (*failures, RedisError)
            yield
        except ImportError as error:
            found = f"what keeps the queue of jobs is not installed ({error})"
            raise MissingPackageError(found, f"Run: {install_extra('service')}") from error
        except failures as error:
            where = mask_urls(self._address) or str(self._home / "service" / FILE)
            remedy = "Start it, or mend service.queue." if self.shared else "Look at the disk and the file's rights."
            raise QueueError(f"the queue of jobs {where} does not answer ({error})", remedy) from error


def _text(item: object) -> str | None:
    return bytes(item).decode(errors="replace") if isinstance(item, bytes | bytearray | memoryview) else None
