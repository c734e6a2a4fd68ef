"""The order in which people get to see the windows of a queue."""

from __future__ import annotations

from collections.abc import Iterable

from tsad.core.reviews import Choice, Purpose
from tsad.review.sampling import DISPUTED


def in_order(choices: Iterable[Choice]) -> list[Choice]:
    """The choices as people open them: one with a proposal first, then disputed ones, then the highest score first.

    Gold windows are strewn in by chance: their score would be an opinion.
    """
    placed = sorted(choices, key=_place, reverse=True)
    first = next((choice for choice in placed if choice.proposal), None)
    return placed if first is None else [first, *(choice for choice in placed if choice is not first)]


def _place(choice: Choice) -> float:
    """Place in the queue, high first."""
    if choice.purpose is Purpose.GOLD:
        return int(choice.window.window_id[:8], 16) / 2**32
    return choice.score + 2.0 if choice.strategy == DISPUTED else choice.score
