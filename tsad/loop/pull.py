"""``tsad pull``: annotations back as reviewed windows, and, once enough are in, a dataset version."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.reviews import Purpose, ReviewedWindow, ReviewState
from tsad.loop import detect
from tsad.loop.common import finished, open_loop, say
from tsad.loop.datasets import latest_training, put
from tsad.loop.gold import find_gold, put_gold
from tsad.loop.queue import queue_of, queue_with_reading
from tsad.loop.reading import Reading

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord

STEP, WITHDRAW = "DATASET", "WITHDRAW"


def run(bench: Workbench) -> None:
    """Bring the open iteration's annotations back, say how many wait, and build the dataset version if enough are in.

    Raises:
        LoopError: no open iteration has a queue.
    """
    loop = open_loop(bench)
    with loop.lock():
        iteration = loop.open_iteration()
        if iteration is None or iteration.finished(detect.STEP) is None:
            raise LoopError(f"loop {loop.name} has no open iteration with a queue", "Run tsad iterate first.")
        record = stage(bench, loop, iteration)
    if record is not None:
        say(f"dataset version {record.result['version']}: {record.result['windows']} windows")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord | None:
    """REVIEWING ends: ``None`` while too few windows are reviewed, else the step that made the dataset version."""
    record = iteration.finished(STEP) or _collect(bench, loop, iteration)
    if record is not None and record.result["states"][ReviewState.PENDING.value]:
        _withdraw(bench, iteration)
    return record


def _collect(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord | None:
    choices, reading = queue_with_reading(bench, finished(iteration, detect.STEP))
    reviewer = bench.make_reviewer()
    while True:
        reviewed = reviewer.pull(choices)
        waiting = missing(bench, reviewed)
        if waiting == 0:
            break
        say(progress(reviewed))
        if not bench.review.wait:
            return None
        time.sleep(bench.review.poll_seconds)
    return _build(bench, loop, iteration, reviewed, reading)


def _withdraw(bench: Workbench, iteration: Iteration) -> None:
    """Take back what nobody answered: its proposals are those of a version about to be replaced.

    Only once the dataset version is kept: before that, a resumed pull would miss the tasks that are gone.
    """
    if not bench.reviewer.people or iteration.finished(WITHDRAW) is not None:
        return
    choices = queue_of(bench, finished(iteration, detect.STEP))
    with iteration.step(WITHDRAW) as step:
        step.result({"withdrawn": bench.make_reviewer().withdraw(choices)})


def missing(bench: Workbench, reviewed: Sequence[ReviewedWindow]) -> int:
    """How many more windows have to be reviewed before the loop goes on: all gold ones, enough of the others."""
    gold = [r for r in reviewed if r.choice.purpose == Purpose.GOLD]
    queue = [r for r in reviewed if r.choice.purpose == Purpose.TRAIN]
    needed = min(len(queue), bench.review.min_reviewed or len(queue))
    answered = sum(r.state != ReviewState.PENDING for r in queue)
    return sum(r.state == ReviewState.PENDING for r in gold) + max(0, needed - answered)


def progress(reviewed: Sequence[ReviewedWindow]) -> str:
    """One line: how many windows wait and how the others were answered."""
    states = Counter(r.state.value.lower() for r in reviewed)
    gold = [r for r in reviewed if r.choice.purpose == Purpose.GOLD]
    text = ", ".join(f"{states[s.value.lower()]} {s.value.lower()}" for s in ReviewState)
    if gold:
        text += f"; gold: {sum(r.state != ReviewState.PENDING for r in gold)}/{len(gold)} reviewed"
    return f"{len(reviewed)} windows: {text}"


def _build(
    bench: Workbench, loop: LoopStore, iteration: Iteration, reviewed: Sequence[ReviewedWindow],
    reading: Reading | None,
) -> StepRecord:  # fmt: skip
    from tsad.plots import series_figure

    with iteration.step(STEP) as step:
        gold = find_gold(loop)
        if gold is None:
            gold = put_gold(bench, loop, iteration, [r for r in reviewed if r.choice.purpose == Purpose.GOLD])
        queue = [r for r in reviewed if r.choice.purpose == Purpose.TRAIN]
        # A killed attempt at this step may have kept its version already: that one is no parent.
        parent = latest_training(loop, apart_from=iteration)
        version = put(bench, loop, iteration, queue, Purpose.TRAIN, parent)
        states = Counter(r.state.value for r in reviewed)
        for one in [r for r in queue if r.usable][: bench.tracking.plots]:
            figure = series_figure(
                one.window.series.slice(one.window.start, one.window.stop), truth=(),
                preannotation=one.choice.proposal or (), annotation=one.intervals,
                title=f"{one.window.point_id} {one.state.value.lower()}",
            )
            step.figure(figure, f"plots/{one.window.window_id}.png")
        if reading is not None:
            reading.record(step)
        step.result(
            {
                "version": version.version, "windows": len(version.windows), "gold_version": gold.version,
                "parent": parent.version if parent else None,
                "positive": sum(bool(r.intervals) for r in version.windows),
                "states": {s.value: states[s.value] for s in ReviewState},
                "outage": reading.outage() if reading else "",
            }
        )
    return finished(iteration, STEP)
