"""Whether a loop is to begin its next turn by itself, and why not yet: the conditions of ``watch``, looked up anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.agreement.measures import agreement_of
from tsad.config.workbench import Workbench
from tsad.core.durations import format_duration, parse_duration
from tsad.core.results import Result
from tsad.core.reviews import Choice, Purpose, ReviewedWindow
from tsad.loop.detect import DETECT
from tsad.loop.iteration import COMPLETED, EXHAUSTED
from tsad.loop.progress import judged, missing_blind, needed
from tsad.loop.pull import DATASET
from tsad.loop.push import PUSH
from tsad.loop.reading import source_state
from tsad.loop.runner import finished
from tsad.review.figures import acceptance_of, judgements_of

if TYPE_CHECKING:
    from tsad.review.base import Reviewer
    from tsad.tracking.runs import Iteration, LoopStore

NS_PER_MS = 1_000_000


@dataclass(frozen=True, eq=False)
class Condition(Result):
    """One condition of the next turn.

    Attributes:
        name: in words. met: whether it holds. text: how it stands.
        people: whether people's answers are what is missing.
    """

    name: str
    met: bool
    text: str
    people: bool = False


@dataclass(frozen=True, eq=False)
class Readiness(Result):
    """Whether a loop's next turn is to begin.

    Attributes:
        iteration: the open one; ``None`` = there is none. state: its state, "" without one.
        ready: whether to begin. why: in a sentence.
        conditions: those that were looked at; none where nothing has to be waited for.
        enough: windows to learn from that are enough for it; ``None`` = as ``review.min_reviewed`` has it.
        ended: the loop has reached its end: nothing is to be begun any more.
        source_state: of what the source holds now, where that counts; else "".
    """

    loop: str
    iteration: int | None
    state: str
    ready: bool
    why: str
    conditions: tuple[Condition, ...] = ()
    enough: int | None = None
    ended: bool = False
    source_state: str = ""

    @property
    def people_have_to_act(self) -> bool:
        """Whether answers are missing."""
        return not self.ready and any(c.people and not c.met for c in self.conditions)


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a loop's readiness is told from.

    Attributes:
        bench: under the config of the loop's newest iteration. iteration: the open one.
        queue_of: the queue of an iteration that has drawn one.
        settles: whether people who disagree are asked again on this occasion.
        tried: a state of the source that gave nothing new to review.
    """

    bench: Workbench
    loop: LoopStore
    iteration: Iteration | None
    queue_of: Callable[[Iteration], Sequence[Choice]]
    settles: bool = False
    tried: str = ""

    def readiness(self) -> Readiness:
        """Whether to go on now.

        Raises:
            TsadError: Label Studio, the store or the source cannot be asked.
        """
        iteration = self.iteration
        if iteration is None:
            return self._verdict((self._pause(),), "the next iteration begins")
        detected = finished(iteration, DETECT)
        if iteration.state == EXHAUSTED:
            return self._exhausted()
        pushed = detected is not None and finished(iteration, PUSH) is not None
        if not pushed or finished(iteration, DATASET) is not None or not self.bench.reviewer.people:
            return self._verdict((), f"goes on where it stopped ({iteration.state})")
        return self._answered(iteration)

    def _answered(self, iteration: Iteration) -> Readiness:
        """Of an iteration whose queue lies with people."""
        watch, reviewer = self.bench.watch, self.bench.make_reviewer()
        reviewed = reviewer.pull(self.queue_of(iteration))
        if self.settles:
            reviewer.settle(reviewed)
        least = watch.windows or self.bench.review.min_reviewed
        done, wanted, blind = judged(reviewed), needed(reviewed, least), missing_blind(reviewed)
        fallen = self._fallen(iteration, reviewer, reviewed)
        early = fallen is not None and fallen.met and done > 0
        answers = Condition("windows judged", done >= wanted or early, f"{done} of {wanted}", people=True)
        gold = Condition("blind windows judged", blind == 0, f"{blind} wait" if blind else "all", people=True)
        conditions = [answers, *([fallen] if fallen else []), gold, self._pause()]
        if watch.agreement:
            conditions.append(self._agreement(reviewed))
        state = source_state(self.bench.make_source()) if watch.new_data else ""
        if watch.new_data:
            conditions.append(_new_data(state, iteration))
        required = [c for c in conditions if c is not fallen]
        enough = done if early and done < wanted else least
        return self._verdict(conditions, f"{done} windows are judged", required, enough=enough, source_state=state)

    def _exhausted(self) -> Readiness:
        """Of an iteration that has found nothing to review: only other data can change that."""
        state = source_state(self.bench.make_source())
        last = next((it for it in reversed(self.loop.iterations()) if it.finished(DETECT.name) is not None), None)
        condition = _new_data(state, last)
        if state == self.tried and state:
            condition = Condition(condition.name, False, "the source has changed since, but holds nothing to review")
        return self._verdict((condition, self._pause()), "the source has new data", source_state=state)

    def _verdict(
        self, conditions: Sequence[Condition], why: str, required: Sequence[Condition] | None = None,
        enough: int | None = None, source_state: str = "",
    ) -> Readiness:
        missing = [c for c in (conditions if required is None else required) if not c.met]
        return Readiness(
            loop=self.loop.name, iteration=self.iteration.number if self.iteration else None,
            state=self.iteration.state if self.iteration else "", ready=not missing,
            why=why if not missing else "; ".join(f"{c.name}: {c.text}" for c in missing),
            conditions=tuple(conditions), enough=enough, source_state=source_state,
        )  # fmt: skip

    def _pause(self) -> Condition:
        """How long ago the last turn ended."""
        pause = parse_duration(self.bench.watch.pause) if self.bench.watch.pause else 0
        ends = [it.ended for it in self.loop.iterations() if it.state == COMPLETED and it.ended]
        if not pause or not ends:
            return Condition("pause since the last turn", True, "none is asked for" if not pause else "it is the first")
        left = max(ends) * NS_PER_MS + pause - time.time_ns()
        text = f"{math.ceil(left / 10**9)} s are left of {format_duration(pause)}" if left > 0 else "over"
        return Condition("pause since the last turn", left <= 0, text)

    def _agreement(self, reviewed: Sequence[ReviewedWindow]) -> Condition:
        """How far people agree on the windows of this queue that two or more of them judged."""
        least, figures = self.bench.watch.agreement, agreement_of(judgements_of(reviewed)).overall
        if not figures.windows:
            return Condition("agreement of people", False, "no window was judged by two (review.overlap)", people=True)
        reached = 1.0 if math.isnan(figures.interval_f1) else figures.interval_f1  # nobody marks anything: all agree
        text = f"{reached:.2f} of at least {least:.2f} on {figures.windows} windows"
        return Condition("agreement of people", reached >= least, text, people=True)

    def _fallen(
        self, iteration: Iteration, reviewer: Reviewer, reviewed: Sequence[ReviewedWindow]
    ) -> Condition | None:
        """Whether people accept fewer of the champion's proposals than in the turn before; ``None`` = not asked for."""
        watch = self.bench.watch
        if not watch.acceptance_fall:
            return None
        earlier = [it for it in self.loop.iterations() if it.number < iteration.number and it.state == COMPLETED]
        now = _accepted(reviewed)
        before = _accepted(reviewer.look(self.queue_of(earlier[-1]))) if earlier else (0, 0)
        name = "acceptance has fallen"
        if min(now[1], before[1]) < watch.judged:
            text = f"{now[1]} proposals judged, {before[1]} in the turn before; {watch.judged} are needed of each"
            return Condition(name, False, text)
        fall = before[0] / before[1] - now[0] / now[1]
        text = f"{now[0] / now[1]:.2f} are accepted, {before[0] / before[1]:.2f} in the turn before"
        return Condition(name, fall >= watch.acceptance_fall, text)


def _accepted(reviewed: Sequence[ReviewedWindow]) -> tuple[int, int]:
    """Of the champion's proposals: accepted, judged."""
    queue = [r for r in reviewed if r.choice.purpose is Purpose.TRAIN]
    champions = {r.choice.origin.model_version for r in queue if r.choice.origin is not None}
    rows = [row for row in acceptance_of(queue) if row.version in champions]
    return sum(row.accepted for row in rows), sum(row.proposed for row in rows)


def _new_data(state: str, since: Iteration | None) -> Condition:
    """Whether the source holds other data than when that iteration drew its queue."""
    detected = finished(since, DETECT) if since is not None else None
    then = detected.source_state if detected is not None else ""
    if not state:
        return Condition("new data", False, "the source cannot be asked")
    if not then:
        return Condition("new data", True, "not known what the source held before: it counts as new")
    return Condition("new data", state != then, "the source has changed" if state != then else "none yet")
