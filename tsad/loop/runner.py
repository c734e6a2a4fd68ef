"""Stages of an iteration, and the one function that runs them: looked up, prepared, claimed, done, finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.labels import labelled
from tsad.core.results import Result
from tsad.loop.results import Undecided

if TYPE_CHECKING:
    from tsad.core.reviews import Choice, DatasetVersion
    from tsad.core.series import Series, Window
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, eq=False)
class Carried:
    """What the queues of iterations that were given up leave to the next one.

    Attributes:
        answered: choices to learn from that people have answered, or audit; blind: those that score the model.
        left: the others: nobody has to look at them any more, unless they are drawn again.
    """

    answered: tuple[Choice, ...] = ()
    blind: tuple[Choice, ...] = ()
    left: tuple[Choice, ...] = ()

    @property
    def windows(self) -> list[Window]:
        """Those that are in the next queue as they are."""
        return [c.window for c in (*self.answered, *self.blind)]


def _nothing_carried(series: Sequence[Series], gold: DatasetVersion | None) -> Carried:
    return Carried()


@dataclass(frozen=True, eq=False)
class Turn:
    """An iteration that this call works on.

    Attributes:
        loop: the loop under its lock.
        undecided: looks up what people have answered without a truth in the iterations before.
        carried: looks up what people have answered of iterations that were given up, of these series and apart from
            the gold set.
    """

    bench: Workbench
    loop: LoopStore
    iteration: Iteration
    undecided: Callable[[], Sequence[Undecided]] = tuple
    carried: Callable[[Sequence[Series], DatasetVersion | None], Carried] = _nothing_carried


def _nothing(turn: Turn) -> Turn:
    return turn


@dataclass(frozen=True, eq=False)
class Stage(Generic[R]):
    """One part of an iteration.

    Attributes:
        name: part of its claim's name in the store: it stays what it is.
        result: what it answers.
        work: does it, under the claim; what it is given is what ``prepare`` made. It may be killed anywhere and begun
            again, so it looks up what it makes before it makes it.
        prepare: reads or waits for what the work needs before anything is claimed; ``None`` = people have to act first.
    """

    name: str
    result: type[R]
    work: Callable[[Turn, StepRun, Any], R]
    prepare: Callable[[Turn], Any] = _nothing


def run(turn: Turn, stage: Stage[R]) -> R | None:
    """The stage's result, kept or worked for now; ``None`` where people have to act first.

    Raises:
        StopRequested: it was asked to stop; nothing is claimed yet.
        ClaimError: another process works on the stage.
    """
    known = finished(turn.iteration, stage)
    if known is not None:
        return known
    turn.bench.context.control.safe_point()
    number = turn.iteration.number
    about = labelled(loop=turn.loop.name, iteration=str(number))
    with about, turn.bench.context.progress.task(f"iteration {number}, {stage.name.lower()}"):
        prepared = stage.prepare(turn)
        if prepared is None:
            return None
        with turn.iteration.step(stage.name) as step:
            step.result(stage.work(turn, step, prepared).to_json())
    return result_of(turn.iteration, stage)


def finished(iteration: Iteration, stage: Stage[R]) -> R | None:
    """What the stage answered where it has finished."""
    record = iteration.finished(stage.name)
    return None if record is None else stage.result.from_json(record.result)


def result_of(iteration: Iteration, stage: Stage[R]) -> R:
    """What the finished stage answered.

    Raises:
        LoopError: it has not finished, though the loop's order says that it has to.
    """
    return stage.result.from_json(record_of(iteration, stage).result)


def record_of(iteration: Iteration, stage: Stage[Any]) -> StepRecord:
    """The finished stage's run, with its artifacts.

    Raises:
        LoopError: it has not finished, though the loop's order says that it has to.
    """
    record = iteration.finished(stage.name)
    if record is None:
        raise LoopError(
            f"iteration {iteration.number} has no finished {stage.name} step",
            "Run tsad iterate, which goes on from there.",
        )
    return record


def seconds(iteration: Iteration, stages: Iterable[Stage[Any]]) -> float:
    """Seconds that these stages worked; waiting for people does not count."""
    records = (iteration.finished(stage.name) for stage in stages)
    return sum(record.seconds for record in records if record is not None)
