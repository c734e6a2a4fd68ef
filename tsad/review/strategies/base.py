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
from tsad.core.types import FloatArray

FLOOR = 1e-3  # least weight beside the highest: no window has probability zero, no estimate one window's mercy


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

    @abstractmethod
    def parts(self, scores: FloatArray, doubts: FloatArray) -> Sequence[Component]:
        """The parts of a draw.

        Args:
            scores: [N] highest score in each window, 0..1.
            doubts: [N] 0..1, higher = the detector is less sure.
        """

    def drawing(self, windows: int) -> Self:
        """The same strategy, taking another number of windows."""
        return type(self)(self.settings.model_copy(update={"windows": windows}))


class SharpOptions(SamplingOptions):
    """What strategies take that a value drives."""

    temperature: float = Field(gt=0)  # how sharply the value drives the choice; small = sharper


def sharpened(values: FloatArray, temperature: float) -> FloatArray:
    """Weights that fall e-fold per ``temperature`` below the highest value, down to a floor. [N] -> [N]."""
    weights: FloatArray = np.maximum(np.exp((values - values.max()) / temperature), FLOOR)
    return weights
