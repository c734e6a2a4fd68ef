"""The kind head's opinions of all network windows of a series, put together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.evidence.examined import Kinds

SLOT = 32  # points that share a kind


class KindTable:
    """Adds up what windows at several scales, of several channels, say of the kinds in one series.

    Args:
        names: all kinds that the network tells apart, the normal one first; of weights that name none, none.
        length: points of the series.
        patch: points of a scale per token.
    """

    def __init__(self, names: tuple[str, ...], length: int, patch: int) -> None:
        self._names, self._patch = names, patch
        self._table = np.zeros((-(-length // SLOT), max(0, len(names) - 1)), np.float32)

    def add(self, logits: npt.NDArray[np.float32], start: int, size: int, scale: int) -> None:
        """One window's kind logits [tokens, kinds]; its first point and its points without padding, of that scale."""
        if self._names:
            self.add_likely(likely_kinds(logits), start, size, scale)

    def add_likely(
        self, likely: npt.NDArray[np.float32], start: int, size: int, scale: int, since: int = 0
    ) -> None:
        """The same of :func:`likely_kinds`; the slots before ``since`` stay as they are."""
        first, last = max(since, start * scale // SLOT), -(-(start + size) * scale // SLOT)
        part = self._table[first:last]
        middle = np.arange(first, first + len(part)) * SLOT + SLOT // 2
        tokens = -(-size // self._patch)
        owner = np.clip((middle // scale - start) // self._patch, 0, tokens - 1)  # the token over each slot
        part += likely[owner]  # the highest of the windows instead: 2.6% fewer right (benchmarks/kinds.py)

    def kinds(self) -> Kinds | None:
        """What they say together; ``None`` where the weights do not name their kinds."""
        return Kinds(self._names[1:], self.weights(), SLOT) if self._names else None

    def weights(self) -> npt.NDArray[np.float16]:
        """[slots, kinds], the normal one left out."""
        return self._table.astype(np.float16)


def likely_kinds(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Shares of all kinds but the normal one, of each token by itself. [tokens, kinds] -> [tokens, kinds - 1]."""
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(likely[:, 1:] / likely.sum(axis=1, keepdims=True))


def kind_names(recipe: object, count: int) -> tuple[str, ...]:
    """Names of ``count`` kinds as the weights' recipe holds them; none where it does not hold so many."""
    names = recipe.get("kinds") if isinstance(recipe, dict) else None
    return tuple(str(name) for name in names) if names and len(names) == count else ()


def confusion(truth: IntArray, told: IntArray, count: int) -> FloatArray:
    """How often kind i was called kind j. truth, told [N] int -> [count, count]."""
    return np.bincount(truth * count + told, minlength=count * count).reshape(count, count).astype(np.float64)
