"""One threshold for good."""

from __future__ import annotations

from tsad.core.options import ThresholdOptions
from tsad.detectors.rules.base import KnownScores, ThresholdRule


class FixedRule(ThresholdRule):
    """The default, whatever people say."""

    options_model = ThresholdOptions

    def choose(self, evidence: KnownScores) -> float:
        """See :meth:`ThresholdRule.choose`."""
        return self.settings.default
