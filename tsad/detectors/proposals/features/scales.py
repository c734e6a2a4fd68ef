"""What the detector's network says of a candidate, scale by scale."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.evidence.examined import ScaleLogits
from tsad.detectors.proposals.candidates import log_odds
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import over, over_or

SCALES = ("fine", "middle", "coarse")
NAMES = (*(f"{scale}_{what}" for scale in SCALES for what in ("highest", "mean", "above_around")), "fine_over_coarse",
         "fine_over_middle", "network_highest", "network_mean", "network")  # fmt: skip
NEAR, WIDE = 3, 48  # points of the scale: what lies between is around a candidate
LOWEST = -9.0  # log odds around a candidate without surroundings


def scale_features(context: Context) -> FloatArray:
    """[K, 14] in the order of :data:`NAMES`; zeros, the last too, for a detector without logits.

    Per scale the highest and the mean log odds inside, and the highest less the highest around; differences of
    the highest; log odds of the highest and the mean probability inside, averaged over the scales; 1. Where the network
    has fewer than three scales the coarsest stands for the others.
    """
    out = np.zeros((len(context.candidates), len(NAMES)))
    for own, channel in context.by_channel():
        if not channel.logits:
            continue
        runs = context.candidates.runs[own]
        for place in range(len(SCALES)):
            scale, logits = channel.logits[min(place, len(channel.logits) - 1)]
            out[own, 3 * place : 3 * place + 3] = _at_scale(scale, logits.astype(np.float32), runs)
        out[own, 9] = out[own, 0] - out[own, 6]
        out[own, 10] = out[own, 0] - out[own, 3]
        out[own, 11:13] = log_odds(_network(channel.logits, runs))
        out[own, 13] = 1.0
    return out


def _at_scale(scale: int, logits: np.ndarray, runs: IntArray) -> FloatArray:
    """Highest, mean, and highest above the surroundings, [K, 3]."""
    low, high = runs[:, 0] // scale, np.maximum(runs[:, 0] // scale + 1, -(-runs[:, 1] // scale))
    inside = np.stack((low, high), axis=1)
    highest, mean = over(logits, np.maximum, inside), over(logits, np.add, inside) / (high - low)
    left, right = (
        over_or(logits, np.maximum, np.stack(span, axis=1), LOWEST)
        for span in ((low - WIDE, low - NEAR), (high + NEAR, high + WIDE))
    )
    return np.stack((highest, mean, highest - np.maximum(np.maximum(left, right), LOWEST)), axis=1)


def _network(logits: ScaleLogits, runs: IntArray) -> FloatArray:
    """Highest and mean of the probability inside, the mean of all scales. [K, 2]."""
    size = runs[:, 1] - runs[:, 0]
    ends = np.cumsum(size)
    points = np.arange(ends[-1]) + np.repeat(runs[:, 0] - ends + size, size)
    probability = np.zeros(len(points))
    for scale, by_point in logits:
        probability += 1 / (1 + np.exp(-by_point[points // scale].astype(np.float64)))
    probability /= len(logits)
    starts = ends - size
    return np.stack((np.maximum.reduceat(probability, starts), np.add.reduceat(probability, starts) / size), axis=1)
