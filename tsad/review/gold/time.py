"""The end of each labelled series held back."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.review.gold.labels import LabelsGold


class TimeGold(LabelsGold):
    """The last share of each series' points; a boundary inside a labelled interval moves to that interval's edge."""

    def starts(self, labelled: Sequence[Series], length: int) -> dict[int, int]:
        """See :meth:`LabelsGold.starts`."""
        return {id(s): _boundary(s, self.settings.share, length) for s in labelled}


def _boundary(series: Series, share: float, length: int) -> int:
    """First gold position of a series split in time."""
    total = len(series)
    if total < 2:
        return total
    place = min(max(1, round(total * (1.0 - share))), total - 1)
    for start, stop in intervals_to_runs(series.labels or (), series.timestamps):
        if start < place < stop:
            after, before = int(stop), int(start)
            if total - after >= min(length, (total - place)) / 2:
                return after
            return before if before > 0 else place
    return place
