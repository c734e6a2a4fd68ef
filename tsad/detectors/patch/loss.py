"""The loss of the patch network."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

POSITIVE = 2.0  # an abnormal point counts twice: a few per cent of the points are abnormal
DICE, RESTORE, KIND = 0.25, 0.25, 0.1  # weights beside the cross-entropy


class Truth(NamedTuple):
    """What a window should have given.

    Attributes:
        labels: [B, L] true where abnormal.
        weight: [B, L] >= 0 or ``None`` for ones; points of weight 0 count nowhere.
        kinds: [B, L] int, or ``None`` for no such term.
        clean: [B, L], what the restoring head should say; ``None`` for no such term.
    """

    labels: Tensor
    weight: Tensor | None = None
    kinds: Tensor | None = None
    clean: Tensor | None = None


def segmentation_loss(logits: Tensor, kind_logits: Tensor, expected: Tensor, truth: Truth) -> Tensor:
    """Weighted cross-entropy + 0.25 Dice, and in pre-training + 0.25 restored values + 0.1 kinds. Scalar.

    Args:
        logits: [B, L].
        kind_logits: [B, T, K].
        expected: [B, L], what the restoring head says.
    """
    logits, target = logits.float(), truth.labels.float()
    weight = torch.ones_like(logits) if truth.weight is None else truth.weight.float()
    total = weight.sum().clamp(min=1e-6)
    positive = torch.tensor(POSITIVE, device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(logits, target, pos_weight=positive, reduction="none")
    loss = (entropy * weight).sum() / total + DICE * dice(logits, target, weight)
    if truth.clean is not None:
        wide = F.smooth_l1_loss(expected.float(), truth.clean.float(), reduction="none")
        loss = loss + RESTORE * (wide * weight).sum() / total
    if truth.kinds is not None:
        tokens = kind_logits.shape[1]
        per_token = truth.kinds.view(len(truth.kinds), tokens, -1).amax(-1).long()
        loss = loss + KIND * F.cross_entropy(kind_logits.float().flatten(0, 1), per_token.flatten())
    return loss


def dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice loss (Milletari et al. 2016, arXiv 1606.04797, equation 3), mean over windows with an anomaly."""
    share = logits.sigmoid() * weight
    true = target * weight
    each = 1 - (2 * (share * target).sum(1) + 1) / (share.sum(1) + true.sum(1) + 1)
    holds = (true.sum(1) > 0).float()
    return (each * holds).sum() / holds.sum().clamp(min=1)
