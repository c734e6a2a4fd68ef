"""The order in which people get to see the windows of a queue."""

from __future__ import annotations

from collections.abc import Iterable

from tsad.core.reviews import Choice, Purpose
from tsad.review.sampling import CONFLICT, DISPUTED


def in_order(choices: Iterable[Choice]) -> list[Choice]:
    """The choices as people open them: one with a proposal, what people disagree about, then the highest score first.

    Gold windows are strewn in by chance, anywhere in the queue: their score would be an opinion.
    """
    given = list(choices)
    training = [c for c in given if c.purpose is Purpose.TRAIN]
    training.sort(key=lambda c: c.score + 2.0 if c.strategy in (CONFLICT, DISPUTED) else c.score, reverse=True)
    places = [((k + 0.5) / len(training), c) for k, c in enumerate(training)]
    places += [(int(c.window.window_id[:8], 16) / 2**32, c) for c in given if c.purpose is Purpose.GOLD]
    placed = [choice for _, choice in sorted(places, key=lambda item: item[0])]
    first = next((choice for choice in placed if choice.proposal), None)
    return placed if first is None else [first, *(choice for choice in placed if choice is not first)]
