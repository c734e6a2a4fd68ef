"""The embedding of a base model: what its network makes of the values, handed in by whoever holds the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tsad.core.series import Series, Window
from tsad.core.types import FloatArray
from tsad.embeddings.kept import KeptEmbedding
from tsad.synthetic.generator import GENERATOR_VERSION, make_batch

RECIPE = 2  # of the vectors
USUAL = ((64, 24), (128, 24), (256, 24))  # synthetic stretches that say what is usual: points, how many
SEED = 0
TINY = 1e-9
States = Callable[[Sequence[FloatArray]], FloatArray]


class HiddenEmbedding:
    """Hidden states of a frozen network, pooled, as directions from what is usual for this network.

    Networks give much the same states for whatever they see. So each state counts by how far it lies from its mean over
    a fixed set of synthetic stretches, in its deviations over them: a vector depends on its own values alone, and a
    distance means the same whatever else is compared.

    Args:
        digest: SHA-256 (hex) of the base weights: vectors of another base are never compared with these.
        states: gives a vector of each stretch of values, [N, D]; e.g. ``Detector.hidden_states``.
        folder: where the states of the synthetic stretches are kept.
    """

    name = "base"

    def __init__(self, digest: str, states: States, folder: Path) -> None:
        self.identity = f"base:{RECIPE}:{GENERATOR_VERSION}:{digest}"
        self._raw, self._folder = _Raw(f"states:{digest}", states), folder

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """A vector of each stretch of values, of length 1; zeros for what does not vary. [L] each -> [N, D]."""
        states = self._raw.embed(stretches)
        centre, spread = self._usual
        away = np.where(states.any(axis=1, keepdims=True), (states - centre) / spread, 0.0)
        lengths = np.linalg.norm(away, axis=1, keepdims=True)
        return np.asarray(away / np.where(lengths > TINY, lengths, 1.0))

    @cached_property
    def _usual(self) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of each state over the synthetic stretches. [D], [D]."""
        table, _ = KeptEmbedding(self._raw, self._folder).of(_synthetic())
        states = table.vectors[table.vectors.any(axis=1)]
        spread = states.std(axis=0)
        return states.mean(axis=0), np.where(spread > TINY, spread, 1.0)


@dataclass(frozen=True)
class _Raw:
    """States as the network gives them."""

    identity: str
    states: States
    name: str = "states"

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        return np.asarray(self.states(stretches), np.float64)


def _synthetic() -> list[Window]:
    rng = np.random.default_rng(SEED)
    rows = [row for points, count in USUAL for row in make_batch(rng, count, points).values]
    series = [Series("usual", np.arange(len(row), dtype=np.int64), row[:, None].astype(np.float64)) for row in rows]
    return [Window(one, 0, len(one)) for one in series]
