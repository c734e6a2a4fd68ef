"""Windows whose scores lie near the threshold: settles doubts."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.review.strategies.base import Component, Pool, SharpOptions, Strategy, sharpened


class LowConfidence(Strategy):
    """Prefers what the detector is least sure of."""

    name = "low_confidence"
    options_model = SharpOptions
    settings: SharpOptions

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        return [Component(self.name, 1.0, sharpened(pool.doubts, self.settings.temperature))]
