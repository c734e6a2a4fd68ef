"""Processes of jobs: started, watched by whoever started them, ended where they do not stop when they are asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tsad.files.atomic import storage
from tsad.jobs.devices import VARIABLE as DEVICES
from tsad.jobs.folder import JobFolder
from tsad.jobs.working import JobCall

if TYPE_CHECKING:
    from tsad.tracking.jobs import JobRecord


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


def start(home: Path, record: JobRecord, words: Sequence[str], slot: Slot) -> subprocess.Popen[bytes]:
    """Start the process of a job, in a session of its own: it outlives whoever started it.

    Args:
        words: of the command line.

    Raises:
        StorageError: its log cannot be written.
    """
    folder = JobFolder(home, record.id)
    environment = {
        **os.environ, **JobCall.environment(record.id, slot.name), DEVICES: slot.devices, "TSAD_HOME": str(home),
    }  # fmt: skip
    with open_log(folder, record.attempt + 1) as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tsad", *words, "-o", "json"], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
        )  # fmt: skip


def open_log(folder: JobFolder, attempt: int) -> BinaryIO:
    """The log, with a line that says which attempt begins."""
    with storage(folder.log):
        folder.path.mkdir(parents=True, exist_ok=True)
        log = folder.log.open("ab", buffering=0)
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        log.write(f"--- attempt {attempt}, {now}\n".encode())
        return log


def end_group(process: str, number: int = signal.SIGTERM) -> bool:
    """Send a signal to a job's process and all that it started, where it is still the one of that name.

    Args:
        process: see :func:`~tsad.tracking.claims.this_process`.
    """
    from tsad.tracking.claims import process_lives

    if not process or not process_lives(process):
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(int(process.partition(" ")[0]), number)
        return True
    return False


def killed_words(code: int) -> str:
    """How a process ended by a signal, in words; ``code`` as :attr:`subprocess.Popen.returncode` has it."""
    why = {int(signal.SIGKILL): " (out of memory, or by hand)", int(signal.SIGSEGV): " (a fault in a library)"}
    return f"killed by signal {-code}{why.get(-code, '')}"
