"""What a language model reaches on windows with truth: interval F1 beside that of the same answers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.types import FloatArray, IntArray
from tsad.detectors.llm.keeping import Kept
from tsad.detectors.llm.rows import stretch
from tsad.metrics.interval import interval_counts
from tsad.metrics.point import precision_recall_f1

if TYPE_CHECKING:
    from tsad.detectors.llm.asking import Asking
    from tsad.detectors.llm.teaching import Lesson

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
TURNS = tuple(range(7, 137, 13))  # by how many windows the answers are turned to measure chance
RESAMPLES = 500
STRICT = 0.5


@dataclass(frozen=True, eq=False)
class Answered:
    """What was said of N windows.

    Attributes:
        chances: [N, units] probabilities of flags; ``None`` for intervals.
        edges: first point of each unit, and the points of a window.
        runs: of each window the intervals said, [K, 2].
    """

    chances: FloatArray | None
    edges: IntArray
    runs: tuple[IntArray, ...]

    def at(self, threshold: float) -> Answered:
        """The same with intervals where the probability reaches the threshold."""
        if self.chances is None:
            return self
        runs = tuple(self.edges[runs_of(row >= threshold)].reshape(-1, 2) for row in self.chances)
        return Answered(self.chances, self.edges, runs)


def answered(asking: Asking, taught: Lesson) -> Answered:
    """Ask about every window."""
    from tsad.detectors.llm.teaching import pieces_of

    cut = list(pieces_of(taught))
    answers = list(asking.answers(cut, Kept(None)))
    edges = asking.reader.edges(taught.values.shape[1])
    if answers[0].chances:
        return Answered(np.array([a.chances for a in answers]), edges, ()).at(0.5)
    counted = asking.reader.position_edges(taught.values.shape[1])
    runs = (np.array([stretch(p, m, counted) for m in a.marks], np.int64).reshape(-1, 2) for p, a in
            zip(cut, answers, strict=True))  # fmt: skip
    return Answered(None, edges, tuple(runs))


def best_threshold(said: Answered, truth: Sequence[IntArray]) -> float:
    """The probability at which interval F1 at IoU 0.5 (then at any overlap) is highest; never of the scored windows."""

    def reached(threshold: float) -> tuple[float, float]:
        runs = said.at(threshold).runs
        return _f1(_counts(truth, runs, STRICT)), _f1(_counts(truth, runs))

    return float(max(THRESHOLDS, key=reached))


def figures(said: Answered, truth: Sequence[IntArray], seed: int = 0) -> dict[str, float]:
    """``f1``, ``f1_iou50``, of both ``chance_...`` (the same answers against other windows, mean of ten turns), and
    ``gain_iou50`` = f1_iou50 less its chance with ``gain_iou50_low``, ``gain_iou50_high``: 95% bootstrap over windows.
    """
    found: dict[str, float] = {"windows": float(len(truth)), "true": float(sum(map(len, truth)))}
    found["said"] = float(sum(map(len, said.runs)))
    for name, iou in (("f1", 0.0), ("f1_iou50", STRICT)):
        own = _counts(truth, said.runs, iou)
        turned = [_counts(truth, [said.runs[(k + t) % len(truth)] for k in range(len(truth))], iou) for t in TURNS]
        found |= {name: _f1(own), f"chance_{name}": float(np.mean([_f1(one) for one in turned]))}
        if iou:
            found |= _gain(own, turned, np.random.default_rng(seed))
    return found


def _gain(own: FloatArray, turned: Sequence[FloatArray], draw: np.random.Generator) -> dict[str, float]:
    gains = []
    for _ in range(RESAMPLES):
        rows = draw.integers(0, len(own), len(own))
        gains.append(_f1(own[rows]) - np.mean([_f1(one[rows]) for one in turned]))
    low, high = np.quantile(gains, [0.025, 0.975])
    whole = _f1(own) - np.mean([_f1(one) for one in turned])
    return {"gain_iou50": float(whole), "gain_iou50_low": float(low), "gain_iou50_high": float(high)}


def _counts(truth: Sequence[IntArray], said: Sequence[IntArray], iou: float = 0.0) -> FloatArray:
    """True positives, false positives, false negatives of each window. [N, 3]."""
    return np.array([interval_counts(t, s, iou) for t, s in zip(truth, said, strict=True)], float)


def _f1(counts: FloatArray) -> float:
    return precision_recall_f1(*counts.sum(axis=0)).f1


def marked_whole(truth: Sequence[IntArray], length: int) -> Answered:
    """What is said where all of every window is marked: what any overlap flatters."""
    whole = np.array([[0, length]], np.int64)
    return Answered(None, np.array([0, length]), tuple(whole for _ in truth))


def card_rows(figures_by_name: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines of a table of a model card."""
    head = ["| | F1, any overlap | chance | F1, IoU >= 0.5 | chance | gain, 95% |", "|---|---|---|---|---|---|"]
    rows = [
        f"| {name} | {f['f1']:.3f} | {f['chance_f1']:.3f} | {f['f1_iou50']:.3f} | {f['chance_f1_iou50']:.3f} | "
        f"{f['gain_iou50']:+.3f} [{f['gain_iou50_low']:+.3f}, {f['gain_iou50_high']:+.3f}] |"
        for name, f in figures_by_name.items()
    ]
    return [*head, *rows]
