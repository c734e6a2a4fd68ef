"""Several people judged the same stretch of time: what counts, and where they disagree.

The latest answer of each person counts; it replaces her earlier ones as a whole. An answer without intervals says that
nothing is abnormal.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tsad.agreement.latest import judged
from tsad.core.intervals import clip, coverage_iou, merge
from tsad.core.reviews import Annotation, Labelling
from tsad.core.types import BoolArray, Interval

_ROUNDING = 1e-12  # of a ratio: two thirds are no less than 2 / 3


def consensus(submissions: Mapping[str, Iterable[Annotation]], agreement: float = 1.0) -> dict[str, Labelling]:
    """One labelling per point.

    Stretches that every annotator of the point marks are labels; their kind is the one that most of them name (of
    equally many the first by name). Stretches that only some mark are disputed; with one annotator nothing is.

    Args:
        submissions: point -> what people submitted for the whole series; those who refused to judge do not count.
        agreement: an event (a stretch that marks cover without a break) is not disputed where the marks of any two
            annotators in it have at least this IoU: people never draw the same edges. 1 = edges count.
    """
    return {point: _agreed([a.intervals for a in judged(given)], agreement) for point, given in submissions.items()}


def alike(answers: Sequence[Sequence[Interval]], iou: float) -> bool:
    """Whether no two of the answers conflict: one says normal and the other does not, or their IoU is below ``iou``.

    Args:
        answers: the intervals of each person.
        iou: least IoU in time at which two answers agree, 0..1.
    """
    return all(
        bool(a) == bool(b) and coverage_iou(a, b) >= iou - _ROUNDING for a, b in itertools.combinations(answers, 2)
    )


def majority(masks: Sequence[BoolArray]) -> BoolArray:
    """Point by point what more than half say, a tie as the last one says. K masks [L] -> [L]."""
    votes = np.sum(masks, axis=0)
    return (2 * votes > len(masks)) | ((2 * votes == len(masks)) & masks[-1])


@dataclass(frozen=True)
class _Stretch:
    start: int
    end: int
    kinds: tuple[str, ...]  # one for each annotator who marks it


def _agreed(marks: Sequence[tuple[Interval, ...]], agreement: float) -> Labelling:
    labels: list[Interval] = []
    disputed: list[Interval] = []
    for event in merge(i for intervals in marks for i in intervals):
        inside = [clip(intervals, event.start, event.end) for intervals in marks]
        stretches = _stretches(inside)
        labels += _joined([s for s in stretches if len(s.kinds) == len(marks)])
        if agreement >= 1.0 or not alike(inside, agreement):
            disputed += _whole([s for s in stretches if len(s.kinds) < len(marks)])
    return Labelling(tuple(labels), tuple(disputed))


def _stretches(inside: Sequence[tuple[Interval, ...]]) -> list[_Stretch]:
    """An event cut at every edge, with who marks each part."""
    edges = sorted({e for intervals in inside for i in intervals for e in (i.start, i.end)})
    kinds: dict[int, list[str]] = defaultdict(list)
    for intervals in inside:
        for start, end in pairwise(edges):
            kind = next((i.label for i in intervals if i.start < end and start < i.end), None)
            if kind is not None:
                kinds[start].append(kind)
    return [_Stretch(a, b, tuple(kinds[a])) for a, b in pairwise(edges)]


def _joined(stretches: Sequence[_Stretch]) -> list[Interval]:
    """Stretches as labels; neighbours of one kind become one."""
    out: list[Interval] = []
    for one in stretches:
        kind = _most(one.kinds)
        if out and out[-1].end == one.start and out[-1].label == kind:
            out[-1] = Interval(out[-1].start, one.end, kind)
        else:
            out.append(Interval(one.start, one.end, kind))
    return out


def _whole(stretches: Sequence[_Stretch]) -> list[Interval]:
    """Stretches without regard to kinds."""
    return list(merge(Interval(s.start, s.end, _most(s.kinds)) for s in stretches))


def _most(kinds: Sequence[str]) -> str:
    counted = Counter(kinds)
    return min(counted, key=lambda kind: (-counted[kind], kind))
