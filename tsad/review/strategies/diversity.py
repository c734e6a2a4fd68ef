"""Windows unlike each other and unlike what people have reviewed: nothing of a kind is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.embeddings.table import centre_radii
from tsad.review.strategies.base import ComparingOptions, Component, Pool, Strategy, sharpened


class Diversity(Strategy):
    """Prefers the centres of a greedy k-centre order of the embeddings, begun at what people have reviewed.

    As many centres as windows are drawn, all alike; the others by their distance to the nearest of them, relative to
    that of the last centre.
    """

    name = "diversity"
    options_model = ComparingOptions
    settings: ComparingOptions

    @property
    def asks_for(self) -> frozenset[str]:
        return frozenset({"embedded"})

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`."""
        assert pool.embedded is not None, "it asks for it"
        reviewed = np.arange(len(pool), len(pool.embedded), dtype=np.int64)
        first = int(pool.scores.argmax())
        radii = centre_radii(pool.embedded, self.settings.windows, first, reviewed)[: len(pool)]
        centre = np.sort(radii)[-min(self.settings.windows, len(radii))]  # the radius of the last one taken
        apart = np.minimum(radii / centre, 1.0) if centre > 0 else np.ones(len(radii))
        return [Component(self.name, 1.0, sharpened(apart, self.settings.temperature))]
