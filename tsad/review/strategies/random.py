"""Every window alike: a fair sample, at the price of few anomalies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.review.strategies.base import Component, Pool, Strategy


class Random(Strategy):
    """Prefers none."""

    name = "random"

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        return [Component(self.name, 1.0, np.ones(len(pool)))]
