"""Jobs for tests: a board over a store of one's own, work done in this process, a process that died."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tsad.config.workbench import Workbench
from tsad.core.control import Silent, Switch
from tsad.core.results import Result
from tsad.jobs.board import JobBoard
from tsad.jobs.working import JobAtWork, JobCall, working
from tsad.verbs.asking import Asking

SMALL = ("source=synthetic", "source.series=1", "source.points=300")


@dataclass(frozen=True, eq=False)
class Said(Result):
    """An answer."""

    words: str = "done"
    waits: bool = False

    @property
    def people_have_to_act(self) -> bool:
        return self.waits


@pytest.fixture
def board(stocked: None, bench: Callable[..., Workbench]) -> Iterator[JobBoard]:
    """The jobs of an empty store; nobody works on them."""
    made = JobBoard(bench(), Asking())
    yield made
    made.close()


@contextmanager
def at_work(board: JobBoard, job_id: str, control: Switch | None = None) -> Iterator[JobAtWork]:
    """This process as that of the job."""
    call: Any = working(JobCall(job_id, ""), board.bench, Silent(), control or Switch())  # type: ignore[arg-type]
    with call as work:
        yield work


def died(board: JobBoard, job_id: str) -> None:
    """A process began the job and is gone: its claim is open, nobody holds the lock."""
    record = board.runs.require(job_id)
    with board.runs.claimed(record):
        board.runs.begin(job_id, "1 0.00")


def states(board: JobBoard, job_id: str) -> list[str]:
    """The states that the job's events tell of, in order."""
    return [str(event.values["state"]) for event in board.folder(job_id).events() if event.kind == "state"]


def emptied(board: JobBoard, queue: str = "cpu") -> list[str]:
    """Everything that a queue gives away."""
    taken = []
    while (job_id := board.queues.take(queue)) is not None:
        taken.append(job_id)
    return taken


def taken_file(home: Path, job_id: str) -> Path:
    return home / "service" / "jobs" / job_id / "taken"


def awaited(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What is asked for, as soon as it is true."""
    until = time.monotonic() + seconds
    while not (found := ask()) and time.monotonic() < until:
        time.sleep(0.05)
    return found
