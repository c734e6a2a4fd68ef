"""Sub-sequence PCA: how unlikely a sub-sequence is where most lie near a few directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsad.core.errors import DetectorError
from tsad.core.types import FloatArray
from tsad.detectors.subsequences import (
    SubsequenceDetector,
    at_least,
    batches,
    condense,
    evenly,
    subsequences,
    to_points,
)


class SubPCA(SubsequenceDetector):
    """Mahalanobis distance of each sub-sequence under probabilistic PCA of the channel's own sub-sequences.

    Directions that hold ``variance`` of the variance keep their own, the others share what is left (Tipping and Bishop
    1999, Probabilistic Principal Component Analysis, section 3); the distance per value goes to the points, the mean
    over the sub-sequences that cover each. scikit-learn's PCA does the work.

    Args:
        window: points of a sub-sequence; 0 = the channel's period.
        variance: share of the variance, above 0 and below 1, that the kept directions hold.
        most_values: a longer sub-sequence is averaged down to this many values.
        fit_windows: sub-sequences, evenly spaced, that the directions are found on.
        half: robust deviations that score 0.5.

    Raises:
        DetectorError: an impossible option.
    """

    name = "sub_pca"

    def __init__(self, *, window: int, variance: float, most_values: int, fit_windows: int, half: float) -> None:
        super().__init__(window=window, half=half)
        at_least(self.name, most_values=most_values, fit_windows=fit_windows)
        if not 0 < variance < 1:
            raise DetectorError(f"sub_pca: variance is {variance}", "Set detector.variance between 0 and 1, e.g. 0.9.")
        self.variance, self.most_values, self.fit_windows = variance, most_values, fit_windows

    def options(self) -> dict[str, Any]:
        return {
            "window": self.window, "variance": self.variance, "most_values": self.most_values,
            "fit_windows": self.fit_windows, "half": self.half,
        }  # fmt: skip

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from sklearn.decomposition import PCA

        short, width, factor = condense(values, window, self.most_values)
        chosen = evenly(len(short) - width + 1, self.fit_windows)
        pca = PCA(n_components=self.variance, svd_solver="full")
        pca.fit(subsequences(short, width, chosen, shape=False).astype(np.float64))
        rest = max(float(pca.noise_variance_), 1e-6)  # values have deviation 1: what is below is rounding
        parts = []
        for rows in batches(short, width, shape=False):
            centred = rows - pca.mean_
            along = centred @ pca.components_.T
            across = np.maximum(np.square(centred).sum(axis=1) - np.square(along).sum(axis=1), 0.0)
            squares = (np.square(along) / np.maximum(pca.explained_variance_, rest)).sum(axis=1) + across / rest
            parts.append(np.sqrt(squares / width))
        return np.repeat(to_points(np.concatenate(parts), width), factor)[: len(values)]
