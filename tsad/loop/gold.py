"""The gold set of a loop: given by labels or drawn for people, fixed once, apart from all training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.intervals import clip
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray
from tsad.loop.datasets import fetch, put

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore


def find_gold(loop: LoopStore) -> DatasetVersion | None:
    """The loop's gold set, loaded from its artifact; ``None`` before it is fixed."""
    for record in loop.datasets():
        if record.purpose == Purpose.GOLD:
            return fetch(loop, record.digest)
    return None


def fix_gold(
    bench: Workbench, loop: LoopStore, iteration: Iteration, series: Sequence[Series]
) -> DatasetVersion | None:
    """The gold set from the labels of the series, fixed for good; ``None`` where people are to review it."""
    if bench.gold_rule.by_people(any(s.labels is not None for s in series)):
        return None
    return put_gold(bench, loop, iteration, _given(bench, series))


def put_gold(
    bench: Workbench, loop: LoopStore, iteration: Iteration, reviewed: Sequence[ReviewedWindow]
) -> DatasetVersion:
    """Store the gold set as an immutable dataset version of the loop."""
    return put(bench, loop, iteration, reviewed, Purpose.GOLD, parent=None)


def draw_for_people(bench: Workbench, candidates: Sequence[Window], peaks: FloatArray) -> list[Choice]:
    """Gold windows drawn once, seeded and stratified over the first detector's score, without proposals.

    Disputed windows are not among them: they wait in the queue for training.
    """
    from tsad.review.splits import is_disputed

    clear = [k for k, window in enumerate(candidates) if not is_disputed(window)]
    drawn = bench.gold_rule.draw([candidates[k] for k in clear], peaks[clear])
    return [
        Choice(candidates[clear[k]], probability, f"gold:{stratum}", Purpose.GOLD, (), float(peaks[clear[k]]))
        for k, probability, stratum in drawn
    ]


def _given(bench: Workbench, series: Sequence[Series]) -> list[ReviewedWindow]:
    labelled = [s for s in series if s.labels is not None]
    split = bench.gold_rule.split(labelled, bench.windows.length)
    if not split.gold or not split.pool:
        raise ConfigError(
            f"the gold rule leaves {len(split.gold)} gold and {len(split.pool)} training windows of {len(labelled)} "
            "labelled series",
            "Use gold=time where series are few, or another gold.share.",
        )
    return [_from_labels(w) for w in split.gold]


def _from_labels(window: Window) -> ReviewedWindow:
    truth = clip(window.series.labels or (), *window.span)
    choice = Choice(window, 1.0, "given", Purpose.GOLD)
    return ReviewedWindow(choice, (Annotation("labels", truth),), ReviewState.ANNOTATED, truth)
