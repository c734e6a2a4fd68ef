"""Which windows people see: drawn by chance, each with the true probability of having been chosen.

Nothing is picked outright. A strategy turns scores into weights, weights into inclusion probabilities that sum
to the number of windows asked for, and systematic sampling draws exactly that many with exactly those
probabilities (Madow 1949; Tillé 2006, Sampling Algorithms, 7.1). So estimates that weight by the inverse of the
probability are unbiased, however sharply a strategy prefers some windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.review.splits import is_disputed
from tsad.review.strategies.base import FLOOR, Pool, Strategy
from tsad.review.strategies.random import Random

# No strategies to configure: what people at the source disagree about, and what reviewers of this loop do.
DISPUTED, CONFLICT = "disputed", "conflict"


def select(pool: Pool, strategy: Strategy, seed: int = 0) -> list[tuple[int, float, str]]:
    """Draw as many windows as the strategy's ``windows`` says, without replacement.

    Of windows that are all but the same one is drawn by chance first, and the sampler chooses among these; the
    probability is the product of both (two-phase sampling: Särndal, Swensson and Wretman 1992, 9.3). Where that leaves
    fewer than are asked for, all are offered, the likes of one with the weight of one together. Those that people have
    answered in another window hardly come up, but they may.

    Args:
        pool: windows that nobody has reviewed; the caller leaves out the reviewed ones.
        strategy: which windows it prefers, and how many it takes.
        seed: varies the draw between iterations, beside the strategy's own.

    Returns:
        (index, inclusion probability, strategy) by index. With a mix the probability is that of the whole
        mixed design, and the strategy is drawn in proportion to what each contributed to it. ``max_per_series`` is
        honoured exactly; it lowers the probabilities inside a crowded series and raises those elsewhere, and
        the probabilities given account for it. Fewer windows come back where the limit leaves no more.
    """
    options = strategy.settings
    if len(pool) == 0:
        return []
    rng = np.random.default_rng([options.seed, seed])
    whole, likes = pool, _likes(pool)
    offered, chance = _offered(pool, likes, options.windows, rng)
    if len(offered) < len(whole):
        pool, likes = whole.of(offered), np.ones(len(offered))
    groups = np.unique([w.point_id for w in pool.windows], return_inverse=True)[1].astype(np.int64)
    weighed = strategy.parts(pool)
    rarer = np.where(pool.answered, FLOOR, 1.0) / likes if pool.answered is not None else 1.0 / likes
    # Never below the floor that a strategy keeps: no estimate is one window's mercy.
    weighed = [replace(p, weights=np.maximum(rarer * p.weights, FLOOR * p.weights.max())) for p in weighed]
    total = sum(part.share for part in weighed)
    parts = np.array([capped(part.weights, options.windows * part.share / total) for part in weighed])  # [S, N]
    probabilities = inclusion_probabilities(parts.sum(axis=0), groups, options.windows, options.max_per_series)
    chosen = systematic(probabilities, groups, rng, strategy.spread_over(pool), options.max_per_series)
    names = [part.name for part in weighed]
    picks = []
    for i in np.flatnonzero(chosen):
        origin = rng.choice(len(names), p=parts[:, i] / parts[:, i].sum())
        picks.append((int(offered[i]), float(probabilities[i] * chance[i]), names[origin]))
    return picks


def _likes(pool: Pool) -> FloatArray:
    """How many windows are all but the same as each, itself counted. [N]."""
    if pool.groups is None:
        return np.ones(len(pool))
    _, group, counts = np.unique(pool.groups, return_inverse=True, return_counts=True)
    return np.asarray(counts[group], np.float64)


def _offered(pool: Pool, likes: FloatArray, size: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """One window of each group by chance, in order, and the probability of that; all where these are fewer than
    ``size``. [M], [M].
    """
    every = np.arange(len(pool), dtype=np.int64)
    if pool.groups is None or not size <= round((1.0 / likes).sum()) < len(pool):
        return every, np.ones(len(pool))
    shuffled = rng.permutation(len(pool))
    _, first = np.unique(pool.groups[shuffled], return_index=True)
    chosen = np.sort(shuffled[first]).astype(np.int64)
    return chosen, 1.0 / likes[chosen]


def disputed_first(
    pool: Pool, strategy: Strategy, seed: int = 0, conflicts: Sequence[bool] = ()
) -> list[tuple[int, float, str]]:
    """As :func:`select`, but windows that people disagree about come before all others.

    They are chosen with probability 1 and strategy ``conflict`` or, where the source's annotators disagree,
    ``disputed``, whatever ``max_per_series`` says; where they are more than ``options.windows``, that many of them by
    chance, alike. The sampler draws the rest of the budget from the other candidates, so their probabilities are those
    of a draw among them.

    Args:
        conflicts: whether reviewers left each candidate in conflict; none = no candidate.
    """
    again = np.array(conflicts if len(conflicts) else np.zeros(len(pool)), dtype=bool)
    first = again | np.array([is_disputed(w) for w in pool.windows], dtype=bool)
    if not first.any():
        return select(pool, strategy, seed)
    doubtful, others = np.flatnonzero(first), np.flatnonzero(~first)
    alike = np.zeros(len(doubtful))
    options = strategy.settings
    plain = Random(windows=options.windows, max_per_series=0, seed=options.seed, once=0.0)
    picks = select(Pool([pool.windows[i] for i in doubtful], alike, alike), plain, seed)
    chosen = [
        (int(doubtful[k]), probability, CONFLICT if again[doubtful[k]] else DISPUTED) for k, probability, _ in picks
    ]
    left = options.windows - len(chosen)
    if not left:
        return chosen
    rest = select(pool.of(others), strategy.drawing(left), seed)
    return [*chosen, *((int(others[k]), probability, name) for k, probability, name in rest)]


def capped(weights: FloatArray, size: float) -> FloatArray:
    """Probabilities proportional to the weights, at most 1, that sum to ``min(size, N)``. [N] > 0 -> [N]."""
    probabilities = np.ones(len(weights))
    if size >= len(weights):
        return probabilities
    rest = np.ones(len(weights), dtype=bool)
    while True:
        left = size - (len(weights) - rest.sum())
        probabilities[rest] = left * weights[rest] / weights[rest].sum()
        full = rest & (probabilities >= 1.0)
        if not full.any():
            return probabilities
        probabilities[full] = 1.0
        rest &= ~full


def inclusion_probabilities(weights: FloatArray, groups: IntArray, size: int, limit: int) -> FloatArray:
    """Probabilities as :func:`capped`, with at most ``limit`` expected windows per group (0 = no limit). [N] -> [N].

    A group beyond its limit is set to it, and what it gives up is shared out among the others, which
    can only raise theirs; so the search ends after at most as many rounds as there are groups.
    """
    if limit <= 0:
        return capped(weights, size)
    free: BoolArray = np.ones(len(weights), dtype=bool)
    probabilities = np.zeros(len(weights))
    counts = np.bincount(groups)
    while free.any():
        probabilities[free] = capped(weights[free], size - probabilities[~free].sum())
        sums = np.bincount(groups, probabilities, minlength=len(counts))
        over = [g for g in np.unique(groups[free]) if sums[g] > limit + 1e-9]
        if not over:
            break
        for group in over:
            members = groups == group
            probabilities[members] = capped(weights[members], limit)
            free &= ~members
    return probabilities


def systematic(
    probabilities: FloatArray, groups: IntArray, rng: np.random.Generator, along: FloatArray | None = None,
    limit: int = 0,
) -> BoolArray:
    """Draw with exactly the given inclusion probabilities, which sum to a whole number. [N] -> [N] bool.

    Units lie end to end on a line, group by group in random order, each as long as its probability; a grid of step 1
    with a random start hits the chosen ones. A group of total length m is hit at most ``ceil(m)`` times,
    which is what keeps ``max_per_series`` exactly. With ``along`` [N] units lie in its order, equal ones by chance:
    inside their groups where there is a ``limit``, else all of them.
    """
    chosen: BoolArray = probabilities >= 1.0 - 1e-12
    shuffled = rng.permutation(len(probabilities))
    place = rng.permutation(int(groups.max()) + 1)
    if along is not None:
        shuffled = shuffled[np.argsort(along[shuffled], kind="stable")]
    by_group = along is None or limit > 0
    order = shuffled[np.argsort(place[groups[shuffled]], kind="stable")] if by_group else shuffled
    order = order[~chosen[order]]
    if len(order) == 0:
        return chosen
    edges = np.cumsum(probabilities[order])
    size = round(edges[-1])
    # Dividing by the last edge takes out the rounding errors of the sum, which could lose the last hit.
    hits = (np.arange(size) + rng.random()) / max(size, 1)
    chosen[order[np.searchsorted(edges / edges[-1], hits, side="right")]] = True
    return chosen
