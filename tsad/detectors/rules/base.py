"""What every threshold rule answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tsad.core.option_model import Configured, Options
from tsad.core.options import ThresholdRuleOptions
from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.proposals.proposer import Proposer


@dataclass(frozen=True, kw_only=True)
class KnownScores:
    """What a threshold is chosen from; never a gold window (DESIGN.md 5, rule 3).

    Attributes:
        scores: per reviewed training window [L], by the detector that will use the threshold.
        truths: per reviewed training window [L] bool, in the same order.
        weights: inverse inclusion probability of each reviewed window.
        unlabelled: scores of series (or windows) nobody has looked at.
    """

    scores: Sequence[FloatArray] = ()
    truths: Sequence[BoolArray] = ()
    weights: FloatArray = field(default_factory=lambda: np.empty(0))
    unlabelled: Sequence[FloatArray] = ()


class ThresholdRule(Configured, ABC):
    """From which score on a point counts as abnormal, or which proposer decides instead.

    Attributes:
        reads_unlabelled: whether ``choose`` looks at unlabelled scores, which cost a pass over the series.
        proposes: whether candidates with calibrated probabilities are proposed instead of runs of points; then the
            proposer holds the threshold, and reviews correct it.
    """

    group = "threshold"
    reads_unlabelled: ClassVar[bool] = False
    proposes: ClassVar[bool] = False
    options_model: ClassVar[type[Options]] = ThresholdRuleOptions
    settings: ThresholdRuleOptions

    def __init__(self, options: ThresholdRuleOptions | None = None, **given: Any) -> None:
        self.settings = self.configured(options, given)

    @abstractmethod
    def choose(self, evidence: KnownScores) -> float:
        """The score threshold, 0..1."""

    def first_proposer(self, detector: str) -> Proposer | None:
        """What makes a detector's proposals before any review; ``None`` = runs of points above the threshold."""
        return None
