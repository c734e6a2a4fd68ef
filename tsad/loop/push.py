"""PUSH: the review queue of the open iteration, with pre-annotations, to those who review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.results import Result
from tsad.loop.detect import DETECT
from tsad.loop.opening import open_loop
from tsad.loop.queue import queue_of
from tsad.loop.results import Detected, Pushed
from tsad.loop.runner import Stage, Turn, record_of

if TYPE_CHECKING:
    from tsad.core.reviews import Choice
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class QueueMoved(Result):
    """Tasks made for the open iteration's queue, or taken back from it.

    Attributes:
        queued, proposed, gold_queued: what the queue holds, as in :class:`~tsad.loop.results.Detected`.
    """

    iteration: int
    created: int = 0
    withdrawn: int = 0
    queued: int = 0
    proposed: int | None = None
    gold_queued: int = 0


def push_queue(bench: Workbench) -> QueueMoved:
    """Push the open iteration's queue; pushing twice makes no second task.

    Raises:
        LoopError: no open iteration has a queue.
        ReviewError: Label Studio unreachable, token refused, project gone.
    """
    number, drawn, choices = _open_queue(bench)
    return _moved(number, drawn, created=bench.make_reviewer().push(choices))


def withdraw_queue(bench: Workbench) -> QueueMoved:
    """Take the pushed tasks of the open iteration back, those without an annotation only.

    Raises:
        LoopError: no open iteration has a queue.
        ReviewError: Label Studio unreachable, token refused, project gone.
    """
    number, drawn, choices = _open_queue(bench)
    return _moved(number, drawn, withdrawn=bench.make_reviewer().withdraw(choices))


def _moved(number: int, drawn: Detected, created: int = 0, withdrawn: int = 0) -> QueueMoved:
    return QueueMoved(number, created, withdrawn, drawn.queued, drawn.proposed, drawn.gold_queued)


def _open_queue(bench: Workbench) -> tuple[int, Detected, list[Choice]]:
    loop = open_loop(bench)
    iteration = loop.open_iteration()
    drawn = iteration.finished(DETECT.name) if iteration else None
    if iteration is None or drawn is None:
        raise LoopError(f"loop {loop.name} has no open iteration with a queue", "Run tsad iterate first.")
    return iteration.number, Detected.from_json(drawn.result), queue_of(bench, drawn)


def _push(turn: Turn, step: StepRun, _: Turn) -> Pushed:
    """REVIEWING begins: tasks that are there already are found by their window's id."""
    choices = queue_of(turn.bench, record_of(turn.iteration, DETECT))
    return Pushed(len(choices), turn.bench.make_reviewer().push(choices))


PUSH = Stage("PUSH", Pushed, _push)
