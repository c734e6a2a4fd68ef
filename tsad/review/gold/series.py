"""Whole labelled series held back."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.core.errors import LabelError
from tsad.core.series import Series
from tsad.files.hashing import digest_of_text
from tsad.review.gold.labels import LabelsGold, LabelsOptions


class SeriesGold(LabelsGold):
    """A share of the series with anomalies and of those without, chosen by a hash of seed and point.

    The same points whatever the order, and nearly the same when points are added.
    """

    def starts(self, labelled: Sequence[Series], length: int) -> dict[int, int]:
        """See :meth:`LabelsGold.starts`."""
        held = _held(labelled, self.settings)
        return {id(s): 0 for s in labelled if s.point_id in held}


def _held(labelled: Sequence[Series], options: LabelsOptions) -> set[str]:
    """Points whose series become gold: a share of each kind, with anomalies on both sides where there are two."""
    if len(labelled) < 2:
        raise LabelError(
            f"Only {labelled[0].point_id} has labels, so it cannot be both gold and training data",
            "Split in time instead: gold=time.",
        )

    def rank(item: Series) -> str:
        return digest_of_text(f"{options.seed}|{item.point_id}")

    abnormal = sorted((s for s in labelled if s.labels), key=rank)
    normal = sorted((s for s in labelled if not s.labels), key=rank)
    take = _share(len(abnormal), options.share, least=1)
    held = abnormal[:take]
    # A single abnormal series goes to the gold set; then the pool must keep a normal one, and it does.
    held += normal[: _share(len(normal), options.share, least=0 if held else 1)]
    return {s.point_id for s in held}


def _share(count: int, share: float, least: int) -> int:
    wanted = max(least, round(share * count))
    return min(wanted, max(count - 1, min(least, count)))
