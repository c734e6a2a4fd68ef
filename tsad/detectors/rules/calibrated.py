"""Candidates with a calibrated probability each, corrected by every review."""

from __future__ import annotations

from dataclasses import replace

from tsad.detectors.proposals.proposer import Proposer, default_proposer
from tsad.detectors.rules.base import KnownScores, ThresholdRule


class CalibratedRule(ThresholdRule):
    """The threshold is a probability, taken from the candidates nobody has seen; ``default`` replaces the first one."""

    proposes = True

    def choose(self, evidence: KnownScores) -> float:
        """No threshold of scores is asked of this rule."""
        raise NotImplementedError("calibrated proposals take their threshold from their proposer")

    def first_proposer(self, detector: str) -> Proposer:
        """The default weights' proposer; ``default`` = 0 keeps the probability that suits them."""
        proposer = default_proposer(detector)
        return replace(proposer, threshold=self.settings.default) if self.settings.default else proposer
