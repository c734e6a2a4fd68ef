"""What every gold rule answers: whether people review the gold windows, which labelled ones are held, which drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from tsad.core.option_model import Configured, Options
from tsad.core.options import GoldOptions
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray
from tsad.review.splits import GoldSplit

Draw = list[tuple[int, float, str]]


class GoldRule(Configured, ABC):
    """Fixes, once for a loop, which windows are gold.

    Attributes:
        needs_people: whether people have to review the gold windows, labels or not.
    """

    group = "gold"
    needs_people: ClassVar[bool] = False
    options_model: ClassVar[type[Options]] = GoldOptions
    settings: GoldOptions

    def __init__(self, options: GoldOptions | None = None, **given: Any) -> None:
        self.settings = self.configured(options, given)

    @abstractmethod
    def by_people(self, labelled: bool) -> bool:
        """Whether people review the gold windows; ``labelled`` = some series has labels.

        Raises:
            LabelError: the rule wants labels and there are none.
        """

    def split(self, series: Sequence[Series], length: int) -> GoldSplit:
        """Labelled series as gold and pool, in windows of ``length`` points.

        Raises:
            LabelError: no series has labels, or too few to keep some on both sides.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no labels")

    def draw(self, candidates: Sequence[Window], scores: FloatArray) -> Draw:
        """Windows that people review as gold: (index, inclusion probability, stratum), by index.

        Args:
            candidates: N windows. scores: [N] highest score in each, 0..1.
        """
        raise NotImplementedError(f"{type(self).__name__} asks no people")
