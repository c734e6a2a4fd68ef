"""k-means on sub-sequences: how far a sub-sequence lies from the nearest of a few typical ones."""

from __future__ import annotations

from typing import Any

import numpy as np

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

    def __init__(
        self, *, window: int, clusters: int, shape: bool, most_values: int, fit_windows: int, half: float, seed: int
    ) -> None:
        super().__init__(window=window, half=half)
        at_least(self.name, clusters=clusters, most_values=most_values, fit_windows=fit_windows)
        self.clusters, self.shape, self.seed = clusters, shape, seed
        self.most_values, self.fit_windows = most_values, fit_windows

    def options(self) -> dict[str, Any]:
        return {
            "window": self.window, "clusters": self.clusters, "shape": self.shape, "most_values": self.most_values,
            "fit_windows": self.fit_windows, "half": self.half, "seed": self.seed,
        }  # fmt: skip

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from sklearn.cluster import MiniBatchKMeans

        short, width, factor = condense(values, window, self.most_values)
        chosen = evenly(len(short) - width + 1, self.fit_windows)
        centres = MiniBatchKMeans(min(self.clusters, len(chosen)), random_state=self.seed, n_init=3)
        centres.fit(subsequences(short, width, chosen, shape=self.shape))
        distances = [centres.transform(rows).min(axis=1) for rows in batches(short, width, shape=self.shape)]
        mean = to_points(np.concatenate(distances).astype(np.float64), width) / np.sqrt(width)
        return np.repeat(mean, factor)[: len(values)]
