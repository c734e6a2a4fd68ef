"""Labelled synthetic windows for pre-training and replay: random crops of generated series, with their evidence."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import FAR, GROUPS, INDEX, SIGNED, Evidence, evidence_of, scale_of
from tsad.detectors.numeric import fill_missing
from tsad.detectors.patch.examples import Example, to_tensors
from tsad.detectors.patch.windows import Floats, Sheet, cut_piece, sheet_of, shrink
from tsad.synthetic.generator import make_batch
from tsad.synthetic.stream import in_order

if TYPE_CHECKING:
    import torch

LENGTHS, LENGTH_SHARES = (512, 1024, 4096, 16384), (0.1, 0.12, 0.5, 0.28)
CHUNK = 1 << 16  # points generated at once
SCALES = (1, 2, 4, 8, 16)
SCALE_SHARES = (0.42, 0.12, 0.22, 0.1, 0.14)
ABSENT = 0.15  # share of the examples that lose a group of evidence, group by group
FOREIGN = (0.06, 0.06, 0.1, 0.12, 0.12, 0.06, 0.06, 0.06, 0.06, 0.06)  # ... whose group comes from another place
FLIPS = [INDEX[name] for name in SIGNED]


@dataclass(frozen=True, eq=False)
class Sample:
    """One synthetic series with its evidence; ``kinds`` [T], ``clean`` [T] on the scale of ``evidence.values``."""

    evidence: Evidence
    kinds: npt.NDArray[np.int8]
    clean: Floats


@dataclass(frozen=True, eq=False)
class Crop:
    """A labelled network window with what only synthetic series know: ``kinds`` [L] and the ``clean`` values [L]."""

    example: Example
    kinds: npt.NDArray[np.int8]
    clean: Floats


class ExampleStream:
    """Endless training batches of crops of recent synthetic series; new series join at a fixed pace.

    Everything follows from ``seed``, whatever the number of workers: chunk k of series is made from the generator
    (seed, k), crops come from one of their own.

    Args:
        workers: processes that make series ahead; 0 = the caller's own.
        every: batches between two new chunks.
        keep: chunks at hand, some 3 MB each.
    """

    def __init__(
        self, seed: int, size: int, length: int, *, workers: int = 0, every: int = 3, keep: int = 192
    ) -> None:
        self._seed, self._size, self._length, self._every, self._workers = seed, size, length, every, workers
        self._rng = np.random.default_rng((seed, 1 << 30))
        self._chunks: deque[list[Sample]] = deque(maxlen=keep)
        self._made = self._taken = 0
        self._fresh: Generator[list[Sample]] | None = None

    def batch(self, device: str) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network's ``forward``, [B, L] each, evidence [B, E, L]."""
        if self._fresh is None:
            self._fresh = chunks(self._seed, self._made, self._workers)
        if self._taken % self._every == 0:
            self._chunks.append(next(self._fresh))
            self._made += 1
        self._taken += 1
        crops = []
        for k in range(self._size):
            chunk = self._chunks[-1 if k % 2 else int(self._rng.integers(len(self._chunks)))]
            crops.append(draw_crop(chunk, self._rng, self._length))
        return crop_tensors(crops, device)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` goes on from: counts and the state of the crops' generator, not the series."""
        return {"taken": self._taken, "made": self._made, "rng": self._rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken; the series at hand then are made again, which takes some seconds."""
        self._taken, self._made = state["taken"], state["made"]
        self._rng.bit_generator.state = state["rng"]
        first = max(0, self._made - (self._chunks.maxlen or 0))
        self._fresh = chunks(self._seed, first, self._workers)
        self._chunks.clear()
        self._chunks.extend(itertools.islice(self._fresh, self._made - first))

    def close(self) -> None:
        """Stop the workers."""
        if self._fresh is not None:
            self._fresh.close()


def chunks(seed: int, first: int, workers: int) -> Generator[list[Sample]]:
    """Chunks ``first``, ``first + 1``, ... of a seed, made ahead by ``workers`` processes.

    Raises:
        StreamError: while iterating, when a worker has died.
    """
    make = functools.partial(_workers_chunk if workers else seeded_chunk, seed)
    return in_order(make, workers, first, what=f"chunks of {CHUNK} points")


def _workers_chunk(seed: int, number: int) -> list[Sample]:
    import torch

    torch.set_num_threads(1)  # a core for each worker
    return seeded_chunk(seed, number)


def seeded_chunk(seed: int, number: int) -> list[Sample]:
    """Chunk ``number`` of a seed."""
    return make_chunk(np.random.default_rng((seed, number)))


def make_chunk(rng: np.random.Generator, points: int = CHUNK) -> list[Sample]:
    """Series of one random length that hold about ``points`` points together."""
    length = int(rng.choice(LENGTHS, p=LENGTH_SHARES))
    batch = make_batch(rng, max(1, points // length), length)
    return [
        _sample(_with_holes(values.astype(np.float64), rng), kinds, clean)
        for values, kinds, clean in zip(batch.values, batch.kinds, batch.clean, strict=True)
    ]


def _sample(values: FloatArray, kinds: npt.NDArray[np.int8], clean: Floats) -> Sample:
    evidence = evidence_of(values)
    middle, spread = scale_of(fill_missing(values)[0])
    return Sample(evidence, kinds, ((clean - middle) / spread).clip(-FAR, FAR).astype(np.float32))


def draw_crop(chunk: list[Sample], rng: np.random.Generator, length: int) -> Crop:
    """A random crop of a random series: scale, place, sign and direction vary, and some evidence is lost or wrong."""
    sample = chunk[int(rng.integers(len(chunk)))]
    total = len(sample.clean)
    fits = [k for k in SCALES if k == 1 or total // k >= length // 2]
    shares = np.array(SCALE_SHARES[: len(fits)])
    scale = int(rng.choice(fits, p=shares / shares.sum()))
    size = min(total, scale * length)
    start = int(rng.integers(total - size + 1))
    evidence = _corrupted(_part(sample.evidence, start, size), chunk, rng)
    flip, turn = rng.random() < 0.4, -1 if rng.random() < 0.3 else 1
    clean = sample.clean[start : start + size]
    if flip:
        rows = evidence.rows.copy()
        rows[FLIPS] *= -1
        evidence, clean = replace(evidence, values=-evidence.values, rows=rows), -clean
    sheet = sheet_of(evidence, scale)
    sheet = Sheet(sheet.values[::turn], sheet.observed[::turn], sheet.rows[:, ::turn])
    clean = shrink(clean, np.ones(size, bool), scale)[::turn]
    padded = np.pad(sample.kinds[start : start + size], (0, -size % scale))
    kinds = padded.reshape(-1, scale).max(axis=1)[::turn]
    return _finished(sheet, kinds, clean, length)


def _finished(sheet: Sheet, kinds: npt.NDArray[np.int8], clean: Floats, length: int) -> Crop:
    piece = cut_piece(sheet, 0, length)
    pad = (0, length - piece.size)
    kinds, clean = np.pad(kinds[: piece.size], pad), np.pad(clean[: piece.size], pad, mode="edge")
    weight = piece.observed.astype(np.float32)
    return Crop(Example(piece.values, piece.observed, piece.rows, kinds > 0, weight), kinds, clean)


def _part(evidence: Evidence, start: int, size: int) -> Evidence:
    part = slice(start, start + size)
    return Evidence(evidence.values[part], evidence.observed[part], evidence.rows[:, part], evidence.period)


def _corrupted(evidence: Evidence, chunk: list[Sample], rng: np.random.Generator) -> Evidence:
    """Groups of evidence lost, or taken from another series: what contradicts the values must not be believed."""
    luck = rng.random(len(GROUPS))
    rows = evidence.rows
    size = rows.shape[1]
    for group, chance, foreign in zip(GROUPS, luck, FOREIGN, strict=True):
        if chance >= ABSENT + foreign:
            continue
        if rows is evidence.rows:
            rows = rows.copy()
        if chance < ABSENT:
            rows[list(group)] = 0
        else:
            other = chunk[int(rng.integers(len(chunk)))].evidence.rows
            start = int(rng.integers(other.shape[1] - size + 1))
            rows[list(group)] = other[list(group), start : start + size]
    return replace(evidence, rows=rows)


def _with_holes(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Some series lose single points or a few stretches, as real ones do. [N] -> [N], NaN where missing."""
    kind = rng.random()
    if kind > 0.15:
        return values
    holed = values.copy()
    if kind < 0.06:
        holed[rng.random(len(values)) < rng.uniform(0.005, 0.2)] = np.nan
        return holed if np.isfinite(holed).any() else values
    for _ in range(int(rng.integers(1, 5))):
        size = int(np.exp(rng.uniform(0, np.log(max(2, len(values) // 8)))))
        at = int(rng.integers(len(values)))
        holed[at : at + size] = np.nan
    return holed if np.isfinite(holed).any() else values


def crop_tensors(crops: list[Crop], device: str) -> dict[str, torch.Tensor]:
    """Keyword arguments of the network's ``forward``, [B, L] each, evidence [B, E, L]."""
    import torch

    return to_tensors([c.example for c in crops], device) | {
        "kinds": torch.from_numpy(np.stack([c.kinds for c in crops])).to(device),
        "clean": torch.from_numpy(np.stack([c.clean for c in crops])).to(device),
    }


def held_out(rng: np.random.Generator, count: int, length: int, size: int = 32) -> list[dict[str, torch.Tensor]]:
    """``count`` crops in batches of ``size`` on the CPU, to validate on."""
    chunks = [make_chunk(rng) for _ in range(8)]
    crops = [draw_crop(chunks[k % 8], rng, length) for k in range(count)]
    return [crop_tensors(crops[k : k + size], "cpu") for k in range(0, count, size)]


def replay(count: int, rng: np.random.Generator, length: int) -> list[Example]:
    """``count`` examples of series made for the purpose."""
    chunk = make_chunk(rng, min(CHUNK, 4 * count * length))
    return [draw_crop(chunk, rng, length).example for _ in range(count)]


