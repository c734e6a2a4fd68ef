"""What a completed iteration lacked to train an adapter and to promote a challenger, from what its stages kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.loop.datasets import dataset_record
from tsad.loop.detect import DETECT
from tsad.loop.evaluate import EVALUATE
from tsad.loop.explain import EvidenceGap, LearningGap, evidence_gap, learning_gap
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.runner import finished, result_of
from tsad.loop.train import TRAIN

if TYPE_CHECKING:
    from tsad.metrics.paired import PairedGain
    from tsad.tracking.runs import Iteration, LoopStore


def gaps(
    bench: Workbench, loop: LoopStore, iteration: Iteration
) -> tuple[LearningGap | None, EvidenceGap | None]:
    """Of learning and of evidence; ``None`` where nothing was lacking: an adapter was made, a challenger promoted."""
    collected, scored = result_of(iteration, DATASET), result_of(iteration, EVALUATE)
    learning = learning_gap(bench, collected.windows, collected.positive, result_of(iteration, TRAIN))
    if result_of(iteration, PROMOTE).promoted or not scored.paired:
        return learning, None
    gold = dataset_record(loop, scored.gold_version)
    return learning, gold_gap(bench, loop, scored.intervals, scored.paired, gold.windows)


def gold_gap(
    bench: Workbench, loop: LoopStore, intervals: int, gains: Mapping[str, PairedGain], windows: int
) -> EvidenceGap:
    """What a gold set of so many windows with so many intervals lacked, in view of how the loop came by it."""
    iterations = loop.iterations()
    first = finished(iterations[0], DETECT) if iterations else None
    left = 0
    for iteration in reversed(iterations):
        collected, own = finished(iteration, DATASET), finished(iteration, DETECT)
        if collected and own:
            left = collected.windows + len(collected.undecided) + own.left
            break
    by_people = bool(first and first.gold_queued)
    return evidence_gap(bench, intervals, gains, windows, by_people=by_people, available=windows + left)
