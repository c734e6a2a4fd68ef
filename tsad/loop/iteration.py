"""What an iteration does next, and how it resumes.

    CREATED -> DETECTING -> REVIEWING -> DATA_READY -> TRAINING -> TRAINED -> EVALUATING -> COMPLETED
                         -> EXHAUSTED

An error makes it FAILED, with the reason; the next call goes on from the stage that failed. EXHAUSTED is an iteration
that has no window left to be reviewed; it waits for more series, and the next call looks for them.
Every stage is looked up before it is run, so a resumed iteration walks the same path and does only
what is not done. Nothing here is remembered outside MLflow and Label Studio.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tsad.config.destinations import remember_destinations
from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError, TsadError
from tsad.core.results import Result
from tsad.loop.carried import carried_over
from tsad.loop.continuing import how_to_go_on, refuse_another_config, under_own_config
from tsad.loop.detect import DETECT
from tsad.loop.evaluate import EVALUATE
from tsad.loop.explain import EvidenceGap, LearningGap
from tsad.loop.gaps import gaps
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET, collect, undecided_in
from tsad.loop.push import PUSH
from tsad.loop.report import REPORT, IterationDone, iterations_done
from tsad.loop.runner import Stage, Turn, finished, result_of, run
from tsad.loop.story import close, draw_history
from tsad.loop.train import REGISTER, TRAIN
from tsad.tracking.runs import LoopStore

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration
    from tsad.tracking.store import Store

COMPLETED, REVIEWING, EXHAUSTED = "COMPLETED", "REVIEWING", "EXHAUSTED"


@dataclass(frozen=True, eq=False)
class Waiting(Result):
    """An iteration that waits for people, and where they review."""

    iteration: int
    url: str


@dataclass(frozen=True, eq=False)
class Outage(Result):
    """That an iteration of this call did without its source, in words."""

    iteration: int
    text: str


@dataclass(frozen=True, eq=False)
class LoopState(Result):
    """Where a loop stands after ``tsad iterate``.

    Attributes:
        iterations: the completed ones, of this call and before.
        outages: of this call.
        waiting: ``None`` where nobody has to review.
        ended: whether ``limit`` iterations are done or the champion is good enough.
        score: the champion's gate metric on the gold set; ``None`` before an iteration is completed.
        exhausted: whether every window of the source is reviewed.
        learning, evidence: what the newest completed iteration lacked to train an adapter, and to promote a challenger.
    """

    loop: str
    iterations: tuple[IterationDone, ...]
    outages: tuple[Outage, ...]
    waiting: Waiting | None
    ended: bool
    limit: int
    score: float | None
    exhausted: bool = False
    learning: LearningGap | None = None
    evidence: EvidenceGap | None = None

    @property
    def optimised(self) -> float | None:
        """The champion's gate metric."""
        return self.score

    @property
    def people_have_to_act(self) -> bool:
        """Whether reviews are missing."""
        return self.waiting is not None


@dataclass(frozen=True)
class Terms:
    """On which a loop goes on without anybody who calls for it.

    Attributes:
        enough: windows to learn from of the open queue that have to be judged; ``None`` = ``review.min_reviewed``.
        completed: told the number of every iteration that is completed, at once: what follows it may fail.
    """

    enough: int | None = None
    completed: Callable[[int], None] | None = None

    def of(self, bench: Workbench) -> Workbench:
        """The workbench under them; whoever decides when to go on waits outside, not under the loop's lock."""
        least = bench.review.min_reviewed if self.enough is None else self.enough
        return replace(bench, review=bench.review.model_copy(update={"wait": False, "min_reviewed": least}))


Agree = Callable[[Workbench, LoopStore, "Iteration | None"], Terms | None]


def iterate(bench: Workbench, new: bool = False) -> LoopState:
    """Go on with the open iteration, or begin one, until people have to act or the loop reaches its end.

    Args:
        new: close an open iteration as abandoned and begin one with what was typed over the loop's config.

    Raises:
        LoopError: several loops are open and none is named, or what was typed differs from the config the loop has.
        ClaimError: another process works on this loop.
        StopRequested: it was asked to stop; what is finished is kept.
    """
    state = _iterated(bench, new, None)
    assert state is not None
    return state


def iterate_where(bench: Workbench, agree: Agree) -> LoopState | None:
    """As :func:`iterate`, where ``agree`` says so of the open iteration (``None`` = there is none); else ``None``.

    It is asked under the loop's lock: of several callers that find a loop ready one goes on, and the next one is asked
    about what that one left.

    Raises:
        TsadError: as :func:`iterate`.
    """
    return _iterated(bench, False, agree)


