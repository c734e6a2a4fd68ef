"""Nearest neighbours of sub-sequences: what resembles nothing else in the series is abnormal."""

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


class NearestNeighbourOptions(SubsequenceOptions):
    """Keyword arguments of :class:`NearestNeighbour`."""

    references: int = Field(ge=1)
    neighbours: int = Field(ge=1)
    shape: bool
    most_values: int = Field(ge=1)


class NearestNeighbour(SubsequenceDetector):
    """Distance of each sub-sequence to its nearest neighbours among at most ``references`` others of the channel.

    The references are evenly spaced, so a series with more sub-sequences is scored in time linear in its length.
    Neighbours that overlap a sub-sequence do not count (trivial matches: Keogh, Lin and Fu 2005, HOT SAX). The mean
    distance to the ``neighbours`` nearest, root mean square per value, goes to the points: the mean over the
    sub-sequences that cover each. scikit-learn's ``euclidean_distances`` does the work.

    Args:
        window: points of a sub-sequence; 0 = the channel's period.
        references: sub-sequences that all are compared with.
        neighbours: how many nearest ones count: one odd event that happens twice is still odd with 3.
        shape: whether sub-sequences are brought to mean 0 and deviation 1 first, so that only their shape counts.
        most_values: a longer sub-sequence is averaged down to this many values.
        half: robust deviations that score 0.5.

    Raises:
        DetectorError: an option below 1, or ``half`` not above 0.
    """

    name = "nearest_neighbour"
    options_model = NearestNeighbourOptions
    settings: NearestNeighbourOptions

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from sklearn.metrics.pairwise import euclidean_distances

        short, width, factor = condense(values, window, self.settings.most_values)
        places = evenly(len(short) - width + 1, self.settings.references)
        references = subsequences(short, width, places, shape=self.settings.shape)
        found, first = [], 0
        for rows in batches(short, width, shape=self.settings.shape, width=len(references)):
            distances = euclidean_distances(rows, references)
            near = np.searchsorted(places, [first - width, first + len(rows) + width])
            for column in range(*near.tolist()):  # those that overlap: within a width of the reference
                low, high = places[column] - width + 1 - first, places[column] + width - first
                distances[max(low, 0) : max(high, 0), column] = np.inf
            found.append(self._nearest(distances))
            first += len(rows)
        mean = to_points(np.concatenate(found), width) / np.sqrt(width)
        return np.repeat(mean, factor)[: len(values)]

    def _nearest(self, distances: np.ndarray) -> FloatArray:
        """Mean of the smallest distances of each row, those that are finite; 0 where none is. [N, K] -> [N]."""
        count = min(self.settings.neighbours, distances.shape[1])
        if count == 1:
            nearest = distances.min(axis=1, keepdims=True)
        else:
            nearest = np.partition(distances, count - 1, axis=1)[:, :count]
        known = np.isfinite(nearest)
        return np.where(known, nearest, 0.0).sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1)
