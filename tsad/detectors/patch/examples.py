"""Training examples for the patch network from reviewed windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.series import Window
from tsad.core.types import BoolArray, IntArray
from tsad.detectors.evidence.channels import INDEX, Evidence
from tsad.detectors.patch.windows import Floats, Rows, cut_piece, scale_weight, scales_for, sheet_of, shrink_flags

if TYPE_CHECKING:
    import torch

TELLING = ("amplitude", "short_energy", "short_neighbour", "neighbour")  # rarity alone is high somewhere in any channel


@dataclass(frozen=True, eq=False)
class Example:
    """One network window with its truth; [L] each, ``rows`` (evidence) [E, L]; ``weight`` 0 where nobody judged or
    nothing was observed."""

    values: Floats
    observed: BoolArray
    rows: Rows
    labels: BoolArray
    weight: Floats


def from_window(
    window: Window, mask: BoolArray, evidence: Sequence[Evidence | None], rng: np.random.Generator, *, length: int,
    seen: IntArray,
) -> Example:  # fmt: skip
    """A crop around a reviewed window at a random scale, mostly a fine one, cut as for scoring.

    Of several channels one is taken: where the window holds an anomaly, the channel that stands out most inside
    it (people label the machine, not its channels), else a random one.

    Args:
        mask: [L] true where abnormal.
        evidence: of each channel of the window's series; ``None`` = constant.
        seen: [E] rows that the network sees.
    """
    usable = [k for k, one in enumerate(evidence) if one is not None]
    if not usable:
        return _blank(length, len(seen))
    channel = _telling_channel(window, mask, evidence, usable) if mask.any() else usable[int(rng.integers(len(usable)))]
    chosen = evidence[channel]
    assert chosen is not None
    scales = scales_for(len(window.series), length)
    weights = np.array([scale_weight(k) for k in scales])
    scale = int(rng.choice(scales, p=weights / weights.sum()))
    truth, judged = np.zeros((2, len(window.series)), bool)
    truth[window.start : window.stop] = mask
    judged[window.start : window.stop] = True
    truth, judged = shrink_flags(truth, scale), shrink_flags(judged, scale)
    sheet = sheet_of(chosen, scale, seen)
    piece = cut_piece(sheet, _crop_start(truth, judged, length, rng), length)
    pad, part = (0, length - piece.size), slice(piece.start, piece.start + piece.size)
    weight = np.pad(judged[part], pad).astype(np.float32) * piece.observed
    return Example(piece.values, piece.observed, piece.rows, np.pad(truth[part], pad), weight)


def _blank(length: int, rows: int) -> Example:
    """What a constant series teaches: nothing."""
    nothing = np.zeros(length, bool)
    zeros = np.zeros(length, np.float32)
    return Example(zeros, nothing, np.zeros((rows, length), np.int16), nothing, zeros)


def to_tensors(made: Sequence[Example], device: str) -> dict[str, torch.Tensor]:
    """Examples as tensors [N, L]: ``values``, ``observed``, ``labels``, ``weight``; and ``evidence`` [N, E, L]."""
    import torch

    def column(name: str) -> Any:
        return torch.from_numpy(np.stack([getattr(e, name) for e in made])).to(device)

    named = {name: column(name) for name in ("values", "observed", "labels", "weight")}
    return named | {"evidence": column("rows")}


def _crop_start(truth: BoolArray, judged: BoolArray, length: int, rng: np.random.Generator) -> int:
    """A random start so that the crop holds the whole window; of a longer window, often a part with an anomaly."""
    inside = np.flatnonzero(judged)
    first, last = int(inside[0]), int(inside[-1]) + 1
    highest = max(0, len(judged) - length)
    if last - first <= length:
        return int(rng.integers(max(0, min(last - length, highest)), min(first, highest) + 1))
    abnormal = np.flatnonzero(truth)
    if len(abnormal) and rng.random() < 0.5:
        centre = int(abnormal[int(rng.integers(len(abnormal)))])
        start = centre - int(rng.integers(length))
    else:
        start = int(rng.integers(first, last - length + 1))
    return int(np.clip(start, max(0, first), min(highest, last - length)))


def _telling_channel(
    window: Window, mask: BoolArray, evidence: Sequence[Evidence | None], usable: Sequence[int]
) -> int:
    """The channel that the evidence finds most unusual inside the mask."""
    inside = window.start + np.flatnonzero(mask)
    heights = []
    for channel in usable:
        one = evidence[channel]
        assert one is not None
        heights.append(sum(float(np.abs(one.rows[INDEX[name], inside]).max()) for name in TELLING))
    return usable[int(np.argmax(heights))]
