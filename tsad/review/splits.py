"""Which windows are gold: no training run may read them, every iteration is scored on them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.errors import ConfigError, LabelError
from tsad.core.intervals import clip, intervals_to_runs
from tsad.core.options import GoldOptions
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray
from tsad.core.windows import cut


@dataclass(frozen=True)
class GoldSplit:
    """Windows of labelled series kept for scoring, and all others; never one in both, nor overlapping in time."""

    gold: list[Window]
    pool: list[Window]


def reviewable(windows: Sequence[Window]) -> list[Window]:
    """The windows that hold at least one value; of the others nobody could say anything."""
    return [w for w in windows if np.isfinite(w.values).any()]


def is_disputed(window: Window) -> bool:
    """Whether it touches a stretch that the source's own annotators disagree about: nobody knows the truth there."""
    return bool(window.series.disputed) and bool(clip(window.series.disputed, *window.span))


def split_gold(series: Sequence[Series], options: GoldOptions, length: int) -> GoldSplit:
    """Split labelled series into gold and pool; unlabelled ones go to the pool.

    ``split=series`` gives whole series, a share of those with anomalies and of those without, chosen by a hash of seed
    and point: the same points whatever the order, and nearly the same when points are added. ``split=time`` gives the
    end of each series; where the boundary falls inside a labelled interval it moves to that interval's edge. Disputed
    windows go to the pool wherever they lie.

    Args:
        length: points per window.

    Raises:
        LabelError: no series has labels, or too few to keep some on both sides.
        ConfigError: an unknown split, a share outside 0..1.
    """
    if not 0.0 < options.share < 1.0:
        raise ConfigError(f"gold.share={options.share} is not between 0 and 1", "Use for example 0.3.")
    if options.split not in ("series", "time"):
        raise ConfigError(f"gold.split={options.split} is unknown", "Choose series or time.")
    labelled = [s for s in series if s.labels is not None and len(s) > 0]
    if not labelled:
        raise LabelError(
            f"None of the {len(series)} series has labels, so none can be gold",
            "Name a label column or a CSV of intervals, or let people review the gold set: gold.origin=people.",
        )
    if options.split == "time":
        starts = {id(s): _boundary(s, options.share, length) for s in labelled}
    else:
        held = _held_series(labelled, options)
        starts = {id(s): 0 for s in labelled if s.point_id in held}
    gold, pool = [], []
    for item in series:
        start = starts.get(id(item), len(item))
        held_windows = cut(item, length, start)
        pool += [*cut(item, length, 0, start), *(w for w in held_windows if is_disputed(w))]
        gold += [w for w in held_windows if not is_disputed(w)]
    return GoldSplit(reviewable(gold), reviewable(pool))


def _held_series(labelled: Sequence[Series], options: GoldOptions) -> set[str]:
    """Points whose series become gold: a share of each kind, with anomalies on both sides where there are two."""
    if len(labelled) < 2:
        raise LabelError(
            f"Only {labelled[0].point_id} has labels, so it cannot be both gold and training data",
            "Split in time instead: gold.split=time.",
        )

    def rank(item: Series) -> str:
        return hashlib.sha256(f"{options.seed}|{item.point_id}".encode()).hexdigest()

    abnormal = sorted((s for s in labelled if s.labels), key=rank)
    normal = sorted((s for s in labelled if not s.labels), key=rank)
    take = _share(len(abnormal), options.share, least=1)
    held = abnormal[:take]
    # A single abnormal series goes to the gold set; then the pool must keep a normal one, and it does.
    held += normal[: _share(len(normal), options.share, least=0 if held else 1)]
    return {s.point_id for s in held}


def _share(count: int, share: float, least: int) -> int:
    wanted = max(least, round(share * count))
    return min(wanted, max(count - 1, min(least, count)))


def _boundary(series: Series, share: float, length: int) -> int:
    """First gold position of a series split in time."""
    total = len(series)
    if total < 2:
        return total
    place = min(max(1, round(total * (1.0 - share))), total - 1)
    for start, stop in intervals_to_runs(series.labels or (), series.timestamps):
        if start < place < stop:
            after, before = int(stop), int(start)
            if total - after >= min(length, (total - place)) / 2:
                return after
            return before if before > 0 else place
    return place


def draw_gold(
    candidates: Sequence[Window], scores: FloatArray, options: GoldOptions
) -> list[tuple[int, float, str]]:
    """Draw the windows that people review as gold, stratified over the first detector's score.

    Strata halve in size towards the high scores (the lowest half of the windows, the next quarter, ...) and get equally
    many draws each, so that rare anomalies are found without leaving out the ordinary; inside a stratum every
    window has the same probability. Deterministic for a seed, whatever the order of the candidates.

    Args:
        candidates: N windows. scores: [N] highest score in each, 0..1.

    Returns:
        (index, inclusion probability, stratum) by index; ``stratum-0`` holds the lowest scores.

    Raises:
        ConfigError: no windows or no strata asked for.
    """
    if options.windows < 1 or options.strata < 1:
        raise ConfigError(
            f"gold.windows={options.windows} and gold.strata={options.strata} must both be at least 1",
            "Use for example gold.windows=60 gold.strata=4.",
        )
    count = len(candidates)
    if count == 0:
        return []
    names = [w.window_id for w in candidates]
    order = np.array(sorted(range(count), key=lambda i: (float(scores[i]), names[i])))
    size = min(options.windows, count)
    parts = [order[a:b] for a, b in itertools.pairwise(_strata_edges(count, min(options.strata, size)))]
    rng = np.random.default_rng(options.seed)
    picks = []
    for number, (members, quota) in enumerate(zip(parts, _quotas([len(p) for p in parts], size), strict=True)):
        for i in rng.choice(members, quota, replace=False):
            picks.append((int(i), quota / len(members), f"stratum-{number}"))
    return sorted(picks)


def _strata_edges(count: int, strata: int) -> list[int]:
    """Edges of strata that halve in size; every stratum holds at least one. count >= strata."""
    edges = [0]
    for k in range(1, strata):
        wanted = round(count * (1.0 - 0.5**k))
        edges.append(min(max(wanted, edges[-1] + 1), count - (strata - k)))
    return [*edges, count]


def _quotas(sizes: Sequence[int], total: int) -> list[int]:
    """Equally many draws per stratum, no more than it holds; what the small ones leave goes to the large ones."""
    quotas = [0] * len(sizes)
    left = total
    for place, k in enumerate(sorted(range(len(sizes)), key=lambda k: sizes[k])):
        quotas[k] = min(sizes[k], max(1, left // (len(sizes) - place)))
        left -= quotas[k]
    return quotas
