"""What the network makes of a stretch of values that is looked at by itself: its hidden states, pooled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray
from tsad.detectors.evidence.examined import channel_evidence
from tsad.detectors.patch.windows import Piece, cut_piece, sheet_of, stack

if TYPE_CHECKING:
    from tsad.detectors.patch.crops import Seen
    from tsad.detectors.patch.model import PatchModel


def whole_pieces(values: FloatArray, seen: Seen) -> Iterator[Piece]:
    """The one network window that holds a whole stretch, as many points taken as one as that takes; none where it does
    not vary. [L] -> at most one.
    """
    stamps = np.arange(len(values), dtype=np.int64) * NS_PER_SECOND
    for _, evidence in channel_evidence(Series("stretch", stamps, values[:, None]), seen.needed):
        scale = max(1, -(-len(values) // seen.length))
        yield cut_piece(sheet_of(evidence, scale, seen.rows), 0, seen.length)


def pooled_states(network: PatchModel, pieces: Sequence[Piece], device: str) -> FloatArray:
    """Mean and highest hidden state over the tokens that hold a point. -> [N, 2 D]."""
    import torch

    with torch.inference_mode():
        tokens, held = network.hidden(**stack(pieces, device))
        held = held[:, :, None]
        mean = (tokens * held).sum(1) / held.sum(1).clamp(min=1)
        highest = tokens.masked_fill(~held, -torch.inf).amax(1)
        return np.asarray(torch.cat((mean, highest), 1).float().cpu().numpy(), np.float64)
