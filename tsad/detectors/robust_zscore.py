"""Robust z-score: distance from the median in robust standard deviations, over all points or a moving window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, field_validator

from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.detectors.numeric import squash, tame

MAD_TO_SIGMA = 1.4826  # MAD of a normal distribution times this is its standard deviation
MEAN_TO_SIGMA = 1.2533  # the same for the mean absolute deviation
FLOOR = 0.05  # moving window: a quiet stretch is judged by at least this share of the whole series' scale


class RobustZScoreOptions(Options):
    """Keyword arguments of :class:`RobustZScore`."""

    half: float = Field(gt=0)
    window: int = Field(ge=0)

    @field_validator("window")
    @classmethod
    def _median(cls, value: int) -> int:
        if value in (1, 2):
            raise ValueError("should be 0 or at least 3")
        return value


class RobustZScore(Detector):
    """|x - median| / (1.4826 MAD) per channel, squashed to ``z / (z + half)``; the highest channel counts.

    Where more than half of the values are equal the MAD is 0 and 1.2533 times the mean absolute deviation
    takes its place (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, chapter 3).

    Args:
        half: z that scores 0.5.
        window: points of the centred moving window; 0 = the whole series at once.

    Raises:
        DetectorError: ``half`` not above 0, or a ``window`` of 1 or 2 points.
    """

    name = "robust_zscore"
    options_model = RobustZScoreOptions
    settings: RobustZScoreOptions

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [self._score(one) for one in series]

    def _score(self, series: Series) -> FloatArray:
        scores = np.zeros(len(series))
        for channel in series.values.T:
            z = self._deviation(tame(channel))
            np.maximum(scores, squash(np.nan_to_num(z, nan=0.0), self.settings.half), out=scores)
        return scores

    def _deviation(self, x: FloatArray) -> FloatArray:
        """|z| of one channel, [T]; NaN where missing, 0 where the channel does not vary."""
        seen = x[np.isfinite(x)]
        if len(seen) == 0:
            return np.zeros(len(x))
        middle = float(np.median(seen))
        scale = _scale(np.abs(seen - middle), middle)
        if scale == 0:
            return np.zeros(len(x))
        if self.settings.window == 0:
            return np.abs(x - middle) / scale
        return _moving(x, self.settings.window, scale)


def _scale(distance: FloatArray, middle: float) -> float:
    """Robust standard deviation from distances to the median; 0 where they are rounding noise."""
    scale = MAD_TO_SIGMA * float(np.median(distance)) or MEAN_TO_SIGMA * float(np.mean(distance))
    return scale if scale > 1e-12 * abs(middle) else 0.0


def _moving(x: FloatArray, window: int, overall: float) -> FloatArray:
    """|z| against the median and MAD of the centred window around each point, [T]."""
    import pandas as pd

    values = pd.Series(x)
    middle = values.rolling(window, center=True, min_periods=1).median()
    distance = (values - middle).abs()
    mad = distance.rolling(window, center=True, min_periods=1).median()
    return (distance / (MAD_TO_SIGMA * mad).clip(lower=FLOOR * overall)).to_numpy()