def loop_of(bench: Workbench) -> str:
    """Name of the loop that a call of :func:`iterate` with these words is about.

    Raises:
        LoopError: several loops are open and none is named.
    """
    from tsad.tracking.store import open_store

    return _chosen(open_store(bench.tracking, bench.home), bench)[0].loop.name


def _iterated(bench: Workbench, new: bool, agree: Agree | None) -> LoopState | None:
    from tsad.tracking.store import open_store

    store = open_store(bench.tracking, bench.home)
    asked = bench
    bench, newest = _chosen(store, asked)
    bench = under_own_config(bench, newest, new)
    loop = LoopStore(store, bench.loop.name, bench.loop.lease)
    _check(asked, bench, loop, newest, new)
    done = {i.number for i in loop.iterations() if not i.open}
    with _resumable(asked, loop), loop.lock() as held:
        draw_history(held)  # of a loop of before, or killed between an iteration's end and its point
        iteration, first = _taken_up(asked, bench, held, new), bench
        completed = None
        if agree is not None:
            terms = agree(bench, held, iteration)
            if terms is None:
                return None
            first, bench, completed = terms.of(bench), Terms().of(bench), terms.completed
        while iteration is not None or not has_ended(bench, held):
            bench.context.control.safe_point()
            iteration = iteration or _begin(bench, held)
            turn = Turn(first, held, iteration, partial(undecided_in, held), partial(carried_over, first, held))
            if not _advance(turn):
                break
            if completed is not None and iteration.state == COMPLETED:
                completed(iteration.number)
            iteration, first = None, bench
    return _state(bench, loop, done)


def _check(asked: Workbench, bench: Workbench, loop: LoopStore, newest: Iteration | None, new: bool) -> None:
    """Refuse what cannot be done before long work begins, and before anything is frozen or given up."""
    open_one = newest if newest is not None and newest.open and not new else None
    ended = open_one is None and has_ended(bench, loop)
    if newest is not None and (ended or not new):
        refuse_another_config(asked, newest)
    if ended and new:
        raise LoopError(
            f"loop {loop.name} has reached its end (loop.iterations={bench.loop.iterations}): new=true begins nothing",
            "Raise loop.iterations, or take another loop.name.",
        )
    if not ended:
        bench.build_once(reads=open_one is None or finished(open_one, DETECT) is None)


def _taken_up(asked: Workbench, bench: Workbench, loop: LoopStore, new: bool) -> Iteration | None:
    """The open iteration, unless it is given up; says what goes on where nobody has typed it."""
    iteration, note = loop.open_iteration(), bench.context.progress.note
    if iteration is not None and new:
        iteration.abandon("new=true")
        note(f"iteration {iteration.number} of loop {loop.name} is given up (new=true)")
        return None
    if iteration is not None and not asked.overrides:
        note(f"going on with loop {loop.name}, iteration {iteration.number} ({iteration.state})")
    if iteration is None and not new and not has_ended(bench, loop) and (done := loop.iterations()):
        note(f"loop {loop.name} goes on under the config of iteration {done[-1].number}")
    return iteration


@contextmanager
def _resumable(asked: Workbench, loop: LoopStore) -> Iterator[None]:
    """What is interrupted says how to go on: by the loop's name alone once an iteration holds the config."""
    try:
        yield
    except KeyboardInterrupt as error:
        with suppress(TsadError):
            if loop.open_iteration() is not None:
                error.add_note(f"Go on with: {how_to_go_on(asked, loop.name)}")
        raise


def _advance(turn: Turn) -> bool:
    """Take the iteration as far as it goes; ``False`` where people have to act first or nothing is left to review."""
    note = turn.bench.context.progress.note
    try:
        _enter(turn, "DETECTING", until=DETECT)
        detected = run(turn, DETECT)
        if detected is None:
            turn.iteration.set_state(EXHAUSTED, "every window has been answered; more series go on")
            return False
        if not detected.queued and not detected.gold_queued:  # an older tsad drew an empty queue and failed over it
            turn.iteration.abandon("nothing was left to review")
            return True
        _enter(turn, REVIEWING, until=DATASET)
        if finished(turn.iteration, PUSH) is None:
            note(f"iteration {turn.iteration.number} to review: {detected.split}")
        run(turn, PUSH)
        collected = collect(turn)
        if collected is None:
            return False
        note(f"iteration {turn.iteration.number} reviewed: {collected.learned_from}")
        _enter(turn, "DATA_READY", until=TRAIN)
        _enter(turn, "TRAINING", until=TRAIN)
        run(turn, TRAIN)
        _enter(turn, "TRAINED", until=EVALUATE)
        run(turn, REGISTER)
        _enter(turn, "EVALUATING", until=REPORT)
        run(turn, EVALUATE)
        run(turn, PROMOTE)
        run(turn, REPORT)
    except TsadError as error:
        turn.iteration.fail(str(error))  # a later call goes on from the stage that failed
        raise
    close(turn)
    note(f"iteration {turn.iteration.number}: {result_of(turn.iteration, PROMOTE).verdict()}")
    return True


