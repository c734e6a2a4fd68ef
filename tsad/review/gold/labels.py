"""Gold windows from labels: what every rule that holds labelled series back shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from tsad.core.errors import LabelError
from tsad.core.option_model import Options
from tsad.core.options import GoldOptions
from tsad.core.series import Series
from tsad.review.gold.base import GoldRule
from tsad.review.splits import GoldSplit, split_at


class LabelsOptions(GoldOptions):
    """What rules take that hold labelled series back."""

    share: float = Field(gt=0, lt=1)  # of the series, or of each series' points


class LabelsGold(GoldRule):
    """Holds a part of the labelled series back; unlabelled ones, and disputed windows, are for training."""

    options_model: ClassVar[type[Options]] = LabelsOptions
    settings: LabelsOptions

    def by_people(self, labelled: bool) -> bool:
        """Never; see :meth:`GoldRule.by_people`."""
        if not labelled:
            raise LabelError(
                "the gold rule wants labels, but none of the series has a label column",
                "Set source.label_column, bring intervals by source.labels=FILE.csv, or let people review the gold "
                "windows with gold=people review=label_studio.",
            )
        return False

    def split(self, series: Sequence[Series], length: int) -> GoldSplit:
        """See :meth:`GoldRule.split`."""
        labelled = [s for s in series if s.labels is not None and len(s) > 0]
        if not labelled:
            raise LabelError(
                f"None of the {len(series)} series has labels, so none can be gold",
                "Name a label column or a CSV of intervals, or let people review the gold set: gold=people.",
            )
        return split_at(series, self.starts(labelled, length), length)

    @abstractmethod
    def starts(self, labelled: Sequence[Series], length: int) -> dict[int, int]:
        """First gold position by ``id`` of the series; a series that is not there has no gold windows."""
