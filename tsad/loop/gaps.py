"""What a completed iteration lacked to train an adapter and to promote a challenger, from what its stages kept."""

from __future__ import annotations

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
    first, own = finished(loop.iterations()[0], DETECT), result_of(iteration, DETECT)
    available = collected.windows + len(collected.undecided) + gold.windows + own.left
    by_people = bool(first and first.gold_queued)
    return learning, evidence_gap(bench, scored, gold.windows, by_people=by_people, available=available)
