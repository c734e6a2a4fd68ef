"""Gold windows drawn once and reviewed by people, without proposals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from tsad.core.option_model import Options, Refusal
from tsad.core.options import GoldOptions
from tsad.core.series import Window
from tsad.core.types import FloatArray
from tsad.files.hashing import digest_of_text
from tsad.review.gold.base import Draw, GoldRule


class PeopleOptions(GoldOptions):
    """What rules take that let people review the gold windows."""

    windows: int = Field(ge=1)  # drawn for people, at most
    windows_share: float = Field(gt=0, lt=1)  # of the windows there are, at most
    strata: int = Field(ge=1)  # of the first detector's score

    @model_validator(mode="after")
    def _a_window_each(self) -> PeopleOptions:
        if self.strata > self.windows:
            raise Refusal(
                "{strata} is {0} but {windows} is {1}",
                "Every stratum needs a window; lower {strata}.",
                self.strata,
                self.windows,
            )
        return self


class PeopleGold(GoldRule):
    """Draws windows for people, stratified over the first detector's score, and leaves most of them to learn from.

    Two phases (Sarndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, 9.3). First one window of each
    series, by chance, is kept for training, so that no series is all gold; a series of a single window gives none as
    long as the others have enough. Then strata that halve in size towards the high scores (the lowest half of what is
    left, the next quarter, ...) get equally many draws each, so that rare anomalies are found without leaving out the
    ordinary. A window's probability is the product of both phases', and estimates that weight by its inverse are
    unbiased. Deterministic for a seed, whatever the order of the candidates.
    """

    needs_people = True
    options_model: ClassVar[type[Options]] = PeopleOptions
    settings: PeopleOptions

    def by_people(self, labelled: bool) -> bool:
        """Always."""
        return True

    def draw(self, candidates: Sequence[Window], scores: FloatArray) -> Draw:
        """See :meth:`GoldRule.draw`; ``stratum-0`` holds the lowest scores."""
        options = self.settings
        if len(candidates) < 2:  # one of them has to teach
            return []
        names = [w.window_id for w in candidates]
        wanted = min(options.windows, max(1, int(options.windows_share * len(candidates))))
        free = _free([w.point_id for w in candidates], names, wanted, options.seed)
        size = min(wanted, len(free))
        order = np.array(sorted(free, key=lambda i: (float(scores[i]), names[i])))
        parts = [order[a:b] for a, b in itertools.pairwise(_strata_edges(len(order), min(options.strata, size)))]
        rng = np.random.default_rng(options.seed)
        picks = []
        for number, (members, quota) in enumerate(zip(parts, _quotas([len(p) for p in parts], size), strict=True)):
            for i in rng.choice(members, quota, replace=False):
                picks.append((int(i), free[int(i)] * quota / len(members), f"stratum-{number}"))
        return sorted(picks)


def _free(points: Sequence[str], names: Sequence[str], wanted: int, seed: int) -> dict[int, float]:
    """Windows that may be gold, with the probability that they may: all but one of each series, chosen by a hash."""
    members: dict[str, list[int]] = {}
    for index, point in enumerate(points):
        members.setdefault(point, []).append(index)
    free: dict[int, float] = {}
    for own in members.values():
        kept = min(own, key=lambda i: digest_of_text(f"{seed}|{names[i]}"))
        free |= {i: 1.0 - 1.0 / len(own) for i in own if i != kept}
    if len(free) < wanted:
        free |= {own[0]: 1.0 for own in members.values() if len(own) == 1}
    return free


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
