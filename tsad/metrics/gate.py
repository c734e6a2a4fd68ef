"""The promotion gate: from paired scores on the gold set to a decision with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from tsad.core.options import GoldOptions


class Paired(Protocol):
    """The part of a paired bootstrap's result that the gate reads."""

    @property
    def gain(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def p_value(self) -> float: ...


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and why, in one sentence."""

    promote: bool
    reason: str


def decide(options: GoldOptions, *, intervals: int, gain: Paired, guard: Paired, force: bool = False) -> Decision:
    """Promote only a challenger whose gain is more than chance and whose guard metric has not fallen beyond it.

    So a gain counts only if neither metric falls beyond noise: the first must rise, the second may not fall.

    Args:
        options: metric, guard, min_gain, alpha, min_intervals.
        intervals: true intervals in the gold set, on which the evidence rests.
        gain: challenger minus champion on ``options.metric``, paired over the same resamples.
        guard: the same on ``options.guard``; its whole interval below zero, or no interval at all, forbids promotion.
        force: promote whatever the figures say; the reason keeps the figures.
    """
    figures = (
        f"{options.metric} {gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p={gain.p_value:.3f}; "
        f"{options.guard} {guard.gain:+.3f} [{guard.low:+.3f}, {guard.high:+.3f}]"
    )
    if force:
        return Decision(True, f"forced by force=true: {figures}")
    if intervals < options.min_intervals:
        return Decision(
            False,
            f"not enough evidence: {intervals} gold intervals, gold.min_intervals={options.min_intervals}; {figures}",
        )
    if math.isnan(guard.high):
        return Decision(False, f"whether {options.guard} fell is not known: {figures}")
    if guard.high < 0:
        return Decision(False, f"{options.guard} fell beyond chance: {figures}")
    if gain.gain < max(options.min_gain, 0.0) or gain.gain <= 0.0:
        return Decision(False, f"gain below gold.min_gain={options.min_gain:g}: {figures}")
    if gain.p_value > options.alpha:
        return Decision(False, f"gain may be chance (gold.alpha={options.alpha:g}): {figures}")
    return Decision(True, f"better than chance: {figures}")
