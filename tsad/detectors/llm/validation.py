"""How well a network answers reviewed windows while it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tsad.core.intervals import mask_to_intervals, merge_runs, runs_of
from tsad.core.series import Window
from tsad.core.types import BoolArray, IntArray, Interval
from tsad.detectors.llm.blocks import Cutting, Piece, pieces
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.rows import stretch
from tsad.metrics.interval import interval_counts

if TYPE_CHECKING:
    import torch

    from tsad.detectors.llm.asking import Asking
    from tsad.detectors.llm.reader import Reader
    from tsad.detectors.llm.rows import LanguageRow

TIE = 0.1  # share of the answers' loss in the validation loss: tells apart networks of equal F1
HALF = 0.5  # probability from which a unit counts as abnormal


class Answerer(Protocol):
    """What is needed of a detector here."""

    @property
    def reader(self) -> Reader: ...

    def asking(self, network: Any) -> Asking: ...

    def window_rows(self, window: Window, intervals: Sequence[Interval]) -> Iterator[LanguageRow]: ...

    def collate(self, rows: Sequence[LanguageRow]) -> dict[str, torch.Tensor]: ...


def validate(
    detector: Answerer, network: Any, windows: Sequence[Window], masks: Sequence[BoolArray], cutting: Cutting
) -> dict[str, float]:
    """``validation_interval_precision``, ``_recall``, ``_f1`` of generated answers (any overlap, one to one),
    ``validation_interval_f1_iou50``, ``validation_answer_loss``, and ``validation_loss`` = 1 - F1 plus a tenth of the
    answers' loss, which decides between networks of equal F1.
    """
    import torch

    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            asking, kept = detector.asking(network), Kept(None)
            counts = np.zeros((2, 3))
            for window, mask in zip(windows, masks, strict=True):
                cut = list(pieces(window.series, cutting, window.start, window.stop))
                answers = list(asking.answers(cut, kept)) if cut else []
                found = _runs(detector, window, cut, answers)
                for row, iou in enumerate((0.0, 0.5)):
                    counts[row] += interval_counts(runs_of(mask), found, iou)
            loss = _answer_loss(detector, network, windows, masks)
    finally:
        network.train(training)
    (precision, recall, f1), (_, _, strict) = (_prf(*row) for row in counts)
    return {
        "validation_interval_precision": precision, "validation_interval_recall": recall,
        "validation_interval_f1": f1, "validation_interval_f1_iou50": strict, "validation_answer_loss": loss,
        "validation_loss": 1.0 - f1 + TIE * loss,
    }  # fmt: skip


def _runs(detector: Answerer, window: Window, cut: Sequence[Piece], answers: Sequence[Answer]) -> IntArray:
    """What the answers call abnormal, as positions in the window."""
    marked: list[tuple[int, int]] = []
    for piece, answer in zip(cut, answers, strict=True):
        if answer.chances:
            edges = detector.reader.edges(len(piece.block))
            for a, b in runs_of(np.array(answer.chances) >= HALF).tolist():
                marked.append((int(piece.first[edges[a]]), int(piece.first[edges[b]])))
        else:
            edges = detector.reader.position_edges(len(piece.block))
            marked += [stretch(piece, mark, edges) for mark in answer.marks]
    return merge_runs(np.array(marked, np.int64).reshape(-1, 2) - window.start)


def _answer_loss(
    detector: Answerer, network: Any, windows: Sequence[Window], masks: Sequence[BoolArray]
) -> float:
    """Mean loss per token of the true answers."""
    rows = [
        row
        for window, mask in zip(windows, masks, strict=True)
        for row in detector.window_rows(window, mask_to_intervals(mask, window.timestamps))
    ]
    total, size = 0.0, detector.asking(network).batch_size
    device = next(network.parameters()).device
    for k in range(0, len(rows), size):
        batch = {name: tensor.to(device) for name, tensor in detector.collate(rows[k : k + size]).items()}
        total += float(network(**batch).loss) * len(rows[k : k + size])
    return total / max(1, len(rows))


def _prf(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
    """1.0 each where there is nothing to find and nothing was found."""
    if not tp + fp + fn:
        return 1.0, 1.0, 1.0
    return tp / max(1.0, tp + fp), tp / max(1.0, tp + fn), 2 * tp / (2 * tp + fp + fn)
