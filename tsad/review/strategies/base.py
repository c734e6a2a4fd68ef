"""What every sampling strategy answers: how much it prefers each window. ``review.sampling`` draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from tsad.core.option_model import Configured, Options
from tsad.core.options import SamplingOptions
from tsad.core.series import Window
from tsad.core.types import BoolArray, EmbeddingName, FloatArray, IntArray
from tsad.embeddings.table import Embedded

FLOOR = 1e-3  # least weight beside the highest: no window has probability zero, no estimate one window's mercy


@dataclass(frozen=True, eq=False)
class Pool:
    """N windows that nobody has reviewed, and what is known of them; what a strategy does not ask for is ``None``.

    Attributes:
        scores: [N] highest score in each window, 0..1.
        doubts: [N] 0..1, higher = the detector is less sure.
        dissent: [N] 0..1, how far the members of a committee disagree.
        likeness: [N] 0..1, how like its surest candidate is to one that people have judged.
        embedded: the windows, and after them those that people have reviewed.
        groups: [N] windows of one number are all but the same.
        answered: [N] bool, all but the same as one that people have reviewed.
    """

    windows: Sequence[Window]
    scores: FloatArray
    doubts: FloatArray
    dissent: FloatArray | None = None
    likeness: FloatArray | None = None
    embedded: Embedded | None = None
    groups: IntArray | None = None
    answered: BoolArray | None = None

    def __post_init__(self) -> None:
        for name in ("scores", "doubts", "dissent", "likeness"):
            values = getattr(self, name)
            if values is not None and not (values.shape == (len(self),) and np.all((values >= 0) & (values <= 1))):
                raise ValueError(f"{name} must be {len(self)} numbers in 0..1, got shape {values.shape}")

    def __len__(self) -> int:
        return len(self.windows)

    def of(self, rows: IntArray) -> Pool:
        """Only these windows."""

        def some(values: Any) -> Any:
            return None if values is None else values[rows]

        table = self.embedded
        if table is not None:
            beyond = np.arange(len(self), len(table))
            table = Embedded(table.identity, table.vectors[np.concatenate((rows, beyond)).astype(np.int64)])
        return Pool(
            [self.windows[k] for k in rows], self.scores[rows], self.doubts[rows], some(self.dissent),
            some(self.likeness), table, some(self.groups), some(self.answered),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Component:
    """One strategy's part of a draw: its share of the windows, and the weight of each candidate, [N] > 0."""

    name: str
    share: float
    weights: FloatArray


class Strategy(Configured, ABC):
    """Prefers some windows over others; none is picked outright, none left out.

    Attributes:
        name: goes with every window drawn.
    """

    group = "sampling"
    name: ClassVar[str]
    options_model: ClassVar[type[Options]] = SamplingOptions
    settings: SamplingOptions

    def __init__(self, options: SamplingOptions | None = None, **given: Any) -> None:
        self.settings = self.configured(options, given)

    @property
    def asks_for(self) -> frozenset[str]:
        """What of a pool it reads beside scores and doubts: ``dissent``, ``likeness``, ``embedded``."""
        return frozenset()

    @property
    def embedding(self) -> EmbeddingName:
        """What windows are compared by, where it compares them."""
        return getattr(self.settings, "embedding", "shape")

    @abstractmethod
    def parts(self, pool: Pool) -> Sequence[Component]:
        """The parts of a draw from the windows of a pool."""

    def spread_over(self, pool: Pool) -> FloatArray | None:
        """What the windows drawn are spread over evenly, [N]; ``None`` = over series, else by chance."""
        return None

    def drawing(self, windows: int) -> Self:
        """The same strategy, taking another number of windows."""
        return type(self)(self.settings.model_copy(update={"windows": windows}))


class SharpOptions(SamplingOptions):
    """What strategies take that a value drives."""

    temperature: float = Field(gt=0)  # how sharply the value drives the choice; small = sharper


class ComparingOptions(SharpOptions):
    """What strategies take that compare windows."""

    embedding: EmbeddingName


def sharpened(values: FloatArray, temperature: float) -> FloatArray:
    """Weights that fall e-fold per ``temperature`` below the highest value, down to a floor. [N] -> [N]."""
    weights: FloatArray = np.maximum(np.exp((values - values.max()) / temperature), FLOOR)
    return weights


def doubts_of(peaks: FloatArray, threshold: float) -> FloatArray:
    """Where a detector knows least: 1 at the threshold, 0 at either end of the scale. [N] -> [N]."""
    room = np.where(peaks > threshold, 1 - threshold, threshold).clip(1e-9)
    doubts: FloatArray = (1.0 - np.abs(peaks - threshold) / room).clip(0, 1)
    return doubts
