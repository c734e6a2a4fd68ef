"""What the features of a series' candidates are made of, found once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray
from tsad.detectors.evidence.examined import Examined, ExaminedChannel
from tsad.detectors.evidence.period import NO_PERIOD, Period
from tsad.detectors.proposals.candidates import Candidates, log_odds
from tsad.detectors.proposals.features.spans import over

DAY = 86_400 * NS_PER_SECOND
SHORTEST_DAY = 8  # points: fewer per day tell nothing of the hour
MOST = 512  # candidates that each is compared with, evenly drawn from longer series: the cost stays linear


@dataclass(frozen=True, eq=False)
class Context:
    """A series' candidates with what was found of the series.

    Attributes:
        day: points per day; 0 = unknown, or not two days long.
    """

    examined: Examined
    candidates: Candidates
    day: float = 0.0

    @property
    def total(self) -> int:
        """Points of the series."""
        return len(self.examined.scores)

    @cached_property
    def height(self) -> npt.NDArray[np.float32]:
        """Scores as log odds, [T]."""
        return log_odds(self.examined.scores)

    @cached_property
    def size(self) -> FloatArray:
        """Points of each candidate, [K]."""
        return (self.candidates.runs[:, 1] - self.candidates.runs[:, 0]).astype(np.float64)

    @cached_property
    def peak(self) -> FloatArray:
        """Highest log odds of each candidate, [K]."""
        return over(self.height, np.maximum, self.candidates.runs)

    @cached_property
    def owner(self) -> IntArray:
        """Which channel each candidate is of: the leading one at its peak. [K]."""
        leading = self.examined.leading
        if leading is None:
            return np.zeros(len(self.candidates), np.int64)
        return leading[self.candidates.peaks].astype(np.int64)

    @cached_property
    def period(self) -> FloatArray:
        """Points per cycle and strength of each candidate's channel, [K, 2]."""
        periods = [channel.period for channel in self.examined.channels] or [Period(NO_PERIOD, 0.0)]
        return np.array(periods)[self.owner]

    def by_channel(self) -> Iterator[tuple[IntArray, ExaminedChannel]]:
        """The candidates (their numbers) of each channel that has any."""
        for number, channel in enumerate(self.examined.channels):
            own = np.flatnonzero(self.owner == number)
            if len(own):
                yield own, channel

    @cached_property
    def references(self) -> IntArray:
        """Numbers of the candidates that each is compared with: all, or 512 spread evenly."""
        count = len(self.candidates)
        return np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST)).astype(np.int64))


def day_of(series: Series) -> float:
    """Points per day of a series; 0 where it has no times, too few points per day or not two days."""
    if series.time_kind == "index" or len(series) < 2:
        return 0.0
    day = DAY / series.step
    return day if SHORTEST_DAY < day < len(series) / 2 else 0.0
