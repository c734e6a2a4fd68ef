"""Sub-sequence PCA: how unlikely a sub-sequence is where most lie near a few directions."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tsad.core.types import FloatArray
from tsad.detectors.subsequences import (
    SubsequenceDetector,
    SubsequenceOptions,
    batches,
    condense,
    evenly,
    subsequences,
    to_points,
)


class SubPCAOptions(SubsequenceOptions):
    """Keyword arguments of :class:`SubPCA`."""

    variance: float = Field(gt=0, lt=1)
    most_values: int = Field(ge=1)
    fit_windows: int = Field(ge=1)


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
    options_model = SubPCAOptions
    settings: SubPCAOptions

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from sklearn.decomposition import PCA

        short, width, factor = condense(values, window, self.settings.most_values)
        chosen = evenly(len(short) - width + 1, self.settings.fit_windows)
        pca = PCA(n_components=self.settings.variance, svd_solver="full")
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
