"""The embedding of a base model: what its network makes of the values, handed in by whoever holds the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tsad.core.types import FloatArray


class HiddenEmbedding:
    """Hidden states of a frozen network, pooled.

    Args:
        digest: SHA-256 (hex) of the base weights: vectors of another base are never compared with these.
        states: gives a vector of each stretch of values, [N, D]; e.g. ``Detector.hidden_states``.
    """

    name = "base"

    def __init__(self, digest: str, states: Callable[[Sequence[FloatArray]], FloatArray]) -> None:
        self.identity, self._states = f"base:{digest}", states

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """A vector of each stretch of values. [L] each -> [N, D]."""
        return self._states(stretches)
