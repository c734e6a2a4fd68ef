"""Windows like those that people have judged: what one answer has taught is asked about again elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.review.strategies.base import ComparingOptions, Component, Pool, Strategy, sharpened


class LookAlikes(Strategy):
    """Prefers windows whose surest candidate looks like an interval that people have confirmed or rejected."""

    name = "look_alikes"
    options_model = ComparingOptions
    settings: ComparingOptions

    @property
    def asks_for(self) -> frozenset[str]:
        return frozenset({"likeness"})

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        assert pool.likeness is not None, "it asks for it"
        return [Component(self.name, 1.0, sharpened(pool.likeness, self.settings.temperature))]