def _enter(turn: Turn, state: str, until: Stage[Any]) -> None:
    """Say where the iteration is, unless the stage that ends this state has finished already."""
    if finished(turn.iteration, until) is None:
        turn.iteration.set_state(state)


def _begin(bench: Workbench, loop: LoopStore) -> Iteration:
    number = max((i.number for i in loop.iterations()), default=0) + 1
    bench.context.progress.note(f"loop {loop.name}: iteration {number}")
    remember_destinations(bench.config_yaml)
    return loop.create_iteration(number, bench.config_yaml, bench.parameters())


# --- which loop, and which of its iterations ----------------------------------------------------------------


def _chosen(store: Store, asked: Workbench) -> tuple[Workbench, Iteration | None]:
    """The loop that this call is about, as a name on the workbench, and its newest iteration (the open one first).

    Raises:
        LoopError: several loops are open and none is named.
    """
    name = asked.loop.name
    if not asked.overrides:
        loops = [LoopStore(store, name, asked.loop.lease) for name in store.loops()]
        open_ones = {loop.name: it for loop in loops if (it := loop.open_iteration()) is not None}
        begun = {name: it for name, it in open_ones.items() if not _exhausted(it)} or open_ones
        if len(begun) > 1:
            lines = ", ".join(f"{name} (iteration {it.number}, {it.state})" for name, it in begun.items())
            raise LoopError(f"several loops have an open iteration: {lines}", "Say which: tsad iterate loop.name=NAME.")
        name = next(iter(begun), name)
    if asked.loop.fresh and name == asked.loop.name:
        name = _fresh_name(store, asked)
    loop = LoopStore(store, name, asked.loop.lease)
    return asked.named(name), loop.open_iteration() or next(reversed(loop.iterations()), None)


def _fresh_name(store: Store, bench: Workbench) -> str:
    """The loop's name, or NAME-2, NAME-3, ... where those before have reached their end."""
    names = set(store.loops())
    name, number = bench.loop.name, 1
    while name in names:
        loop = LoopStore(store, name, bench.loop.lease)
        begun = loop.open_iteration()
        if not _exhausted(begun) and (begun is not None or not has_ended(bench, loop)):
            break
        number += 1
        name = f"{bench.loop.name}-{number}"
    return name


def _exhausted(iteration: Iteration | None) -> bool:
    """Whether it is open and only waits for more series."""
    return iteration is not None and iteration.state == EXHAUSTED


def _completed(loop: LoopStore) -> list[Iteration]:
    return [i for i in loop.iterations() if i.state == COMPLETED]


def has_ended(bench: Workbench, loop: LoopStore) -> bool:
    """Whether ``loop.iterations`` are done or the champion has reached ``loop.until_f1``."""
    done = _completed(loop)
    if len(done) >= bench.loop.iterations:
        return True
    if not done or bench.loop.until_f1 <= 0:
        return False
    reached = result_of(done[-1], PROMOTE).scores.get(bench.gold.metric, 0.0)
    return reached >= bench.loop.until_f1


# --- where it stands in the end -------------------------------------------------------------------------------


def _state(bench: Workbench, loop: LoopStore, done: Collection[int]) -> LoopState:
    """The loop after this call; iterations ``done`` before it have had their outages told."""
    completed, waiting = _completed(loop), loop.open_iteration()
    people = None
    if waiting is not None and waiting.state == REVIEWING:
        people = Waiting(waiting.number, bench.make_reviewer().project_url)
    learning, evidence = gaps(bench, loop, completed[-1]) if completed else (None, None)
    return LoopState(
        loop=loop.name, iterations=iterations_done(loop), outages=tuple(_outages(loop, done)), waiting=people,
        ended=has_ended(bench, loop), limit=bench.loop.iterations,
        score=result_of(completed[-1], PROMOTE).scores.get(bench.gold.metric) if completed else None,
        exhausted=_exhausted(waiting), learning=learning, evidence=evidence,
    )


def _outages(loop: LoopStore, done: Collection[int]) -> Iterator[Outage]:
    """Iterations, apart from those done before, that ran on the cache because their source was gone."""
    for iteration in [i for i in loop.iterations() if i.number not in done]:
        detected, collected = finished(iteration, DETECT), finished(iteration, DATASET)
        texts = [detected.outage, detected.not_written_back, *detected.left_out] if detected else []
        texts += [collected.outage] if collected else []
        yield from (Outage(iteration.number, text) for text in texts if text)
