"""Training examples for the patch network from reviewed windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray, Window
from tsad.detectors.base import tame
from tsad.detectors.patch.windows import encode_piece, scale_weight, shrink, shrink_flags

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Example:
    """One network window with its truth; all [L], ``weight`` 0 where nobody judged or nothing was observed."""

    values: npt.NDArray[np.float32]
    observed: BoolArray
    labels: BoolArray
    weight: npt.NDArray[np.float32]


def from_window(
    window: Window, mask: BoolArray, rng: np.random.Generator, *, scales: Sequence[int], length: int, margin: int
) -> Example:
    """A crop around a reviewed window at a random scale, mostly a fine one, cut and normalised as for scoring.

    Of several channels one is taken: where the window holds an anomaly, the channel that stands out most inside
    it (people label the machine, not its channels), else a random one.
    """
    series = window.series
    channel = _telling_channel(window, mask) if mask.any() else int(rng.integers(series.values.shape[1]))
    usable = scales if len(series) > length else scales[:1]
    weights = np.array([scale_weight(k) for k in usable])
    scale = int(rng.choice(usable, p=weights / weights.sum()))
    truth, judged = np.zeros((2, len(series)), bool)
    truth[window.start : window.stop] = mask
    judged[window.start : window.stop] = True
    values = shrink(tame(series.values[:, channel]), scale)
    truth, judged = shrink_flags(truth, scale), shrink_flags(judged, scale)
    start = _crop_start(truth, judged, length, rng)
    return crop(values, truth, judged.astype(np.float32), start, length, margin)


def crop(
    values: FloatArray, truth: BoolArray, weight: npt.NDArray[np.float32], start: int, length: int, margin: int
) -> Example:
    """The network window from ``start`` on with its labels and weights, padded. All inputs [N] of one scale."""
    piece = encode_piece(values, start, length, margin)
    pad = (0, length - piece.size)
    stop = start + piece.size
    judged = np.pad(weight[start:stop], pad).astype(np.float32)
    return Example(piece.values, piece.observed, np.pad(truth[start:stop], pad), judged * piece.observed)


def to_tensors(made: Sequence[Example], device: str) -> dict[str, torch.Tensor]:
    """Examples as tensors [N, L]: ``values`` float32, ``observed`` bool, ``labels`` bool, ``weight`` float32."""
    import torch

    def column(name: str) -> Any:
        return torch.from_numpy(np.stack([getattr(e, name) for e in made])).to(device)

    return {name: column(name) for name in ("values", "observed", "labels", "weight")}


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


def _telling_channel(window: Window, mask: BoolArray) -> int:
    """The channel whose robust z-score is highest inside the mask, relative to the series at hand."""
    values = window.series.values
    if values.shape[1] == 1:
        return 0
    heights = []
    for channel in values.T:
        x = tame(channel)
        seen = x[np.isfinite(x)]
        inside = x[window.start : window.stop][mask]
        inside = inside[np.isfinite(inside)]
        if len(inside) == 0:
            heights.append(-1.0)
            continue
        middle = float(np.median(seen))
        spread = 1.4826 * float(np.median(np.abs(seen - middle))) + 0.05 * float(np.std(seen)) + 1e-12
        heights.append(float(np.abs(inside - middle).max()) / spread)
    return int(np.argmax(heights))
