"""Windows that the members of a committee disagree about: the answer tells whom to trust."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.review.strategies.base import Component, Pool, SharpOptions, Strategy, sharpened


class Disagreement(Strategy):
    """Prefers windows in which some members propose what others do not."""

    name = "disagreement"
    options_model = SharpOptions
    settings: SharpOptions

    @property
    def asks_for(self) -> frozenset[str]:
        return frozenset({"dissent"})

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        assert pool.dissent is not None, "it asks for it"
        return [Component(self.name, 1.0, sharpened(pool.dissent, self.settings.temperature))]
