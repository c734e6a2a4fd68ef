"""Several people labelled the same series: what all of them say counts, what only some say is disputed.

For each point the newest submission of each annotator counts; it replaces her earlier ones as a whole. A submission
without intervals says that nothing is abnormal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tsad.core.intervals import clip, coverage_iou, merge
from tsad.core.reviews import Annotation
from tsad.core.types import Interval
from tsad.sources.base import Labelling


def consensus(submissions: Mapping[str, Iterable[Annotation]], agreement: float = 1.0) -> dict[str, Labelling]:
    """One labelling per point.

    Stretches that every annotator of the point marks are labels; their kind is the one that most of them name (of
    equally many the first by name). Stretches that only some mark are disputed; with one annotator nothing is.

    Args:
        submissions: point -> what people submitted for the whole series; skipped ones do not count.
        agreement: an event (a stretch that marks cover without a break) is not disputed where the marks of any two
            annotators in it have at least this IoU: people never draw the same edges. 1 = edges count.
    """
    return {point: _agreed(newest(said), agreement) for point, said in submissions.items()}


def newest(submissions: Iterable[Annotation]) -> dict[str, tuple[Interval, ...]]:
    """What counts of each annotator: her last submission."""
    last: dict[str, Annotation] = {}
    for one in submissions:
        if not one.skipped and (one.annotator not in last or one.submitted_at >= last[one.annotator].submitted_at):
            last[one.annotator] = one
    return {annotator: one.intervals for annotator, one in last.items()}


@dataclass(frozen=True)
class _Stretch:
    start: int
    end: int
    kinds: tuple[str, ...]  # one for each annotator who marks it


def _agreed(said: Mapping[str, tuple[Interval, ...]], agreement: float) -> Labelling:
    marks = list(said.values())
    labels: list[Interval] = []
    disputed: list[Interval] = []
    for event in merge(i for intervals in marks for i in intervals):
        inside = [clip(intervals, event.start, event.end) for intervals in marks]
        stretches = _stretches(inside)
        labels += _joined([s for s in stretches if len(s.kinds) == len(marks)])
        if agreement >= 1.0 or not _alike(inside, agreement):
            disputed += _whole([s for s in stretches if len(s.kinds) < len(marks)])
    return Labelling(tuple(labels), tuple(disputed))


def _alike(inside: Sequence[tuple[Interval, ...]], agreement: float) -> bool:
    return all(coverage_iou(a, b) >= agreement for k, a in enumerate(inside) for b in inside[k + 1 :])


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
