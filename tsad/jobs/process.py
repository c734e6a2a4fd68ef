"""Processes of jobs: started, watched by whoever started them, ended where they do not stop when they are asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tsad.files.atomic import storage
from tsad.jobs.devices import VARIABLE as DEVICES
from tsad.jobs.folder import JobFolder
from tsad.jobs.spare import SPARE
from tsad.jobs.working import JobCall

if TYPE_CHECKING:
    from tsad.tracking.jobs import JobRecord

ATTEMPT = "--- attempt "  # begins the line of a log that says which one begins


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time.

    Attributes:
        queue: that it takes jobs from. number: of those that do. devices: the GPUs that its jobs see.
    """

    queue: str
    number: int
    devices: str

    @property
    def name(self) -> str:
        """Of its lock."""
        return f"{self.queue}.{self.number}"


class Starter:
    """Starts the processes of jobs, each in a session of its own: it outlives whoever started it.

    Args:
        home: the store's folder. spare: whether a process is kept that has imported already what every job needs.
        shared: whether other hosts may ask something of the jobs.
    """

    def __init__(self, home: Path, spare: bool, shared: bool) -> None:
        self._home, self._keeps, self._shared = home, spare, shared
        self._spare: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, record: JobRecord, words: Sequence[str], slot: Slot) -> subprocess.Popen[bytes]:
        """Start the process of a job.

        Args:
            words: of the command line.

        Raises:
            StorageError: its log cannot be written.
        """
        folder, words = JobFolder(self._home, record.id), [*words, "-o", "json"]
        with open_log(folder, record.attempt + 1) as log, self._lock:
            spare, self._spare = self._spare, None
            told = {
                "id": record.id, "slot": slot.name, "words": words, "shared": self._shared, "devices": slot.devices,
                "log": str(folder.log),
            }  # fmt: skip
            if spare is not None and _told(spare, told):
                return spare
            call = JobCall(record.id, slot.name, shared=self._shared).environment()
            return self._process(words, {**call, DEVICES: slot.devices}, subprocess.DEVNULL, log)

    def prepare(self) -> None:
        """Have a spare process, where there is to be one and none is there."""
        with self._lock:
            if self._keeps and (self._spare is None or self._spare.poll() is not None):
                call = JobCall(SPARE, "")
                self._spare = self._process([], call.environment(), subprocess.PIPE, subprocess.DEVNULL)

    def close(self) -> None:
        """Let the spare process go: it ends when nobody can tell it anything any more."""
        with self._lock:
            self._keeps = False
            if self._spare is not None and self._spare.stdin is not None:
                self._spare.stdin.close()
                self._spare = None

    def _process(
        self, words: Sequence[str], variables: Mapping[str, str], stdin: int, stderr: int | BinaryIO
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tsad", *words], env={**os.environ, **variables, "TSAD_HOME": str(self._home)},
            stdin=stdin, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True,
        )  # fmt: skip


def _told(spare: subprocess.Popen[bytes], call: Mapping[str, object]) -> bool:
    """Tell a spare process which job it is; whether it could be told."""
    if spare.stdin is None or spare.poll() is not None:
        return False
    try:
        spare.stdin.write(json.dumps(call).encode() + b"\n")
        spare.stdin.close()
    except OSError:
        return False
    return True


def open_log(folder: JobFolder, attempt: int) -> BinaryIO:
    """The log, with a line that says which attempt begins."""
    with storage(folder.log):
        folder.path.mkdir(parents=True, exist_ok=True)
        log = folder.log.open("ab", buffering=0)
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        log.write(f"{ATTEMPT}{attempt}, {now}\n".encode())
        return log


def ask_to_end(process: str) -> bool:
    """Send SIGTERM to a job's process, not to its helpers: it lets them go itself.

    Args:
        process: see :func:`~tsad.tracking.claims.this_process`.

    Returns:
        Whether it is still the one of that name.
    """
    return _signalled(process, signal.SIGTERM, os.kill)


def end_group(process: str) -> bool:
    """Kill a job's process and all that it started; as :func:`ask_to_end`."""
    return _signalled(process, signal.SIGKILL, os.killpg)


def _signalled(process: str, number: int, send: Callable[[int, int], None]) -> bool:
    from tsad.tracking.claims import process_lives

    if not process or not process_lives(process):
        return False
    with suppress(ProcessLookupError, PermissionError):
        send(int(process.partition(" ")[0]), number)
        return True
    return False


def end_leftovers(process: str) -> int:
    """Kill what a job's dead process has left behind in its session: helpers that it forked hold its locks.

    Args:
        process: as in :func:`end_group`; while it lives nothing is touched.

    Returns:
        How many there were.
    """
    import psutil

    if not process or not hasattr(os, "getsid") or psutil.pid_exists(leader := int(process.partition(" ")[0])):
        return 0  # a pid is not used again while a session has its number
    found = 0
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)
                found += 1
    return found


def killed_words(number: int) -> str:
    """How a process was ended by a signal, in words."""
    why = {int(signal.SIGKILL): " (out of memory, or by hand)", int(signal.SIGSEGV): " (a fault in a library)"}
    return f"killed by signal {number}{why.get(number, '')}"
