"""Every window alike: a fair sample, at the price of few anomalies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import FloatArray
from tsad.review.strategies.base import Component, Strategy


class Random(Strategy):
    """Prefers none."""

    name = "random"

    def parts(self, scores: FloatArray, doubts: FloatArray) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        return [Component(self.name, 1.0, np.ones(len(scores)))]
