"""Several people judged one window: whether they agree, and what follows where they do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.agreement.consensus import alike, majority
from tsad.agreement.latest import judged
from tsad.agreement.modes import ConsensusMode
from tsad.core.intervals import coverage_iou
from tsad.core.reviews import Annotation
from tsad.core.types import BoolArray, Interval


@dataclass(frozen=True)
class ConsensusRule:
    """How several answers to one window become one.

    Attributes:
        iou: least IoU in time at which two answers agree, 0..1.
        mode: what counts of answers that agree: the points that more than half mark, that anybody marks, that all mark;
            ``expert`` = what the expert says, and as ``majority`` where she has not answered.
        expert: id of the annotator whose answer settles a conflict; "" = nobody's does.
    """

    iou: float = 0.5
    mode: ConsensusMode = "majority"
    expert: str = ""


BY_MAJORITY = ConsensusRule()


def counting(annotations: Sequence[Annotation], rule: ConsensusRule) -> list[Annotation]:
    """Of all that was submitted for a window the answers that make its truth, in the order of submission.

    They are all judgements where any two of them are alike; else the expert's, where she judged; else those of the
    largest group of more than half of the people who are alike pair by pair (of equal groups the one that agrees most,
    then the one with the latest answer); else none: people disagree. With ``mode=expert`` the expert's alone counts
    wherever she judged.
    """
    judgements = judged(annotations)
    hers = [a for a in judgements if rule.expert and a.annotator == rule.expert]
    if hers and rule.mode == "expert":
        return hers
    answers = [a.intervals for a in judgements]
    if alike(answers, rule.iou):
        return judgements
    return hers or [judgements[k] for k in _largest_group(answers, rule.iou)]


def combined(masks: Sequence[BoolArray], mode: ConsensusMode) -> BoolArray:
    """Point by point what answers that agree come to. K masks [L] -> [L]; a tie of a majority as the last one says."""
    if mode == "union":
        return np.logical_or.reduce(masks)
    if mode == "intersection":
        return np.logical_and.reduce(masks)
    return majority(masks)


def _largest_group(answers: Sequence[Sequence[Interval]], iou: float) -> tuple[int, ...]:
    """Positions of more than half of the answers, all alike; () where there is no such group."""
    people = range(len(answers))
    near = {pair: alike([answers[k] for k in pair], iou) for pair in itertools.combinations(people, 2)}
    for size in range(len(answers) - 1, len(answers) // 2, -1):
        groups = [g for g in itertools.combinations(people, size) if all(map(near.get, itertools.combinations(g, 2)))]
        if groups:
            return max(groups, key=lambda group: (_agreement(group, answers), group[::-1]))
    return ()


def _agreement(group: Sequence[int], answers: Sequence[Sequence[Interval]]) -> float:
    """Mean IoU of the pairs of a group."""
    return float(np.mean([coverage_iou(answers[a], answers[b]) for a, b in itertools.combinations(group, 2)] or [1.0]))
