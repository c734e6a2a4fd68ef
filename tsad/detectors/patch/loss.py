"""The loss of the patch network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POSITIVE = 2.0  # an abnormal point counts twice: a few per cent of the points are abnormal
DICE, RESTORE, KIND = 0.25, 0.25, 0.1  # weights beside the cross-entropy


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    *,
    kind_logits: Tensor,
    kinds: Tensor | None,
    expected: Tensor,
    clean: Tensor | None,
) -> Tensor:
    """Weighted cross-entropy + 0.25 Dice, and in pre-training + 0.25 restored values + 0.1 kinds. Scalar.

    Args:
        logits, labels: [B, L]. weight: [B, L] >= 0 or ``None`` for ones; points of weight 0 count nowhere.
        kind_logits: [B, T, K]. kinds: [B, L] int, or ``None`` for no such term.
        expected, clean: [B, L], what the restoring head says and should say; ``None`` for no such term.
    """
    logits, target = logits.float(), labels.float()
    weight = torch.ones_like(logits) if weight is None else weight.float()
    total = weight.sum().clamp(min=1e-6)
    positive = torch.tensor(POSITIVE, device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(logits, target, pos_weight=positive, reduction="none")
    loss = (entropy * weight).sum() / total + DICE * dice(logits, target, weight)
    if clean is not None:
        wide = F.smooth_l1_loss(expected.float(), clean.float(), reduction="none")
        loss = loss + RESTORE * (wide * weight).sum() / total
    if kinds is not None:
        tokens = kind_logits.shape[1]
        per_token = kinds.view(len(kinds), tokens, -1).amax(-1).long()
        loss = loss + KIND * F.cross_entropy(kind_logits.float().flatten(0, 1), per_token.flatten())
    return loss


def dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice loss (Milletari et al. 2016, arXiv 1606.04797, equation 3), mean over windows with an anomaly."""
    share = logits.sigmoid() * weight
    true = target * weight
    each = 1 - (2 * (share * target).sum(1) + 1) / (share.sum(1) + true.sum(1) + 1)
    holds = (true.sum(1) > 0).float()
    return (each * holds).sum() / holds.sum().clamp(min=1)
