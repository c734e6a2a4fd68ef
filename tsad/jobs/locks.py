"""Locks of jobs: one that a job's process holds for its life, one that its slot has, one for whoever submits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import JobError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUBMIT_SECONDS = 60.0  # how long to wait for others who submit
TOUCH_SECONDS = 2.0  # whoever only looks whether a job is worked on holds its lock for an instant


def job_lock(home: Path, job_id: str) -> BaseFileLock:
    """The lock that the process of a job holds while it lives."""
    return _lock(home, job_id)


def slot_lock(home: Path, slot: str) -> BaseFileLock:
    """The lock of a slot, e.g. ``gpu0.0``: a job that outlived its service still has it."""
    return _lock(home, f"slot.{slot}")


@contextmanager
def submitting(home: Path) -> Iterator[None]:
    """Be the only one of this host who submits.

    Raises:
        JobError: another did not come to its end.
    """
    with held(_lock(home, "submit"), SUBMIT_SECONDS) as got:
        if not got:
            raise JobError("another submission has not come to its end", "Try again; if it stays so, see the log.")
        yield


@contextmanager
def held(lock: BaseFileLock, seconds: float = 0.0) -> Iterator[bool]:
    """Hold a lock while the block runs, where it can be had within so many seconds; tells whether it was."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def worked_on(home: Path, job_id: str) -> bool:
    """Whether a process of this host has the job's lock at this instant."""
    with held(job_lock(home, job_id)) as got:
        return not got


def _lock(home: Path, name: str) -> BaseFileLock:
    from filelock import FileLock

    folder = home / "locks" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock", thread_local=False)
