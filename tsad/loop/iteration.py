"""What an iteration does next, and how it resumes.

    CREATED -> DETECTING -> REVIEWING -> DATA_READY -> TRAINING -> TRAINED -> EVALUATING -> COMPLETED

An error makes it FAILED, with the reason; the next call goes on from the step that failed.
Every stage looks for its finished step first, so a resumed iteration walks the same path and does only
what is not done. Nothing here is remembered outside MLflow and Label Studio.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from tsad.config.freeze import differences
from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError, TsadError
from tsad.loop import detect, evaluate, promote, pull, push, report, train
from tsad.loop.common import finished, say, show

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore
    from tsad.tracking.store import Store


def iterate(bench: Workbench, *, new: bool = False) -> float | None:
    """Go on with the open iteration, or begin one, until people have to act or the loop reaches its end.

    Args:
        new: close an open iteration as abandoned and begin one with this config.

    Returns:
        The champion's gate metric on the gold set, for sweepers; ``None`` while people have to act.

    Raises:
        LoopError: several loops are open and none is named, or an override differs from the frozen config.
        ClaimError: another process works on this loop.
    """
    from tsad.tracking.store import open_store

    store = open_store(bench.tracking, bench.home)
    bench = _continued(store, bench, new)
    bench.build_once()  # before any long work, and before anything is frozen
    bench = bench.named(_fresh_name(store, bench) if bench.loop.fresh and not new else bench.loop.name)
    loop = store.loop(bench.loop.name, bench.loop.lease)
    done = {i.number for i in loop.iterations() if not i.open}
    with loop.lock():
        loop.reap()
        iteration = loop.open_iteration()
        if iteration is not None and new:
            iteration.abandon("new=true")
            iteration = None
        while iteration is not None or not _ended(bench, loop):
            iteration = iteration or _begin(bench, loop)
            if not _advance(bench, loop, iteration):
                break
            iteration = None
    _report(bench, loop, done)
    last = [i for i in loop.iterations() if i.state == "COMPLETED"]
    return finished(last[-1], promote.STEP).result["scores"].get(bench.gold.metric) if last else None


def _continued(store: Store, bench: Workbench, new: bool) -> Workbench:
    """The workbench of the open iteration that this call goes on with, or the one just composed."""
    if new:
        return bench
    loops = [store.loop(name, bench.loop.lease) for name in store.loops()]
    open_ones = {loop.name: it for loop in loops if (it := loop.open_iteration()) is not None}
    if not bench.overrides and open_ones:
        if len(open_ones) > 1:
            lines = ", ".join(f"{name} (iteration {it.number}, {it.state})" for name, it in open_ones.items())
            raise LoopError(f"several loops have an open iteration: {lines}", "Say which: tsad iterate loop.name=NAME.")
        name, iteration = next(iter(open_ones.items()))
        say(f"going on with loop {name}, iteration {iteration.number} ({iteration.state})")
        return bench.thaw(iteration.config_yaml)
    frozen = open_ones.get(_fresh_name(store, bench) if bench.loop.fresh else bench.loop.name)
    if frozen is None:
        return bench
    refused = differences(bench.config_yaml, frozen.config_yaml)
    if refused:
        raise LoopError(
            f"iteration {frozen.number} of loop {bench.loop.name} is open and its config is frozen; it differs in "
            + ", ".join(refused),
            "Leave the override out, or start afresh with new=true.",
        )
    return bench.thaw(frozen.config_yaml)


def _fresh_name(store: Store, bench: Workbench) -> str:
    """The loop's name, or NAME-2, NAME-3, ... where those before have reached their end."""
    names = set(store.loops())
    name, number = bench.loop.name, 1
    while name in names:
        loop = store.loop(name, bench.loop.lease)
        if loop.open_iteration() is not None or not _ended(bench, loop):
            break
        number += 1
        name = f"{bench.loop.name}-{number}"
    return name


def _completed(loop: LoopStore) -> list[Iteration]:
    return [i for i in loop.iterations() if i.state == "COMPLETED"]


