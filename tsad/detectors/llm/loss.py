"""The loss of an answer, with logits where it is taught alone: 4.4 GiB less at 8B parameters and a batch of 8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tsad.core.tuning import UNTAUGHT

if TYPE_CHECKING:
    import torch


def answer_loss(head: Any, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the taught tokens, each from the hidden state before it.

    Args:
        head: hidden states -> logits of the vocabulary.
        hidden: [N, S, H].
        labels: [N, S] tokens, ``UNTAUGHT`` where nothing is taught.
    """
    from torch.nn.functional import cross_entropy

    following = labels[:, 1:]
    taught = following != UNTAUGHT
    return cross_entropy(head(hidden[:, :-1][taught]).float(), following[taught])
