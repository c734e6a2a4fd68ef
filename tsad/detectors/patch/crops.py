"""Labelled synthetic windows for pre-training and replay: random crops of generated series."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray
from tsad.detectors.patch.examples import Example, crop, to_tensors
from tsad.detectors.patch.windows import shrink, surroundings
from tsad.synthetic.generator import Batch, make_batch

if TYPE_CHECKING:
    import torch

POINTS = 4  # each synthetic series is this many network windows long
SCALES, SCALE_SHARES = (1, 2, 4), (0.5, 0.2, 0.3)


@dataclass(frozen=True, eq=False)
class Crop:
    """A labelled network window with what only synthetic series know: ``kinds`` [L] and the ``clean`` values [L]."""

    example: Example
    kinds: npt.NDArray[np.int8]
    clean: npt.NDArray[np.float32]


class ExampleStream:
    """Endless training batches: half of each from series made this very step, half from recent ones."""

    def __init__(self, rng: np.random.Generator, size: int, length: int, keep: int = 64) -> None:
        self._rng, self._size, self._length = rng, size, length
        self._recent: deque[Batch] = deque(maxlen=keep)

    def batch(self, device: str) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network's ``forward``, [B, L] each."""
        fresh = max(1, self._size // 2)
        self._recent.append(make_batch(self._rng, fresh, POINTS * self._length))
        crops = [draw_crop(self._recent[-1], row, self._rng, self._length) for row in range(fresh)]
        while len(crops) < self._size:
            older = self._recent[int(self._rng.integers(len(self._recent)))]
            crops.append(draw_crop(older, int(self._rng.integers(fresh)), self._rng, self._length))
        return crop_tensors(crops, device)


def draw_crop(batch: Batch, row: int, rng: np.random.Generator, length: int) -> Crop:
    """A random crop of one synthetic series: scale, place, sign, direction, surroundings, length and holes vary."""
    scale = int(rng.choice(SCALES, p=SCALE_SHARES))
    sign, step = (int(rng.choice((-1, 1), p=(0.4, 0.6))), int(rng.choice((-1, 1), p=(0.3, 0.7))))
    values = shrink(sign * batch.values[row, ::step].astype(np.float64), scale)
    clean = shrink(sign * batch.clean[row, ::step].astype(np.float64), scale)
    kinds = batch.kinds[row, ::step].reshape(-1, scale).max(axis=1)
    size = length if rng.random() < 0.85 else int(np.exp(rng.uniform(np.log(64), np.log(length))))
    start = int(rng.integers(len(values) - size + 1))
    margin = int(rng.integers(1, 2 * length)) if rng.random() < 0.7 else len(values)
    around = slice(max(0, start - margin), start + size + margin)
    if size < length:  # a short series: nothing beyond its ends
        around = slice(start, start + size)
    values, clean, kinds, start = values[around], clean[around], kinds[around], start - around.start
    holed = _with_holes(values, rng)
    weight = np.ones(len(values), np.float32)
    example = crop(holed, kinds > 0, weight, start, length, margin)
    return Crop(
        example,
        np.pad(kinds[start : start + size], (0, length - size)),
        _normalised_clean(holed, clean, start, length, margin),
    )


def _normalised_clean(
    values: FloatArray, clean: FloatArray, start: int, length: int, margin: int
) -> npt.NDArray[np.float32]:
    """The clean twin [L] on the scale of the window it belongs to, not on its own."""
    stop = min(start + length, len(values))
    level, spread = surroundings(values, start, stop, margin)
    scaled = (clean[start:stop] - level) / (spread or 1.0)
    return np.pad(scaled.clip(-1e3, 1e3), (0, length - (stop - start)), mode="edge").astype(np.float32)


def _with_holes(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Some series lose single points or a few stretches, as real ones do. [N] -> [N], NaN where missing."""
    kind = rng.random()
    if kind > 0.2:
        return values
    holed = values.copy()
    if kind < 0.08:
        holed[rng.random(len(values)) < rng.uniform(0.005, 0.2)] = np.nan
        return holed if np.isfinite(holed).any() else values
    for _ in range(int(rng.integers(1, 5))):
        size = int(np.exp(rng.uniform(0, np.log(max(2, len(values) // 8)))))
        at = int(rng.integers(len(values)))
        holed[at : at + size] = np.nan
    return holed if np.isfinite(holed).any() else values


def crop_tensors(crops: list[Crop], device: str) -> dict[str, torch.Tensor]:
    """Keyword arguments of the network's ``forward``, [B, L] each."""
    import torch

    return to_tensors([c.example for c in crops], device) | {
        "kinds": torch.from_numpy(np.stack([c.kinds for c in crops])).to(device),
        "clean": torch.from_numpy(np.stack([c.clean for c in crops])).to(device),
    }


def held_out(rng: np.random.Generator, count: int, length: int, size: int = 32) -> list[dict[str, torch.Tensor]]:
    """``count`` crops in batches of ``size`` on the CPU, to validate on."""
    batch = make_batch(rng, count, POINTS * length)
    crops = [draw_crop(batch, row, rng, length) for row in range(count)]
    return [crop_tensors(crops[k : k + size], "cpu") for k in range(0, count, size)]


def replay(count: int, rng: np.random.Generator, length: int) -> list[Example]:
    """``count`` examples of series made for the purpose."""
    batch = make_batch(rng, count, POINTS * length)
    return [draw_crop(batch, row, rng, length).example for row in range(count)]
