"""DATASET and WITHDRAW: annotations back as reviewed windows and, once enough are in, a dataset version."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.windows import without_overlap
from tsad.loop.datasets import latest_training, put
from tsad.loop.detect import DETECT
from tsad.loop.gold import find_gold, put_gold
from tsad.loop.opening import open_loop
from tsad.loop.pictures import picture_name
from tsad.loop.progress import missing, progress_of
from tsad.loop.queue import queue_of, queue_with_reading
from tsad.loop.reading import Reading
from tsad.loop.results import Collected, Undecided, Withdrawn
from tsad.loop.runner import Stage, Turn, finished, record_of, run

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore, StepRun

log = logging.getLogger("tsad")

POLL = 0.5  # seconds between two looks at whether to stop


@dataclass(frozen=True, eq=False)
class Pulled(Result):
    """The dataset version that the open iteration's reviews made; ``None`` while too few are in."""

    iteration: int
    dataset: Collected | None

    @property
    def people_have_to_act(self) -> bool:
        """Whether reviews are missing."""
        return self.dataset is None


@dataclass(frozen=True, eq=False)
class Answers:
    """Enough reviews to go on with, and what was read of the source for them."""

    reviewed: Sequence[ReviewedWindow]
    reading: Reading | None


def pull_reviews(bench: Workbench) -> Pulled:
    """Bring the open iteration's annotations back, say how many wait, and build the dataset version if enough are in.

    Raises:
        LoopError: no open iteration has a queue.
    """
    with open_loop(bench).lock() as loop:
        iteration = loop.open_iteration()
        if iteration is None or iteration.finished(DETECT.name) is None:
            raise LoopError(f"loop {loop.name} has no open iteration with a queue", "Run tsad iterate first.")
        return Pulled(iteration.number, collect(Turn(bench, loop, iteration)))


def collect(turn: Turn) -> Collected | None:
    """REVIEWING ends: the dataset version; ``None`` while too few windows are reviewed.

    What nobody answered is taken back: its proposals are those of a version about to be replaced. Only once the dataset
    version is kept: before that, a resumed pull would miss the tasks that are gone.
    """
    collected = run(turn, DATASET)
    if collected is not None and collected.pending and turn.bench.reviewer.people:
        run(turn, WITHDRAW)
    return collected


def _answers(turn: Turn) -> Answers | None:
    """Waits where ``review.wait`` says so; ``None`` = too few are in."""
    bench, context = turn.bench, turn.bench.context
    choices, reading = queue_with_reading(bench, record_of(turn.iteration, DETECT))
    reviewer, told = bench.make_reviewer(), set[str]()
    while True:
        reviewed = reviewer.pull(choices)
        reviewer.settle(reviewed)
        for problem in dict.fromkeys(r.problem for r in reviewed if r.problem and r.problem not in told):
            log.warning("%s", problem)
            told.add(problem)
        if missing(reviewed, bench.review.min_reviewed) == 0:
            return Answers(reviewed, reading)
        context.progress.note(f"{progress_of(reviewed)}{_unscorable(reviewed)}")
        if not bench.review.wait:
            return None
        again = time.monotonic() + bench.review.poll_seconds
        while (left := again - time.monotonic()) > 0:
            context.control.safe_point()
            time.sleep(min(POLL, left))


def _unscorable(reviewed: Sequence[ReviewedWindow]) -> str:
    """That every blind window is answered and none can score, which only people can mend; else ""."""
    gold = [r for r in reviewed if r.choice.purpose == Purpose.GOLD]
    if not gold or any(r.usable or r.state.waits for r in gold):
        return ""
    return "; none of the blind ones can score the model: judge at least one of them in Label Studio"


def _build(turn: Turn, step: StepRun, answers: Answers) -> Collected:
    bench, loop, iteration, reviewed = turn.bench, turn.loop, turn.iteration, answers.reviewed
    gold = find_gold(loop)
    if gold is None:
        gold = put_gold(bench, loop, iteration, [r for r in reviewed if r.choice.purpose == Purpose.GOLD])
    queue = [r for r in reviewed if r.choice.purpose == Purpose.TRAIN]
    free = {w.window_id for w in without_overlap([r.window for r in queue], [r.window for r in gold.windows])}
    if len(free) < len(queue):  # only gold windows score, only others train, whatever a queue of before holds
        log.warning("%d reviewed windows overlap the gold set and do not train", len(queue) - len(free))
        queue = [r for r in queue if r.window.window_id in free]
    # A killed attempt at this stage may have kept its version already: that one is no parent.
    parent = latest_training(loop, apart_from=iteration)
    version = put(bench, loop, iteration, queue, Purpose.TRAIN, parent)
    _draw(step, [r for r in queue if r.usable][: bench.tracking.plots])
    if answers.reading is not None:
        answers.reading.record(step)
    progress = progress_of(reviewed)
    return Collected(
        version=version.digest, windows=len(version.windows), gold_version=gold.digest,
        parent=parent.digest if parent else None, positive=_positive(version),
        states=progress.queue, outage=answers.reading.outage() if answers.reading else "",
        gold_states=progress.gold, gold_windows=len(gold.windows), gold_positive=_positive(gold),
        undecided=tuple(
            Undecided(r.window.point_id, *r.window.span, state=r.state.value)
            for r in reviewed if r.state in (ReviewState.SKIPPED, ReviewState.CONFLICT)
        ),
        people=len({a.annotator for r in reviewed for a in r.annotations}),
    )


def _positive(version: DatasetVersion) -> int:
    return sum(bool(r.intervals) for r in version.windows)


def _draw(step: StepRun, reviewed: Sequence[ReviewedWindow]) -> None:
    """Windows with what was proposed and what people made of it, as plots of the run."""
    from tsad.plots import series_figure

    for answer in reviewed:
        figure = series_figure(
            answer.window.series.slice(answer.window.start, answer.window.stop), truth=(),
            preannotation=answer.choice.proposal or (), annotation=answer.intervals,
            title=f"{answer.window.point_id} {answer.state.value.lower()}",
        )  # fmt: skip
        step.figure(figure, f"plots/{picture_name(answer.window.series, answer.window.span[0])}")


def _withdraw(turn: Turn, step: StepRun, _: Turn) -> Withdrawn:
    choices = queue_of(turn.bench, record_of(turn.iteration, DETECT))
    return Withdrawn(turn.bench.make_reviewer().withdraw(choices))


DATASET = Stage("DATASET", Collected, _build, _answers)
WITHDRAW = Stage("WITHDRAW", Withdrawn, _withdraw)


def undecided_in(loop: LoopStore) -> list[Undecided]:
    """Windows that people have answered without a truth, in whichever iteration of the loop."""
    collected = (finished(iteration, DATASET) for iteration in loop.iterations())
    return [window for one in collected if one is not None for window in one.undecided]
