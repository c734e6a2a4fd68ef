"""What the members of a committee say of a candidate; all 0 of a detector that is none."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.examined import Opinion
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import over

MOST = 6  # members, the first one included
SURE = 4.0  # log odds beyond which a member counts as sure
ALOFT = 2.0  # a height that one point in a hundred reaches
UNASKED = (-2.0, 1.0)  # what stands for log odds and height of a member that was not asked: what is usual
TOGETHER = ("committee_highest", "committee_mean", "committee_votes")
NAMES = (*TOGETHER, *(f"member_{k}_{what}" for k in range(2, MOST + 1) for what in ("says", "height")))

# Mean and scale of each on synthetic series, rounded, by which reviews begin to count them.
SPREAD = {"highest": (-1.0, 2.0), "mean": (-2.0, 1.5), "votes": (0.3, 0.3), "says": (-2.0, 2.0), "height": (1.0, 1.0)}
UNWEIGHTED = {
    name: {"weight": 0.0, "mean": SPREAD[name.rpartition("_")[2]][0], "scale": SPREAD[name.rpartition("_")[2]][1]}
    for name in NAMES
}


def committee_features(context: Context) -> FloatArray:
    """[K, 13] in the order of :data:`NAMES`.

    ``member_K_says``: log odds, within -4..4, of the likeliest candidate of the K-th member that shares a point with
    this one, -4 where it has none. ``member_K_height``: how unusual its highest score inside is. Of all members but the
    first, whose scores the other features are of: the highest and the mean log odds of those that were asked, and which
    share of them (the first included) score here what one point in a hundred reaches.
    """
    opinions = context.examined.opinions
    out = np.zeros((len(context.candidates), len(NAMES)))
    if not opinions:
        return out
    runs, others = context.candidates.runs, opinions[1:MOST]
    asked = np.array([_asked(one, runs) for one in opinions[:MOST]])  # [M, K]
    says = np.array([_says(one, runs) for one in others]).reshape(len(others), len(runs))
    height = np.array([over(one.height, np.maximum, runs) for one in opinions[:MOST]])
    told = asked[1:]
    out[:, 0] = np.where(told, says, -np.inf).max(axis=0, initial=-np.inf)
    out[:, 1] = np.where(told, says, 0.0).sum(axis=0) / np.maximum(told.sum(axis=0), 1)
    out[~told.any(axis=0), :2] = UNASKED[0]
    out[:, 2] = ((height >= ALOFT) & asked).sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    for k in range(len(others)):
        out[:, 3 + 2 * k] = np.where(told[k], says[k], UNASKED[0])
        out[:, 4 + 2 * k] = np.where(told[k], height[k + 1], UNASKED[1])
    return out


def _asked(opinion: Opinion, runs: np.ndarray) -> np.ndarray:
    """Whether the member was shown any point of each candidate. [K] bool."""
    if opinion.asked is None:
        return np.ones(len(runs), bool)
    return over(opinion.asked, np.logical_or, runs).astype(bool)


def _says(opinion: Opinion, runs: np.ndarray) -> FloatArray:
    """Log odds of the member's likeliest candidate that shares a point with each of ours. [K] within -4..4."""
    best = np.zeros(len(runs))
    first = np.searchsorted(opinion.runs[:, 1], runs[:, 0], side="right")
    last = np.searchsorted(opinion.runs[:, 0], runs[:, 1], side="left")
    for k in np.flatnonzero(first < last):
        best[k] = opinion.probability[first[k] : last[k]].max()
    held = np.clip(best, 1e-9, 1 - 1e-9)
    return np.asarray(np.clip(np.log(held / (1 - held)), -SURE, SURE))
