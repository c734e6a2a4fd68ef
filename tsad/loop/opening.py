"""The loop in its store: opened, locked, and a run of its own outside any iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tsad.config.workbench import Workbench
from tsad.core.results import Result

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore, StepRun

R = TypeVar("R", bound=Result)


def open_loop(bench: Workbench) -> LoopStore:
    """The loop's MLflow experiment in the configured store, created where it is new."""
    from tsad.tracking.runs import LoopStore
    from tsad.tracking.store import open_store

    loop = LoopStore(open_store(bench.tracking, bench.home), bench.loop.name, bench.loop.lease)
    loop.job = bench.context.job
    return loop


def once(held: LoopStore, name: str, kind: type[R], work: Callable[[StepRun], R]) -> tuple[str, R]:
    """A run of a verb outside any iteration, under the loop's lock: its id, and what the work answered.

    Of a service's job that was killed and is begun again, the run that it had finished is the answer: nothing is
    done twice.
    """
    done = held.finished_for_job(name)
    if done is not None:
        return done.run_id, kind.from_json(done.result)
    with held.run(name) as step:
        result = work(step)
        step.result(result.to_json())
    return step.run_id, result


@contextmanager
def standalone(loop: LoopStore, name: str) -> Iterator[tuple[LoopStore, StepRun]]:
    """The loop under its lock, and a run of a verb outside any iteration.

    Raises:
        ClaimError: another process works on the loop.
    """
    with loop.lock() as held, held.run(name) as step:
        yield held, step
