"""How well the adapter does on reviewed windows that did not train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.protocols import Trainable
from tsad.core.series import Window
from tsad.core.types import BoolArray
from tsad.training.seeding import generator

if TYPE_CHECKING:
    import torch


class Validation:
    """The validation windows, encoded once, so that every evaluation sees the same inputs."""

    def __init__(
        self, detector: Trainable, windows: Sequence[Window], masks: Sequence[BoolArray], batch_size: int, seed: int
    ) -> None:
        rng = generator(seed, 3)
        self._batches = [
            detector.encode(windows[k : k + batch_size], masks[k : k + batch_size], rng)
            for k in range(0, len(windows), batch_size)
        ]

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """``validation_loss`` (mean over examples) and, for a network that gives a logit per point, point
        precision, recall and F1 at a score of 0.5 and AUC-PR over the points that count.

        The network gives a logit per point where its output's ``logits`` has the shape of the batch's
        ``labels``; the batch's ``weight``, where it has one, is 0 at points nobody reviewed.
        """
        import torch

        device = next(model.parameters()).device
        model.eval()
        total, examples = 0.0, 0
        truths: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        with torch.no_grad():
            for batch in self._batches:
                count = len(next(iter(batch.values())))
                output = model(**to_device(batch, device))
                total, examples = total + float(output.loss) * count, examples + count
                logits, labels = getattr(output, "logits", None), batch.get("labels")
                if logits is not None and labels is not None and logits.shape == labels.shape:
                    counts = (batch["weight"] if "weight" in batch else torch.ones_like(labels)) > 0
                    scores.append(logits.float().sigmoid()[counts.to(device)].double().cpu().numpy())
                    truths.append((labels > 0.5)[counts].cpu().numpy())
        found = {"validation_loss": total / max(examples, 1)}
        if truths:
            found |= _points(np.concatenate(truths), np.concatenate(scores))
        return found


def to_device(batch: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The same tensors on the network's device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _points(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    from tsad.metrics.point import point_prf
    from tsad.metrics.ranking import auc_pr

    prf = point_prf(truth, scores >= 0.5)
    named = {"precision": prf.precision, "recall": prf.recall, "f1": prf.f1, "auc_pr": auc_pr(truth, scores)}
    return {f"validation_{name}": float(value) for name, value in named.items() if np.isfinite(value)}
