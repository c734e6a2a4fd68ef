"""How well the adapter does on reviewed windows that did not train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Trainable
from tsad.core.series import Window
from tsad.core.types import BoolArray
from tsad.training.seeding import generator

if TYPE_CHECKING:
    import torch


class Validation:
    """The validation windows, encoded once, so that every evaluation sees the same inputs.

    A detector with a ``validate`` of its own (core.protocols.Trainable) is asked instead.
    """

    def __init__(
        self, detector: Trainable, windows: Sequence[Window], masks: Sequence[BoolArray], options: AdapterOptions
    ) -> None:
        self._own = getattr(detector, "validate", None)
        self._windows, self._masks = windows, masks
        self._batches: list[tuple[int, Mapping[str, Any]]] = []
        if self._own is None:
            rng, size = generator(options.seed, 3), options.batch_size
            for k in range(0, len(windows), size):
                rows = detector.encode(windows[k : k + size], masks[k : k + size], rng)
                self._batches.append((len(rows), detector.collate(rows)))

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """``validation_loss`` (mean over examples) and, for a network that gives a logit per point, point
        precision, recall and F1 at a score of 0.5 and AUC-PR over the points that count.

        The network gives a logit per point where its output's ``logits`` has the shape of the batch's
        ``labels``; the batch's ``weight``, where it has one, is 0 at points nobody reviewed.

        Raises:
            TrainingError: the detector's own validation says nothing of ``validation_loss``.
        """
        import torch

        model.eval()
        with torch.no_grad():
            if self._own is None:
                return self._by_loss(model)
            metrics = {name: float(value) for name, value in self._own(model, self._windows, self._masks).items()}
        if "validation_loss" not in metrics:
            raise TrainingError(
                f"The detector's own validation gives {', '.join(sorted(metrics)) or 'nothing'}, no validation_loss",
                "Give validation_loss, lower = better, among its metrics: training stops by it.",
            )
        return metrics

    def _by_loss(self, model: torch.nn.Module) -> dict[str, float]:
        import torch

        device = next(model.parameters()).device
        total, examples = 0.0, 0
        truths: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        for count, batch in self._batches:
            output = model(**to_device(batch, device))
            total, examples = total + float(output.loss) * count, examples + count
            logits, labels = getattr(output, "logits", None), batch.get("labels")
            if logits is not None and labels is not None and logits.shape == labels.shape:
                counts = (batch["weight"] if "weight" in batch else torch.ones_like(labels)) > 0
                scores.append(logits.float().sigmoid()[counts.to(device)].double().cpu().numpy())
                truths.append((labels > 0.5)[counts].cpu().numpy())
        metrics = {"validation_loss": total / max(examples, 1)}
        if truths:
            metrics |= _points(np.concatenate(truths), np.concatenate(scores))
        return metrics


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The same batch, its tensors on the network's device; what is no tensor stays as it is."""
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}


def _points(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    from tsad.metrics.point import point_prf
    from tsad.metrics.ranking import auc_pr

    prf = point_prf(truth, scores >= 0.5)
    named = {"precision": prf.precision, "recall": prf.recall, "f1": prf.f1, "auc_pr": auc_pr(truth, scores)}
    return {f"validation_{name}": float(value) for name, value in named.items() if np.isfinite(value)}
