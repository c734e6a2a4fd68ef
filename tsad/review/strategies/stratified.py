"""Every window alike, spread over the scores: a fair sample that misses no level of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import FloatArray
from tsad.review.strategies.base import Component, Pool, Strategy


class Stratified(Strategy):
    """Prefers none, and draws as many from each equal part of the windows in order of score.

    Systematic sampling along the scores: as many strata as windows are drawn, one from each.
    """

    name = "stratified"

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        return [Component(self.name, 1.0, np.ones(len(pool)))]

    def spread_over(self, pool: Pool) -> FloatArray | None:
        """The scores."""
        return pool.scores
