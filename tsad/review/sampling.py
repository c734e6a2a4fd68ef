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

from tsad.core.errors import ConfigError
from tsad.core.options import SamplingOptions
from tsad.core.series import Window
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.review.splits import is_disputed

STRATEGIES = ("top_score", "low_confidence", "random")
DISPUTED = "disputed"  # no strategy to configure: what people at the source disagree about
FLOOR = 1e-3  # least weight beside the highest: no window has probability zero, no estimate one window's mercy


def select(
    candidates: Sequence[Window],
    window_scores: FloatArray,
    uncertainty: FloatArray,
    options: SamplingOptions,
    seed: int = 0,
) -> list[tuple[int, float, str]]:
    """Draw ``options.windows`` candidates without replacement.

    Args:
        candidates: N windows that nobody has reviewed; the caller leaves out the reviewed ones.
        window_scores: [N] highest score in each window, 0..1.
        uncertainty: [N] 0..1, higher = the detector is less sure.
        seed: varies the draw between iterations, beside ``options.seed``.

    Returns:
        (index, inclusion probability, strategy) by index. With ``strategy=mix`` the probability is that of the whole
        mixed design, and the strategy is drawn in proportion to what each contributed to it. ``max_per_series`` is
        honoured exactly; it lowers the probabilities inside a crowded series and raises those elsewhere, and
        the probabilities given account for it. Fewer windows come back where the limit leaves no more.

    Raises:
        ConfigError: an unknown strategy, a mix without ``random``, a temperature that is not positive.
    """
    check_options(options)
    count = len(candidates)
    if count == 0 or options.windows <= 0:
        return []
    scores, doubts = _unit(window_scores, count, "window_scores"), _unit(uncertainty, count, "uncertainty")
    rng = np.random.default_rng([options.seed, seed])
    groups = np.unique([w.point_id for w in candidates], return_inverse=True)[1].astype(np.int64)
    shares = options.mix if options.strategy == "mix" else {options.strategy: 1.0}
    parts = strategy_parts(shares, scores, doubts, options)
    probabilities = inclusion_probabilities(parts.sum(axis=0), groups, options.windows, options.max_per_series)
    chosen = systematic(probabilities, groups, rng)
    names = list(shares)
    picks = []
    for i in np.flatnonzero(chosen):
        origin = rng.choice(len(names), p=parts[:, i] / parts[:, i].sum())
        picks.append((int(i), float(probabilities[i]), names[origin]))
    return picks


def disputed_first(
    candidates: Sequence[Window],
    window_scores: FloatArray,
    uncertainty: FloatArray,
    options: SamplingOptions,
    seed: int = 0,
) -> list[tuple[int, float, str]]:
    """As :func:`select`, but windows that the source's annotators disagree about come before all others.

    They are chosen with probability 1 and strategy ``disputed``, whatever ``max_per_series`` says; where they are
    more than ``options.windows``, that many of them by chance, alike. The sampler draws the rest of the budget from the
    other candidates, so their probabilities are those of a draw among them.
    """
    first = np.array([is_disputed(w) for w in candidates], dtype=bool)
    if not first.any():
        return select(candidates, window_scores, uncertainty, options, seed)
    check_options(options)
    doubtful, others = np.flatnonzero(first), np.flatnonzero(~first)
    alike = np.zeros(len(doubtful))
    plain = replace(options, strategy="random", max_per_series=0)
    picks = select([candidates[i] for i in doubtful], alike, alike, plain, seed)
    chosen = [(int(doubtful[k]), probability, DISPUTED) for k, probability, _ in picks]
    left = replace(options, windows=options.windows - len(chosen))
    rest = select([candidates[i] for i in others], window_scores[others], uncertainty[others], left, seed)
    return [*chosen, *((int(others[k]), probability, name) for k, probability, name in rest)]


def check_options(options: SamplingOptions) -> None:
    """Refuse what cannot be drawn from, by the name of the key.

    Raises:
        ConfigError: see :func:`select`.
    """
    known = ", ".join((*STRATEGIES, "mix"))
    if options.strategy not in (*STRATEGIES, "mix"):
        raise ConfigError(f"sampling.strategy={options.strategy} is unknown", f"Choose one of {known}.")
    if options.temperature <= 0:
        raise ConfigError(f"sampling.temperature={options.temperature} is not positive", "Use for example 0.1.")
    if options.strategy != "mix":
        return
    unknown = sorted(set(options.mix) - set(STRATEGIES))
    if unknown:
        raise ConfigError(f"sampling.mix names unknown strategies: {', '.join(unknown)}", f"Known: {known}.")
    if any(share < 0 for share in options.mix.values()) or options.mix.get("random", 0.0) <= 0:
        raise ConfigError(
            f"sampling.mix={options.mix} needs shares >= 0 and random > 0",
            "Without a random share nothing can be said of the windows that no strategy prefers.",
        )


def strategy_parts(
    shares: dict[str, float], scores: FloatArray, doubts: FloatArray, options: SamplingOptions
) -> FloatArray:
    """What each strategy would contribute alone: its inclusion probabilities at its share of the windows. [S, N]."""
    total = sum(shares.values())
    values = {"top_score": scores, "low_confidence": doubts, "random": np.zeros_like(scores)}
    rows = []
    for name, share in shares.items():
        weights = np.exp((values[name] - values[name].max()) / options.temperature)
        rows.append(capped(np.maximum(weights, FLOOR), options.windows * share / total))
    return np.array(rows)


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


def systematic(probabilities: FloatArray, groups: IntArray, rng: np.random.Generator) -> BoolArray:
    """Draw with exactly the given inclusion probabilities, which sum to a whole number. [N] -> [N] bool.

    Units lie end to end on a line, group by group in random order, each as long as its probability; a grid of step 1
    with a random start hits the chosen ones. A group of total length m is hit at most ``ceil(m)`` times,
    which is what keeps ``max_per_series`` exactly.
    """
    chosen: BoolArray = probabilities >= 1.0 - 1e-12
    shuffled = rng.permutation(len(probabilities))
    place = rng.permutation(int(groups.max()) + 1)
    order = shuffled[np.argsort(place[groups[shuffled]], kind="stable")]
    order = order[~chosen[order]]
    if len(order) == 0:
        return chosen
    edges = np.cumsum(probabilities[order])
    size = round(edges[-1])
    # Dividing by the last edge takes out the rounding errors of the sum, which could lose the last hit.
    hits = (np.arange(size) + rng.random()) / max(size, 1)
    chosen[order[np.searchsorted(edges / edges[-1], hits, side="right")]] = True
    return chosen


def _unit(values: FloatArray, count: int, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (count,) or not np.all((array >= 0) & (array <= 1)):
        raise ValueError(f"{name} must be {count} numbers in 0..1, got shape {array.shape}")
    return array
