"""How far people are with a queue, and how many more answers the loop waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tsad.core.results import Result
from tsad.core.reviews import Purpose, ReviewedWindow, ReviewState


@dataclass(frozen=True, eq=False)
class ReviewProgress(Result):
    """Windows of a queue by ``ReviewState``: those to learn from, and the blind ones that score the model.

    Attributes:
        half: of those pending, windows for two people that one of them has answered.
    """

    queue: Mapping[str, int]
    gold: Mapping[str, int]
    half: int = 0

    @property
    def conflicts(self) -> int:
        """Windows of either kind that people disagree about."""
        return self._count(ReviewState.CONFLICT)

    @property
    def waiting(self) -> int:
        """Windows of either kind that people have to look at: not answered, or in conflict."""
        return self._count(ReviewState.PENDING) + self.conflicts

    def _count(self, state: ReviewState) -> int:
        return sum(states.get(state.value, 0) for states in (self.queue, self.gold))

    def __str__(self) -> str:
        queue, gold = (f"{sum(s.values())}{{}}: {_counts(s)}" for s in (self.queue, self.gold))
        parts = [queue.format(" windows with proposals")] if sum(self.queue.values()) else []
        parts += [gold.format(" blind ones")] if sum(self.gold.values()) else []
        parts += [f"{self.half} of those pending wait for a second answer"] if self.half else []
        return "; ".join(parts) or "no windows"


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{states[s.value]} {s.value.lower()}" for s in ReviewState if states.get(s.value))


def progress_of(reviewed: Sequence[ReviewedWindow]) -> ReviewProgress:
    """How many windows wait and how the others were answered."""
    queue, gold = ([r for r in reviewed if r.choice.purpose == p] for p in (Purpose.TRAIN, Purpose.GOLD))
    half = sum(r.state == ReviewState.PENDING and bool(r.annotations) for r in reviewed)
    return ReviewProgress(_states(queue), _states(gold), half)


def _states(reviewed: Sequence[ReviewedWindow]) -> dict[str, int]:
    states = Counter(r.state.value for r in reviewed)
    return {s.value: states[s.value] for s in ReviewState}


def missing(reviewed: Sequence[ReviewedWindow], min_reviewed: int) -> int:
    """How many more windows have to be judged before the loop goes on: all gold ones, enough of the others.

    A skipped window is neither waited for nor counted; but of gold windows at least one has to be judged. A window that
    people disagree about is waited for: it has no truth yet.

    Args:
        min_reviewed: of the windows to learn from; 0 = all.
    """
    return missing_blind(reviewed) + max(0, needed(reviewed, min_reviewed) - judged(reviewed))


def missing_blind(reviewed: Sequence[ReviewedWindow]) -> int:
    """How many gold windows wait still; at least one of them has to be judged."""
    gold = [r for r in reviewed if r.choice.purpose == Purpose.GOLD]
    waiting = sum(r.state.waits for r in gold)
    return max(waiting, 1) if gold and not any(r.usable for r in gold) else waiting


def judged(reviewed: Sequence[ReviewedWindow]) -> int:
    """Windows to learn from that have a truth."""
    return sum(not r.state.waits for r in _to_learn_from(reviewed))


def needed(reviewed: Sequence[ReviewedWindow], min_reviewed: int) -> int:
    """Windows to learn from that have to be judged: so many, or all that nobody skips (0, or fewer than that)."""
    queue = len(_to_learn_from(reviewed))
    return min(queue, min_reviewed or queue)


def _to_learn_from(reviewed: Sequence[ReviewedWindow]) -> list[ReviewedWindow]:
    return [r for r in reviewed if r.choice.purpose == Purpose.TRAIN and r.state != ReviewState.SKIPPED]
