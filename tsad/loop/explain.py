"""Why nothing was trained or promoted, in terms of what people can do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tsad.config.workbench import Workbench
from tsad.core.printing import decimals
from tsad.core.protocols import Trainable
from tsad.core.results import Result
from tsad.loop.results import Trained
from tsad.metrics.paired import PairedGain

MOST_GOLD = 0.5  # share of the windows beyond which nothing would be left to learn from


@dataclass(frozen=True, eq=False)
class LearningGap(Result):
    """What a dataset version lacked to teach a model.

    Attributes:
        windows, positive: reviewed, and with an anomaly.
        candidates: that people have judged in them; ``None`` where the threshold is not calibrated.
        more_windows, more_positive: that an adapter asks for beyond them; 0 where none is to be trained.
        challenger: whether something was learned all the same.
        reason: why there was no adapter though there was enough for it; "" where that is not so.
    """

    windows: int
    positive: int
    candidates: int | None
    more_windows: int
    more_positive: int
    challenger: bool
    reason: str = ""

    def __str__(self) -> str:
        return "; ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        told = f"{_count(self.windows, 'reviewed window')} ({self.positive} with an anomaly)"
        if not self.challenger:
            why = "hold no candidate of the detector" if self.candidates == 0 else "taught nothing new"
            yield f"nothing was learned: {told} {why}"
        wanted = [_count(self.more_windows, "more reviewed window")] if self.more_windows else []
        noun = "more" if wanted else "more reviewed window" + "s" * (self.more_positive > 1)
        wanted += [f"{self.more_positive} {noun} with an anomaly"] if self.more_positive else []
        if wanted:
            yield f"an adapter needs {' and '.join(wanted)}" + (f"; there are {told}" if self.challenger else "")
        elif self.reason:
            yield self.reason


@dataclass(frozen=True, eq=False)
class EvidenceGap(Result):
    """What the gold set lacked to tell a challenger's gain from chance.

    Attributes:
        windows, intervals: of the gold set, and true ones in it.
        more_intervals: that the gate asks for beyond them.
        gains: by metric.
        needed: gold windows at which the interval of the most certain gain would lie above zero; ``None`` where it does
            already or nothing was gained.
        by_people: whether people reviewed the gold windows.
        available: windows that there are, of which the gold ones were drawn.
    """

    windows: int
    intervals: int
    more_intervals: int
    by_people: bool
    available: int
    gains: Mapping[str, PairedGain] = field(default_factory=dict)
    needed: int | None = None

    def __str__(self) -> str:
        return "; ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        more = self.needed or 0
        if self.more_intervals:
            wanted = self.intervals + self.more_intervals
            more = max(more, math.ceil(self.windows * wanted / max(self.intervals, 1)))
            held = "1 anomaly" if self.intervals == 1 else f"{self.intervals} anomalies"
            yield f"{_count(self.windows, 'gold window')} with {held}, the gate wants {wanted} (gold.min_intervals)"
        for metric, gain in self.gains.items():
            yield f"{metric} {decimals(gain.gain, 2, '+')} {_spread(gain)}"
        if more:
            yield f"about {_rounded(more)} gold windows would tell ({self.windows} now)"
            yield self._how_to_get(more)
        elif self.gains and all(gain.gain <= 0 for gain in self.gains.values()):
            yield "no gain, which more gold windows would not change: review more windows"

    def _how_to_get(self, windows: int) -> str:
        """A loop's gold set is fixed; what it takes to have a larger one, and what that costs."""
        if not self.by_people:
            return "that takes more labelled series and a new loop (loop.name=NAME), reviewed anew"
        share = math.ceil(100 * windows / max(self.available, 1)) / 100
        if share > MOST_GOLD:
            return "that takes more or longer series and a new loop (loop.name=NAME), reviewed anew"
        wanted = f"gold.windows={windows} gold.windows_share={share:g}"
        return f"that takes a new loop, reviewed anew: loop.name=NAME {wanted}"


def learning_gap(bench: Workbench, windows: int, positive: int, trained: Trained) -> LearningGap | None:
    """What training on so many reviewed windows lacked; ``None`` where it made an adapter or none was asked for."""
    adaptable = bench.adapter.enabled and isinstance(bench.make_detector(), Trainable)
    if trained.trained or (trained.model is not None and not adaptable):
        return None
    more_windows = max(0, bench.adapter.min_windows - windows) if adaptable else 0
    more_positive = max(0, bench.adapter.min_positive - positive) if adaptable else 0
    judged = trained.metrics.get("judged_candidates")
    return LearningGap(
        windows, positive, None if judged is None else int(judged), more_windows, more_positive,
        challenger=trained.model is not None, reason=trained.reason if adaptable else "",
    )  # fmt: skip


def evidence_gap(
    bench: Workbench, intervals: int, gains: Mapping[str, PairedGain], windows: int, *, by_people: bool, available: int
) -> EvidenceGap:
    """What a gold set of so many windows lacked for a challenger that was not promoted.

    The interval of a gain shrinks with the square root of the number of gold windows (its standard error does), so it
    lies above zero once there are (arm / gain) ** 2 times as many; the arm reaches from the gain to its lower end.
    """
    needed = [
        math.ceil(windows * ((g.gain - g.low) / g.gain) ** 2)
        for g in gains.values() if g.gain > 0 and g.low <= 0
    ]  # fmt: skip
    more = max(0, bench.gold.min_intervals - intervals)
    return EvidenceGap(
        windows, intervals, more, by_people, available, gains, min(needed, default=None)
    )  # fmt: skip


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _spread(gain: PairedGain) -> str:
    if math.isnan(gain.low):
        return "with no interval: the gold windows are too few to be drawn anew"
    low, high = decimals(gain.low, 2, "+"), decimals(gain.high, 2, "+")
    return f"within [{low}, {high}], {decimals(gain.high - gain.low, 2)} wide"


def _rounded(number: int) -> str:
    """Two figures: it is an estimate."""
    step = 10 ** max(0, len(str(number)) - 2)
    return f"{math.ceil(number / step) * step:,}"
