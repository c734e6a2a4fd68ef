"""A loop that begins its turns by itself: a look now and then, sooner after a hint, and a turn when it is ready.

Nothing is remembered that matters: what is open and what people answered is looked up each time, so a watcher that is
killed anywhere is simply started again, and two watchers begin one turn. A store, a Label Studio or a source that is
away is asked again later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.control import Silent, StopRequested
from tsad.core.errors import ClaimError, ConfigError, LoopError, MissingPackageError, TsadError
from tsad.core.results import Result
from tsad.core.reviews import Choice
from tsad.loop.continuing import refuse_another_config, under_own_config
from tsad.loop.detect import DETECT
from tsad.loop.hearing import heard
from tsad.loop.hints import Hints
from tsad.loop.iteration import LoopState, Terms, has_ended, iterate_where, loop_of
from tsad.loop.opening import open_loop
from tsad.loop.push import PUSH
from tsad.loop.queue import queue_of
from tsad.loop.readiness import Outlook, Readiness
from tsad.loop.runner import record_of

if TYPE_CHECKING:
    from tsad.review.base import Reviewer
    from tsad.tracking.runs import Iteration, LoopStore

POLL = 0.25  # seconds between two looks at whether to stop, and whether there was a hint
SETTLE = 1.0  # seconds after a hint: people who submit one task after the other give one look, not one each
LONGEST = 600.0  # seconds between two attempts, whatever is away
FATAL = (ConfigError, LoopError, MissingPackageError)  # at the first look: waiting mends none of them


@dataclass(frozen=True, eq=False)
class WatchDone(Result):
    """What became of a loop while it was watched.

    Attributes:
        completed: numbers of the iterations that this watcher completed.
        readiness: at the last look; ``None`` = there was none.
    """

    loop: str
    completed: tuple[int, ...]
    readiness: Readiness | None


def named_for_watching(bench: Workbench) -> Workbench:
    """The workbench of the loop that these words are about, by its name from here on; a loop that has ended stays so.

    Raises:
        LoopError: several loops are open and none is named.
    """
    once = replace(bench, loop=bench.loop.model_copy(update={"fresh": False}))
    name = loop_of(once)
    return replace(once.named(name), overrides=tuple(dict.fromkeys((*once.overrides, f"loop.name={name}"))))


def readiness_of(bench: Workbench) -> Readiness:
    """Whether the loop's next turn would begin now, and why not yet; nothing is changed anywhere.

    Raises:
        LoopError: several loops are open and none is named, or what was typed differs from the config the loop has.
        TsadError: Label Studio, the store or the source cannot be asked.
    """
    return _Looks(named_for_watching(bench)).look()


def watch(bench: Workbench) -> WatchDone:
    """Begin the loop's turns when they are ready, until the loop reaches its end or the call is asked to stop.

    Raises:
        TsadError: at the first look: what no waiting mends (config, several loops open, a package missing).
    """
    asked = named_for_watching(bench)
    with heard(asked) as hook:
        return _Watcher(asked, _Looks(asked, hook)).run()


@dataclass(eq=False)
class _Looks:
    """Looks at one loop; the queue of an iteration, which never changes, is read once.

    Attributes:
        hook: called with the reviewer of an iteration whose queue lies with people, once for each; see :func:`heard`.
        tried: a state of the source that gave nothing new to review.
    """

    asked: Workbench
    hook: Callable[[Reviewer], None] | None = None
    tried: str = ""
    _queues: dict[str, Sequence[Choice]] = field(default_factory=dict)
    _hooked: set[str] = field(default_factory=set)
    _looked: bool = False  # whether a look has gone through: what fails later is told, and no reason to end

    def look(self, settles: bool = False) -> Readiness:
        """How the loop stands now."""
        loop = open_loop(self.asked)
        newest = loop.open_iteration() or next(reversed(loop.iterations()), None)
        if newest is not None:
            refuse_another_config(self.asked, newest)
        bench = under_own_config(self.asked, newest, False)
        standing = self.of(bench, loop, newest if newest is not None and newest.open else None, settles)
        self._looked = True
        return standing

    def of(self, bench: Workbench, loop: LoopStore, iteration: Iteration | None, settles: bool = False) -> Readiness:
        """The same of an iteration that is known already."""
        if iteration is None and has_ended(bench, loop):
            return Readiness(loop.name, None, "", False, "the loop has reached its end", ended=True)
        if settles and iteration is not None:
            self._hook(bench, iteration)
        # Nobody is told of a look as such: there are thousands a day.
        own = replace(bench, watch=self.asked.watch, context=replace(bench.context, progress=Silent()))
        return Outlook(own, loop, iteration, lambda it: self._queue(own, it), settles, self.tried).readiness()

    def _hook(self, bench: Workbench, iteration: Iteration) -> None:
        """Have hints sent, once for each queue that lies with people."""
        pushed = bench.reviewer.people and iteration.finished(PUSH.name) is not None
        if self.hook is not None and pushed and iteration.run_id not in self._hooked:
            self._hooked.add(iteration.run_id)
            try:
                self.hook(bench.make_reviewer())
            except ConfigError as error:  # what no waiting mends: a shared server that refuses to call
                if not self._looked:
                    raise
                bench.context.progress.note(f"nobody tells of answers, so they are looked for: {error}")

    def _queue(self, bench: Workbench, iteration: Iteration) -> Sequence[Choice]:
        if iteration.run_id not in self._queues:
            while len(self._queues) > 1:  # the open iteration's and the one before it
                self._queues.pop(next(iter(self._queues)))
            self._queues[iteration.run_id] = queue_of(bench, record_of(iteration, DETECT))
        return self._queues[iteration.run_id]


@dataclass(eq=False)
class _Watcher:
    """One watch of one loop."""

    asked: Workbench
    looks: _Looks
    _completed: list[int] = field(default_factory=list)
    _last: Readiness | None = None
    _told: str = ""
    _failures: int = 0
    _spent: float = 0.0  # seconds that the last look took

    def run(self) -> WatchDone:
        """Look, go on where it is ready, wait; until the end."""
        hints = Hints(self.asked.home, self.asked.loop.name)
        try:
            while True:
                mark = hints.mark()
                if self._turn():
                    break
                self._wait(hints, mark)
        except StopRequested:
            self._tell("asked to stop")
        return WatchDone(self.asked.loop.name, tuple(self._completed), self._last)

    def _turn(self) -> bool:
        """One look and, where it is ready, one turn; whether the loop has reached its end."""
        self.asked.context.control.safe_point()
        begun = time.monotonic()
        try:
            self._last = self.looks.look(settles=True)
            self._spent = time.monotonic() - begun
            if self._last.ready:
                self._note(iterate_where(self.asked, self._terms))
            self._failures = 0
            self._tell(self._last.why if self._last.ended else f"not yet: {self._last.why}")
            return self._last.ended
        except ClaimError as error:  # another watcher, or somebody at a terminal, goes on with the loop
            self._tell(str(error))
        except TsadError as error:
            if self._last is None and isinstance(error, FATAL):
                raise
            self._failures += 1
            self._tell(f"{error} (tried again in {self._delay():.0f} s)")
        return False

    def _terms(self, bench: Workbench, loop: LoopStore, iteration: Iteration | None) -> Terms | None:
        """Under the loop's lock once more: another watcher may have been faster."""
        self._last = self.looks.of(bench, loop, iteration)
        if not self._last.ready:
            return None
        at = "" if iteration is None else f" iteration {iteration.number}"
        self._tell(f"begins:{at} {self._last.why}")
        return Terms(self._last.enough, self._completed.append)

    def _note(self, state: LoopState | None) -> None:
        """What the turn has led to."""
        if state is None:
            return
        if state.exhausted and self._last is not None:
            self.looks.tried = self._last.source_state
        self._last = self.looks.look()

    def _tell(self, text: str) -> None:
        """One line for whoever watches, where it is another than the last."""
        if text != self._told:
            self.asked.context.progress.note(f"loop {self.asked.loop.name}: {text}")
            self._told = text

    def _delay(self) -> float:
        """Seconds until the next look; longer with every failure in a row."""
        seconds = self.asked.watch.poll_seconds
        return float(min(seconds * 2 ** min(self._failures, 20), max(LONGEST, seconds)))

    def _wait(self, hints: Hints, mark: int) -> None:
        """Until the next look is due, or shortly after a hint.

        None shortens the wait after a failure, and whoever sends many has at most half of the time spent on looking.
        """
        until, heard = time.monotonic() + self._delay(), False
        while (left := until - time.monotonic()) > 0:
            self.asked.context.control.safe_point()
            time.sleep(min(POLL, left))
            if not heard and not self._failures and hints.mark() != mark:
                heard, until = True, min(until, time.monotonic() + max(SETTLE, self._spent))
