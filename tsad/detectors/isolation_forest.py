"""Isolation forest over short windows of a series: windows that few random cuts set apart are abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.detectors.numeric import fill_missing, is_constant, squash, tame

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest as Forest


class IsolationForestOptions(Options):
    """Keyword arguments of :class:`IsolationForest`."""

    window: int = Field(ge=1)
    stride: int = Field(ge=1)
    trees: int = Field(ge=1)
    fit_windows: int = Field(ge=1)
    half: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    seed: int

    @model_validator(mode="after")
    def _without_gaps(self) -> IsolationForestOptions:
        if self.stride > self.window:
            raise ValueError("detector.stride is longer than detector.window: points between would have no score")
        return self


class IsolationForest(Detector):
    """A forest per series, fitted on windows of that same series; all channels of a window are one example.

    A window's isolation score (Liu, Ting and Zhou 2008, equation 2) goes to its points, the mean over the
    windows that cover them. How far that lies above the series' median, in robust deviations d, gives the score
    ``d / (d + half)``: raw isolation scores have no level that means the same on every series.

    Args:
        window: points per window.
        stride: points between the starts of scored windows.
        trees: trees in the forest.
        fit_windows: windows drawn, evenly spaced, to fit the forest on.
        half: robust deviations that score 0.5.
        batch_size: windows scored at once: bounds memory, never changes scores.
        seed: of the random cuts.

    Raises:
        DetectorError: an option below 1.
    """

    name = "isolation_forest"
    options_model = IsolationForestOptions
    settings: IsolationForestOptions

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [self._score(one) for one in series]

    def _score(self, series: Series) -> FloatArray:
        filled = [_standard(fill_missing(tame(c))[0]) for c in series.values.T if not is_constant(c)]
        total = len(series)
        width = min(self.settings.window, max(1, total // 4))  # a short series still gives windows to compare
        if not filled or total < 2:
            return np.zeros(total)
        values = np.stack(filled, axis=1)  # [T, C] float32
        starts = np.unique(np.append(np.arange(0, total - width + 1, min(self.settings.stride, width)), total - width))
        isolation = self._isolation(self._fit(values, width), values, starts, width)
        distance = np.maximum(isolation - np.median(isolation), 0.0)
        spread = 1.4826 * float(np.median(np.abs(isolation - np.median(isolation)))) or float(np.mean(distance))
        scores = squash(distance / spread, self.settings.half) if spread > 1e-12 else np.zeros(total)
        scores[~np.isfinite(series.values).any(axis=1)] = 0.0
        return scores

    def _fit(self, values: npt.NDArray[np.float32], width: int) -> Forest:
        from sklearn.ensemble import IsolationForest as Forest

        last = len(values) - width
        starts = np.unique(np.linspace(0, last, min(self.settings.fit_windows, last + 1)).astype(np.int64))
        forest = Forest(n_estimators=self.settings.trees, random_state=self.settings.seed, n_jobs=1)
        return forest.fit(_windows(values, starts, width))

    def _isolation(
        self, forest: Forest, values: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], width: int
    ) -> FloatArray:
        """Mean isolation score of the windows that cover each point, [T] in 0..1."""
        total, steps, count = len(values), np.zeros(len(values) + 1), np.zeros(len(values) + 1)
        for k in range(0, len(starts), self.settings.batch_size):
            batch = starts[k : k + self.settings.batch_size]
            isolation = -forest.score_samples(_windows(values, batch, width))
            for edge, sign in ((batch, 1.0), (batch + width, -1.0)):
                np.add.at(steps, edge, sign * isolation)
                np.add.at(count, edge, sign)
        return (np.cumsum(steps) / np.maximum(np.cumsum(count), 1.0))[:total]


def _standard(values: FloatArray) -> npt.NDArray[np.float32]:
    centred = values - values.mean()  # before the division: a large offset must not eat the variation
    return (centred / centred.std()).astype(np.float32)


def _windows(values: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.float32]:
    """Windows as rows, [N, width * C]."""
    return values[starts[:, None] + np.arange(width)].reshape(len(starts), -1)
