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
from tsad.review.gold.base import Draw, GoldRule


class PeopleOptions(GoldOptions):
    """What rules take that let people review the gold windows."""

    windows: int = Field(ge=1)  # drawn for people
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
    """Draws windows for people, stratified over the first detector's score.

    Strata halve in size towards the high scores (the lowest half of the windows, the next quarter, ...) and get equally
    many draws each, so that rare anomalies are found without leaving out the ordinary; inside a stratum every
    window has the same probability. Deterministic for a seed, whatever the order of the candidates.
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