def _ended(bench: Workbench, loop: LoopStore) -> bool:
    """Whether ``loop.iterations`` are done or the champion has reached ``loop.until_f1``."""
    done = _completed(loop)
    if len(done) >= bench.loop.iterations:
        return True
    if not done or bench.loop.until_f1 <= 0:
        return False
    reached = finished(done[-1], promote.STEP).result["scores"].get(bench.gold.metric, 0.0)
    return reached >= bench.loop.until_f1


def _begin(bench: Workbench, loop: LoopStore) -> Iteration:
    number = max((i.number for i in loop.iterations()), default=0) + 1
    say(f"loop {loop.name}: iteration {number}")
    return loop.create_iteration(number, bench.config_yaml, bench.parameters())


def _advance(bench: Workbench, loop: LoopStore, iteration: Iteration) -> bool:
    """Take the iteration as far as it goes; ``False`` where people have to act first."""
    try:
        _state(iteration, "DETECTING", detect.STEP)
        detect.stage(bench, loop, iteration)
        _state(iteration, "REVIEWING", pull.STEP)
        push.stage(bench, loop, iteration)
        if pull.stage(bench, loop, iteration) is None:
            return False
        _state(iteration, "DATA_READY", train.STEP)
        _state(iteration, "TRAINING", train.STEP)
        train.stage(bench, loop, iteration)
        _state(iteration, "TRAINED", evaluate.STEP)
        _state(iteration, "EVALUATING", report.STEP)
        evaluate.stage(bench, loop, iteration)
        decision = promote.stage(bench, loop, iteration).result
        report.stage(bench, loop, iteration)
    except TsadError as error:
        iteration.fail(str(error))  # a later call goes on from the step that failed
        raise
    iteration.complete(_summary(iteration))
    verdict = "promoted" if decision["promoted"] else "champion kept"
    say(f"iteration {iteration.number}: {verdict}: {decision['reason']}")
    return True


def _state(iteration: Iteration, state: str, step: str) -> None:
    """Say where the iteration is, unless the step that ends this state has finished already."""
    if iteration.state != state and iteration.finished(step) is None:
        iteration.set_state(state)


def _summary(iteration: Iteration) -> dict[str, float]:
    """The figures of a completed iteration, as metrics of its run."""
    dataset, decision = finished(iteration, pull.STEP).result, finished(iteration, promote.STEP).result
    scores = finished(iteration, evaluate.STEP).result["scores"]
    figures = {"reviewed_windows": float(dataset["windows"]), "promoted": float(decision["promoted"])}
    figures["seconds"] = report.seconds(iteration)
    figures |= {f"reviews.{state.lower()}": float(count) for state, count in dataset["states"].items()}
    figures |= {f"gold.{key}": value for key, value in decision["scores"].items()}
    if "challenger" in scores:
        figures |= {f"challenger.{key}": value for key, value in scores["challenger"].items()}
    return figures


def _outages(loop: LoopStore, done: Collection[int]) -> None:
    """Iterations, apart from those done before, that ran on the cache because their source was gone."""
    for iteration in [i for i in loop.iterations() if i.number not in done]:
        for name, keys in ((detect.STEP, ("outage", "not_written_back")), (pull.STEP, ("outage",))):
            record = iteration.finished(name)
            for key in keys if record is not None else ():
                if record is not None and record.result.get(key):
                    say(f"iteration {iteration.number}: {record.result[key]}")


def _report(bench: Workbench, loop: LoopStore, done: Collection[int]) -> None:
    """The table at the end: one row per iteration, then where it stands."""
    rows = report.iteration_rows(loop)
    show(rows, f"loop {loop.name}")
    _outages(loop, done)
    waiting = loop.open_iteration()
    if waiting is not None and waiting.state == "REVIEWING":
        say(f"iteration {waiting.number} waits for reviews at {bench.make_reviewer().project_url}")
        say("run tsad iterate again when they are done")
    elif _ended(bench, loop):
        say(f"the loop has reached its end (loop.iterations={bench.loop.iterations}); go on with a larger one")
    if _completed(loop):
        say("compare the iterations: tsad ui")
