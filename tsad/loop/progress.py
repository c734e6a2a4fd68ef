"""How far people are with a queue, and how many more answers the loop waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tsad.core.results import Result
from tsad.core.reviews import Purpose, ReviewedWindow, ReviewState


@dataclass(frozen=True, eq=False)
class ReviewProgress(Result):
    """Windows of a queue by ``ReviewState``: those to learn from, and the blind ones that score the model."""

    queue: Mapping[str, int]
    gold: Mapping[str, int]

    @property
    def waiting(self) -> int:
        """Windows of either kind that nobody has answered."""
        return sum(states.get(ReviewState.PENDING.value, 0) for states in (self.queue, self.gold))

    def __str__(self) -> str:
        queue, gold = (f"{sum(s.values())}{{}}: {_counts(s)}" for s in (self.queue, self.gold))
        parts = [queue.format(" windows with proposals")] if sum(self.queue.values()) else []
        parts += [gold.format(" blind ones")] if sum(self.gold.values()) else []
        return "; ".join(parts) or "no windows"


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{states[s.value]} {s.value.lower()}" for s in ReviewState if states.get(s.value))


def progress_of(reviewed: Sequence[ReviewedWindow]) -> ReviewProgress:
    """How many windows wait and how the others were answered."""
    queue, gold = ([r for r in reviewed if r.choice.purpose == p] for p in (Purpose.TRAIN, Purpose.GOLD))
    return ReviewProgress(_states(queue), _states(gold))


def _states(reviewed: Sequence[ReviewedWindow]) -> dict[str, int]:
    states = Counter(r.state.value for r in reviewed)
    return {s.value: states[s.value] for s in ReviewState}


def missing(reviewed: Sequence[ReviewedWindow], min_reviewed: int) -> int:
    """How many more windows have to be judged before the loop goes on: all gold ones, enough of the others.

    A skipped window is neither waited for nor counted; but of gold windows at least one has to be judged.

    Args:
        min_reviewed: of the windows to learn from; 0 = all.
    """
    gold = [r for r in reviewed if r.choice.purpose == Purpose.GOLD]
    queue = [r for r in reviewed if r.choice.purpose == Purpose.TRAIN and r.state != ReviewState.SKIPPED]
    judged = sum(r.state != ReviewState.PENDING for r in queue)
    waiting = sum(r.state == ReviewState.PENDING for r in gold)
    if gold and not any(r.usable for r in gold):
        waiting = max(waiting, 1)
    return waiting + max(0, min(len(queue), min_reviewed or len(queue)) - judged)
