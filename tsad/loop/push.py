"""``tsad push``: the review queue of the open iteration, with pre-annotations, to those who review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.loop import detect
from tsad.loop.common import finished, open_loop, say
from tsad.loop.queue import queue_of

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord

STEP = "PUSH"


def run(bench: Workbench, *, withdraw: bool = False) -> None:
    """Push the open iteration's queue; pushing twice makes no second task.

    Args:
        withdraw: take the pushed tasks back instead, those without an annotation only.

    Raises:
        LoopError: no open iteration has a queue.
        ReviewError: Label Studio unreachable, token refused, project gone.
    """
    loop = open_loop(bench)
    iteration = loop.open_iteration()
    drawn = iteration.finished(detect.STEP) if iteration else None
    if iteration is None or drawn is None:
        raise LoopError(f"loop {loop.name} has no open iteration with a queue", "Run tsad iterate first.")
    if withdraw:
        removed = bench.make_reviewer().withdraw(queue_of(bench, drawn))
        say(f"withdrew {removed} tasks without annotation")
        return
    created = bench.make_reviewer().push(queue_of(bench, drawn))
    say(f"pushed {created} new tasks for iteration {iteration.number}")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """REVIEWING begins: the queue goes out; tasks that are there already are found by their window's id."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    drawn = finished(iteration, detect.STEP)
    with iteration.step(STEP) as step:
        choices = queue_of(bench, drawn)
        created = bench.make_reviewer().push(choices)
        step.result({"windows": len(choices), "created": created})
    return finished(iteration, STEP)
