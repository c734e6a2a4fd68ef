"""Reviewed windows as rows of training: a prompt, and the answer that people have given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.core.types import IntArray, Interval
from tsad.detectors.llm.blocks import Piece
from tsad.detectors.llm.codec import FlagCodec, IntervalCodec, Mark
from tsad.detectors.llm.reader import Prompted


@dataclass(frozen=True, eq=False)
class LanguageRow:
    """One block of a reviewed window with its answer (core.protocols.Row).

    Attributes:
        answer: tokens.
        positive: whether anything in it is abnormal.
    """

    prompted: Prompted
    answer: list[int]
    window_id: str
    positive: bool

    @property
    def tokens(self) -> int:
        """Of the whole row, patches and images included."""
        return len(self.prompted.ids) + len(self.answer)


def marks_of(piece: Piece, series: Series, intervals: Sequence[Interval], kinds: Sequence[str]) -> list[Mark]:
    """The intervals as positions of a block: what it shows of them, cut to it.

    Args:
        kinds: that an answer may name; an interval of another is named by the last of them.
    """
    marks = []
    for interval in intervals:
        for start, stop in intervals_to_runs([interval], series.timestamps).tolist():
            if start < piece.stop and piece.start < stop:
                first, last = positions(piece, start, stop)
                kind = interval.label if interval.label in kinds else (kinds[-1] if kinds else "")
                marks.append(Mark(first, last, kind, interval.note))
    return _disjoint(marks)


def positions(piece: Piece, start: int, stop: int) -> tuple[int, int]:
    """First and last position in a block of the stretch ``[start, stop)`` of its series."""
    inside = np.searchsorted(piece.first, [max(start, piece.start), min(stop, piece.stop) - 1], side="right") - 1
    return int(inside[0]), int(inside[1])


def stretch(piece: Piece, mark: Mark, counted: IntArray) -> tuple[int, int]:
    """The stretch ``[start, stop)`` of the series behind a mark of an answer, at least one point of the block.

    Args:
        counted: first point of each position that answers count in (``Reader.position_edges``).
    """
    first = min(int(counted[mark.start]), len(piece.block) - 1)
    last = max(int(counted[mark.end + 1]), first + 1)
    return int(piece.first[first]), int(piece.first[last])


def _counted(marks: Sequence[Mark], edges: IntArray) -> list[Mark]:
    """Marks of points as marks of positions, joined where they share one."""
    ends = np.searchsorted(edges, [(m.start, m.end) for m in marks], side="right").reshape(-1, 2) - 1
    return _disjoint([replace(m, start=int(a), end=int(b)) for m, (a, b) in zip(marks, ends, strict=True)])


def _disjoint(marks: list[Mark]) -> list[Mark]:
    """In order of time; of a block that was shortened, marks may touch the same point: they become one."""
    ordered: list[Mark] = []
    for mark in sorted(marks, key=lambda m: m.start):
        if ordered and mark.start <= ordered[-1].end:
            last = ordered[-1]
            ordered[-1] = Mark(last.start, max(last.end, mark.end), last.kind, last.note or mark.note)
        else:
            ordered.append(mark)
    return ordered


def answer_of(codec: FlagCodec | IntervalCodec, edges: IntArray, marks: Sequence[Mark]) -> list[int]:
    """Tokens of the answer that says these marks of points.

    Args:
        edges: first point of each unit of the block (of each position, for intervals), and its length.
    """
    if isinstance(codec, IntervalCodec):
        return codec.encode(_counted(marks, edges))
    return codec.encode(_flags(marks, edges))


def answer_text(codec: IntervalCodec | None, edges: IntArray, marks: Sequence[Mark]) -> str:
    """The same answer in plain text; without a codec in flags."""
    return codec.text(_counted(marks, edges)) if codec is not None else FlagCodec.text(_flags(marks, edges))


def _flags(marks: Sequence[Mark], edges: IntArray) -> list[bool]:
    """Whether each unit holds a point of a mark."""
    abnormal = np.zeros(int(edges[-1]) + 1, np.int64)
    for mark in marks:
        abnormal[mark.start : mark.end + 1] = 1
    total = np.concatenate(([0], np.cumsum(abnormal)))
    return [bool(total[b] - total[a]) for a, b in itertools.pairwise(edges)]
