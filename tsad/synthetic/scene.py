"""One series that anomalies are put into: what is known of it, and what can be abnormal in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tsad.core.types import FloatArray, IntArray

# What can be abnormal in a series, since of its usual life some evidence tells nothing:
# free   anything
# brief  short events alone (counts with slow, free courses)
# peaks  big peaks come and go, so height tells nothing: a small change or another form
# beats  the same cycle over and over: one cycle of another form
# loose  nothing comes back, so recurrence tells nothing: what stands out by its height or its level
Life = Literal["free", "brief", "peaks", "beats", "loose"]


# life -> (share of the changes measured by the spread, least and largest of them in spreads); others by the jumps
_HEIGHTS: dict[Life, tuple[float, float, float]] = {"brief": (0.3, 1.0, 3.0), "loose": (0.65, 1.8, 5.0)}


@dataclass(eq=False)
class Scene:
    """One series to disturb, with what is known of it.

    Attributes:
        signal, noise: [L] as in :class:`~tsad.synthetic.series.Base`; the series is their sum.
        donor: [L] another series, standardised, to paste from.
        period: points per cycle, 0 where there is none.
        cycles: positions where cycles start; empty where unknown.
        life: what counts as abnormal here.
        lasting: a step may stay for good.
        values: [L] the series so far.
        clean: [L] the same without its anomalies; after a change that lasts, the new course is the normal one.
        kinds: [L] int8 index into :data:`~tsad.synthetic.anomalies.KINDS`, 0 = normal.
        spread: usual height of the course; where big peaks come and go, without them; where only height tells, at least
            a quarter of the range that the series has anyhow.
        holds: the reading stands still now and then, so that a stuck one is nothing new.
    """

    signal: FloatArray
    noise: FloatArray
    donor: FloatArray
    period: float
    cycles: IntArray
    life: Life = "free"
    lasting: bool = True

    def __post_init__(self) -> None:
        self.signal = self.signal.copy()  # lasting changes are written into it
        self.values = self.signal + self.noise
        self.clean = self.values.copy()
        self.kinds = np.zeros(len(self.signal), np.int8)
        self.spread = self._spread() + 1e-9
        self.holds = bool(np.mean(self.values[1:] == self.values[:-1]) > 0.02)
        self.roughness = float(self.noise.std()) + 1e-9
        self.jump = float(np.median(np.abs(np.diff(self.values)))) + 0.3 * self.roughness + 0.02 * self.spread
        if not self.noise.any():  # whole numbers: the usual jump is none
            self.jump += 0.2 * self.spread

    def _spread(self) -> float:
        if self.life == "peaks":
            return float(usual_spread(self.values))
        if self.life == "loose":
            low, high = np.quantile(self.values, (0.005, 0.995))
            return max(float(self.values.std()), float(high - low) / 4)
        return float(self.values.std())

    def strength(self, rng: np.random.Generator) -> float:
        """Height of a change: sometimes large for the whole series, sometimes only for its neighbours."""
        share, low, high = _HEIGHTS.get(self.life, (0.6, 1.0, 3.0))
        if rng.random() < share:
            return rng.uniform(low, high) * self.spread
        return rng.uniform(4.0, 12.0) * self.jump


# (generator, scene, start, stop) -> values from start on; longer than the stretch where the change persists
Edit = Callable[[np.random.Generator, Scene, int, int], FloatArray]


def sign(rng: np.random.Generator) -> int:
    """Up rather than down."""
    return 1 if rng.random() < 0.6 else -1


def usual_spread(values: FloatArray) -> FloatArray:
    """[..., L] -> [...] deviation as the middle half tells it, at most the plain one, at least a tenth of it."""
    low, high = np.quantile(values, (0.25, 0.75), axis=-1)
    plain = values.std(axis=-1)
    return np.asarray(np.clip((high - low) / 1.35, 0.1 * plain, plain), np.float64)
