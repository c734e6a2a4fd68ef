"""The promotion gate: from paired scores on the gold set to a decision with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tsad.core.options import GoldOptions
from tsad.core.printing import decimals
from tsad.core.results import Result
from tsad.metrics.paired import PairedGain


class Clause(StrEnum):
    """Which part of the gate's rule decided; the first that applies, in this order."""

    UNRECORDED = "unrecorded"  # decided before clauses were kept
    NO_CHALLENGER = "no challenger"
    FORCED = "forced"
    EVIDENCE = "not enough evidence"  # fewer gold intervals than gold.min_intervals
    UNKNOWN = "not known"  # one of the two metrics has no gain, or no interval of it
    FELL = "fell beyond chance"
    MARGIN = "fell beyond margin"  # by more than gold.margin, chance or not
    CHANCE = "may be chance"  # neither rose by more than chance
    MIN_GAIN = "below min_gain"
    ROSE = "rose beyond chance"


@dataclass(frozen=True, eq=False, kw_only=True)
class Decision(Result):
    """Whether the challenger becomes champion, and why.

    Attributes:
        reason: in words: the clause, both metrics with their intervals, level and margin.
        clause: what decided.
        level: of the intervals in ``gains``, at which it was decided; ``None`` where there was nothing to compare.
        margin: how far either metric may fall.
        gains: challenger minus champion by metric, those of ``gold.metric`` and ``gold.guard``.
    """

    promoted: bool
    reason: str
    clause: Clause = Clause.UNRECORDED
    level: float | None = None
    margin: float | None = None
    gains: Mapping[str, PairedGain] = field(default_factory=dict)

    def verdict(self) -> str:
        """The decision and its reason in a line."""
        return f"{'promoted' if self.promoted else 'champion kept'}: {self.reason}"


def level_of(options: GoldOptions) -> float:
    """Level of the two-sided intervals that decide.

    Either of two metrics may carry a promotion, so each is tested at ``alpha / 2`` (Bonferroni): its interval at level
    ``1 - alpha`` has that much on either side, and rises or falls where it lies above or below zero.
    """
    return 1.0 - options.alpha


def decide(
    options: GoldOptions, *, intervals: int, gains: Mapping[str, PairedGain], force: bool = False
) -> Decision:
    """Promote where either metric rises by more than chance and neither falls beyond chance or beyond the margin.

    Args:
        options: metric, guard, margin, min_gain, alpha, min_intervals.
        intervals: true intervals in the gold set, on which the evidence rests.
        gains: challenger minus champion on ``options.metric`` and ``options.guard``, over the same swaps, with
            intervals at :func:`level_of`.
        force: promote whatever the figures say; the reason keeps the figures.
    """
    clause, words = _clause(options, intervals, gains, force)
    told = "; ".join(_told(metric, gains[metric]) for metric in dict.fromkeys((options.metric, options.guard)))
    level, margin = gains[options.metric].level, options.margin
    return Decision(
        promoted=clause in (Clause.ROSE, Clause.FORCED), clause=clause, level=level, margin=margin, gains=dict(gains),
        reason=f"{words}: {told} ({100 * level:.4g}% intervals, {50 * (1 - level):.3g}% on each side; "
        f"gold.margin={margin:g})",
    )  # fmt: skip


def _clause(
    options: GoldOptions, intervals: int, gains: Mapping[str, PairedGain], force: bool
) -> tuple[Clause, str]:
    """What decides, and the words for it."""
    names = tuple(dict.fromkeys((options.metric, options.guard)))
    unknown = [n for n in names if math.isnan(gains[n].gain) or math.isnan(gains[n].high)]
    fell = [n for n in names if gains[n].high < 0]
    beyond = [n for n in names if gains[n].gain < -options.margin]
    rose = [n for n in names if gains[n].low > 0]
    enough = [n for n in rose if gains[n].gain >= options.min_gain]
    if force:
        return Clause.FORCED, "forced by force=true"
    if intervals < options.min_intervals:
        return (
            Clause.EVIDENCE,
            f"not enough evidence, {intervals} gold intervals where gold.min_intervals={options.min_intervals}",
        )
    if unknown:
        return Clause.UNKNOWN, f"whether {_and(unknown)} rose or fell is not known"
    if fell:
        return Clause.FELL, f"{_and(fell)} fell by more than chance"
    if beyond:
        return Clause.MARGIN, f"{_and(beyond)} fell by more than gold.margin={options.margin:g}"
    if not rose:
        return Clause.CHANCE, f"neither {' nor '.join(names)} rose by more than chance"
    if not enough:
        return Clause.MIN_GAIN, f"{_and(rose)} rose by less than gold.min_gain={options.min_gain:g}"
    return Clause.ROSE, f"{_and(enough)} rose by more than chance, neither fell beyond chance or margin"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def _told(metric: str, gain: PairedGain) -> str:
    told, low, high = (decimals(value, sign="+") for value in (gain.gain, gain.low, gain.high))
    return f"{metric} {told} [{low}, {high}]"
