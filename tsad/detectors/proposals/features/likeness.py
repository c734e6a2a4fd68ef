"""Whether anything is like a candidate: stretches of the series of its shape, candidates with alike features."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.proposals.features import score
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import Floats

NEAREST = (1, 3, 10, 31)
NAMES = (*(f"stretch_{n}" for n in NEAREST), "stretch_spread", "nearest_alike", "alike", "roughly_alike")
WIDTHS = (3, 9)  # as powers of 2: points that are compared, about one and a half times the candidate
COLUMNS = 16  # means that a stretch is described by
STRETCHES = 1024  # of the series, at most, that a candidate is compared with
UNKNOWN = 10.0  # distance where there is no other stretch
ALIKE, ROUGHLY = 2.0, 3.5  # distance of alike candidates; two drawn at random lie about 7 apart
ALONE = 99.0
BLOCK = 1024
# A deviation of each feature of the first edition over all candidates of the development sets, rounded.
UNITS = {"peak": 3.9, "mean": 3.9, "height": 3.3, "above_next": 3.8, "rank": 1.0, "usual": 1.4, "log_length": 1.7,
         "strength": 0.3, "overlooked": 0.4, "amplitude": 0.7, "short_energy": 1.2, "energy": 1.4, "season_score": 1.2,
         "neighbour": 0.9, "middle_neighbour": 1.1, "short_neighbour": 1.7}  # fmt: skip
ROW_UNIT = 0.5  # of the others, which are rarities


def likeness_features(context: Context, scored: FloatArray) -> FloatArray:
    """[K, 8] in the order of :data:`NAMES`. scored: what :func:`score.score_features` gave, [K, 25].

    ``stretch_n``: log2 of the distance to the n-th nearest stretch elsewhere in the series, relative to the size of the
    candidate's own; ``stretch_spread``: from the first to the last. ``nearest_alike``: log distance in the features
    of score and evidence to the nearest other candidate; the others: log of 1 + how many are that near.
    """
    stretches = np.zeros((len(scored), len(NEAREST)))
    for own, channel in context.by_channel():
        stretches[own] = _stretches(channel.values, context.candidates.runs[own])
    spread = stretches[:, -1:] - stretches[:, :1]
    return np.concatenate((stretches, spread, _alike(scored, context.references)), axis=1)


def _stretches(x: Floats, runs: IntArray) -> FloatArray:
    """[K, 4]; zeros where the series is not three times as long as what is compared."""
    out, total = np.zeros((len(runs), len(NEAREST))), len(x)
    size = runs[:, 1] - runs[:, 0]
    widths = 2 ** np.clip(np.round(np.log2(np.maximum(size * 1.5, 8))), *WIDTHS).astype(np.int64)
    for width in (int(w) for w in np.unique(widths)):
        if total < 3 * width:
            continue
        starts = np.arange(0, total - width + 1, max(1, width // 4, total // STRETCHES))
        table = _means(x, starts, width)
        of_width = np.flatnonzero(widths == width)
        for begin in range(0, len(of_width), BLOCK):
            part = of_width[begin : begin + BLOCK]
            own = np.clip(runs[part].sum(axis=1) // 2 - width // 2, 0, total - width)
            out[part] = _distances(_means(x, own, width), table, np.abs(own[:, None] - starts) < width)
    return out


def _means(x: Floats, starts: IntArray, width: int) -> Floats:
    """Sub-sequences of ``width`` points as at most 16 means each, [N, 8 or 16]."""
    rate = max(1, width // COLUMNS)
    return x[starts[:, None] + np.arange(width)].reshape(len(starts), width // rate, rate).mean(axis=2)


def _distances(own: Floats, table: Floats, overlapping: np.ndarray) -> FloatArray:
    """log2 of the distances to the nearest of the table, relative to the own size. [K, C], [N, C], [K, N] -> [K, 4]."""
    squares = (own * own).sum(axis=1)[:, None] - 2 * own @ table.T + (table * table).sum(axis=1)
    squares[overlapping] = np.inf
    places = [min(n - 1, squares.shape[1] - 1) for n in NEAREST]
    squares = np.partition(squares, np.unique(places), axis=1)[:, places].astype(np.float64)
    distance = np.sqrt(np.maximum(squares, 0) / own.shape[1])
    distance[~np.isfinite(distance)] = UNKNOWN
    size = np.sqrt(((own - np.median(table)) ** 2).mean(axis=1, dtype=np.float64)) + 0.1
    return np.log2(distance / size[:, None] + 0.02)


def _alike(scored: FloatArray, references: IntArray) -> FloatArray:
    """Log distance to the nearest reference, and log of 1 + those within 2 and 3.5, as if all were. [K, 3]."""
    units = np.array([UNITS.get(name, ROW_UNIT) for name in score.NAMES])
    table = scored / units
    others, share = table[references], len(table) / max(len(references), 1)
    out = np.empty((len(table), 3))
    squares = (others * others).sum(axis=1)
    for start in range(0, len(table), BLOCK):
        rows = table[start : start + BLOCK]
        distance = np.sqrt(np.maximum((rows * rows).sum(axis=1)[:, None] - 2 * rows @ others.T + squares, 0))
        distance[np.arange(start, start + len(rows))[:, None] == references] = ALONE
        near = [np.log1p((distance < limit).sum(axis=1) * share) for limit in (ALIKE, ROUGHLY)]
        out[start : start + BLOCK] = np.stack((np.log(distance.min(axis=1) + 0.1), *near), axis=1)
    return out
