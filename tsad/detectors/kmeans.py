"""k-means on sub-sequences: how far a sub-sequence lies from the nearest of a few typical ones."""

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


class KMeansOptions(SubsequenceOptions):
    """Keyword arguments of :class:`KMeans`."""

    clusters: int = Field(ge=1)
    shape: bool
    most_values: int = Field(ge=1)
    fit_windows: int = Field(ge=1)
    seed: int


class KMeans(SubsequenceDetector):
    """Distance of each sub-sequence to the nearest of ``clusters`` centres, root mean square per value.

    It goes to the points, the mean over the sub-sequences that cover each (Yairi, Kato and Hori 2001; KMeansAD in
    Schmidl, Wenig and Papenbrock 2022, PVLDB 15(9)). scikit-learn's MiniBatchKMeans does the work.

    Args:
        window: points of a sub-sequence; 0 = the channel's period.
        clusters: centres.
        shape: whether sub-sequences are brought to mean 0 and deviation 1 first, so that only their shape counts.
        most_values: a longer sub-sequence is averaged down to this many values.
        fit_windows: sub-sequences, evenly spaced, that the centres are found on.
        half: robust deviations that score 0.5.
        seed: of the first centres.

    Raises:
        DetectorError: an impossible option.
    """

    name = "kmeans"
    options_model = KMeansOptions
    settings: KMeansOptions

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from sklearn.cluster import MiniBatchKMeans

        short, width, factor = condense(values, window, self.settings.most_values)
        chosen = evenly(len(short) - width + 1, self.settings.fit_windows)
        centres = MiniBatchKMeans(min(self.settings.clusters, len(chosen)), random_state=self.settings.seed, n_init=3)
        centres.fit(subsequences(short, width, chosen, shape=self.settings.shape))
        distances = [centres.transform(rows).min(axis=1) for rows in batches(short, width, shape=self.settings.shape)]
        mean = to_points(np.concatenate(distances).astype(np.float64), width) / np.sqrt(width)
        return np.repeat(mean, factor)[: len(values)]
