"""Windows with the highest scores: confirms or refutes what would alarm."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.review.strategies.base import Component, Pool, SharpOptions, Strategy, sharpened


class TopScore(Strategy):
    """Prefers high scores."""

    name = "top_score"
    options_model = SharpOptions
    settings: SharpOptions

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        return [Component(self.name, 1.0, sharpened(pool.scores, self.settings.temperature))]
