"""A fixed share of the points nobody has looked at counts as abnormal."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tsad.core.options import ThresholdOptions
from tsad.detectors.rules.base import KnownScores, ThresholdRule


class QuantileOptions(ThresholdOptions):
    """What :class:`QuantileRule` takes."""

    quantile: float = Field(gt=0, lt=1)  # share of points below the threshold


class QuantileRule(ThresholdRule):
    """That quantile of the unlabelled scores; the default where there are none."""

    reads_unlabelled = True
    options_model = QuantileOptions
    settings: QuantileOptions

    def choose(self, evidence: KnownScores) -> float:
        """See :meth:`ThresholdRule.choose`."""
        unlabelled = evidence.unlabelled
        if sum(len(s) for s in unlabelled) == 0:
            return self.settings.default
        return float(np.clip(np.nanquantile(np.concatenate(unlabelled), self.settings.quantile), 0.0, 1.0))
