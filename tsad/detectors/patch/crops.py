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

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.detectors.evidence.channels import (
    CHANNELS,
    FAR,
    INDEX,
    REPLACED,
    SECOND_EDITION,
    SIGNED,
    Beside,
    Evidence,
    evidence_of,
    scale_of,
    scaled_values,
)
from tsad.detectors.evidence.together import cross_residuals
from tsad.detectors.numeric import fill_missing
from tsad.detectors.patch.examples import Example, to_tensors
from tsad.detectors.patch.windows import Floats, Sheet, cut_piece, rows_seen, sheet_of, shrink
from tsad.synthetic.coupled import MACHINE_KINDS, make_machine
from tsad.synthetic.generator import make_batch
from tsad.synthetic.stream import in_order

if TYPE_CHECKING:
    import torch

LENGTHS, LENGTH_SHARES = (512, 1024, 4096, 16384), (0.1, 0.12, 0.5, 0.28)
CHUNK = 1 << 16  # points generated at once
MANY = 32  # series of a chunk, at most: of short ones the evidence takes longer than the crops are worth
SCALES = (1, 2, 4, 8, 16)
SCALE_SHARES = (0.42, 0.12, 0.22, 0.1, 0.14)
ABSENT = 0.15  # share of the examples that lose a group of evidence, group by group
USUAL, OFTEN = 0.06, 0.12  # ... whose group comes from another place
GROUPS: tuple[tuple[float, tuple[str, ...]], ...] = (  # rows that fail together
    (USUAL, ("amplitude", "difference")),
    (USUAL, ("short_residual", "short_energy", "short_energy_rarity")),
    (OFTEN, ("energy", "energy_rarity")),
    (OFTEN, ("season_residual", "season_score")),
    (OFTEN, ("shape", "shape_rarity", "neighbour", "neighbour_rarity")),
    (OFTEN, ("cycle", "cycle_rarity", "two_cycles", "two_cycles_rarity")),
    (USUAL, ("middle_neighbour", "middle_neighbour_rarity")),
    (USUAL, ("short_neighbour", "short_neighbour_rarity", "short_core")),
    (USUAL, ("brief_neighbour", "brief_neighbour_rarity", "brief_core")),
    (USUAL, ("level",)),
    (USUAL, ("spread",)),
    (USUAL, ("strength", "log_period")),
    (USUAL, ("short_features", "short_features_rarity", "short_memory")),
    (USUAL, ("long_features", "long_features_rarity", "long_memory")),
    (USUAL, ("longest_features", "longest_features_rarity")),
    (USUAL, ("others_residual", "others_energy")),
)
FLIPS = [INDEX[name] for name in SIGNED]
_OPPOSITE = {"spike": "dip", "dip": "spike"}
MIRRORED = np.array([MACHINE_KINDS.index(_OPPOSITE.get(k, k)) for k in MACHINE_KINDS], np.int8)  # of a flipped series
MACHINES = 0.12  # share of the chunks that hold machines of several channels
REMEMBERED = 0.4  # share of the series that somebody has called normal in places
REVIEWED = 512  # points that are called normal at once


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


@dataclass(frozen=True)
class Seen:
    """What a network sees of a series: windows of ``length`` points, and the named rows of evidence."""

    length: int
    names: tuple[str, ...] = CHANNELS

    @classmethod
    def by(cls, config: Any) -> Seen:
        """What a network of this configuration (``PatchConfig``) sees."""
        return cls(config.length, tuple(config.evidence))

    @property
    def rows(self) -> IntArray:
        """Where they stand, [E]."""
        return rows_seen(self.names)

    @property
    def needed(self) -> tuple[str, ...]:
        """Rows that scoring needs: the network's, the blend's, and those that proposals are made of."""
        return CHANNELS if set(REPLACED) & set(self.names) else SECOND_EDITION


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
        self, seed: int, size: int, seen: Seen, *, workers: int = 0, every: int = 5, keep: int = 192
    ) -> None:
        self._seed, self._size, self._seen, self._every, self._workers = seed, size, seen, every, workers
        self._rng = np.random.default_rng((seed, 1 << 30))
        self._chunks: deque[list[Sample]] = deque(maxlen=keep)
        self._made = self._taken = 0
        self._fresh: Generator[list[Sample]] | None = None

    def batch(self, device: str) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network's ``forward``, [B, L] each, evidence [B, E, L]."""
        if self._fresh is None:
            self._fresh = chunks(self._seed, self._made, self._seen.names, self._workers)
        if self._taken % self._every == 0:
            self._chunks.append(next(self._fresh))
            self._made += 1
        self._taken += 1
        crops = []
        for k in range(self._size):
            chunk = self._chunks[-1 if k % 2 else int(self._rng.integers(len(self._chunks)))]
            crops.append(draw_crop(chunk, self._rng, self._seen))
        return crop_tensors(crops, device)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` goes on from: counts and the state of the crops' generator, not the series."""
        return {"taken": self._taken, "made": self._made, "rng": self._rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken; the series at hand then are made again, which takes some seconds."""
        self._taken, self._made = state["taken"], state["made"]
        self._rng.bit_generator.state = state["rng"]
        first = max(0, self._made - (self._chunks.maxlen or 0))
        self._fresh = chunks(self._seed, first, self._seen.names, self._workers)
        self._chunks.clear()
        self._chunks.extend(itertools.islice(self._fresh, self._made - first))

    def close(self) -> None:
        """Stop the workers."""
        if self._fresh is not None:
            self._fresh.close()


def chunks(seed: int, first: int, names: tuple[str, ...], workers: int) -> Generator[list[Sample]]:
    """Chunks ``first``, ``first + 1``, ... of a seed, made ahead by ``workers`` processes.

    Raises:
        StreamError: while iterating, when a worker has died.
    """
    make = functools.partial(_workers_chunk if workers else seeded_chunk, seed, names)
    return in_order(make, workers, first, what=f"chunks of {CHUNK} points")


def _workers_chunk(seed: int, names: tuple[str, ...], number: int) -> list[Sample]:
    import torch

    torch.set_num_threads(1)  # a core for each worker
    return seeded_chunk(seed, names, number)


def seeded_chunk(seed: int, names: tuple[str, ...], number: int) -> list[Sample]:
    """Chunk ``number`` of a seed with the named rows of evidence."""
    return make_chunk(np.random.default_rng((seed, number)), names)


def make_chunk(rng: np.random.Generator, names: tuple[str, ...] = CHANNELS, points: int = CHUNK) -> list[Sample]:
    """Series of one random length that hold about ``points`` points together; some are the channels of machines."""
    length = int(rng.choice(LENGTHS, p=LENGTH_SHARES))
    if rng.random() < MACHINES:
        return list(itertools.islice(_machine_samples(rng, names, length), min(MANY, max(1, points // length))))
    batch = make_batch(rng, min(MANY, max(1, points // length)), length)
    return [
        _sample(_with_holes(values.astype(np.float64), rng), kinds, clean, names, _reviewed(rng, kinds))
        for values, kinds, clean in zip(batch.values, batch.kinds, batch.clean, strict=True)
    ]


def _machine_samples(rng: np.random.Generator, names: tuple[str, ...], length: int) -> Generator[Sample]:
    """The channels of one machine after the other."""
    while True:
        count = int(rng.integers(2, 9))
        machine = make_machine(rng, count, length)
        scaled = np.stack([scaled_values(fill_missing(v)[0]) for v in machine.values.T.astype(np.float64)], axis=1)
        residuals = cross_residuals(scaled)
        for channel in range(count):
            kinds = np.where(machine.channel_labels[:, channel], machine.kinds, 0).astype(np.int8)
            values, clean = machine.values[:, channel].astype(np.float64), machine.clean[:, channel]
            yield _sample(values, kinds, clean, names, _reviewed(rng, kinds), residuals[:, channel])


def _reviewed(rng: np.random.Generator, kinds: npt.NDArray[np.int8]) -> BoolArray | None:
    """What people have called normal of a series, window by window, or ``None``. [T] -> [T]."""
    if rng.random() > REMEMBERED:
        return None
    seen = np.zeros(len(kinds), bool)
    for _ in range(int(rng.integers(1, 9))):
        start = int(rng.integers(max(1, len(kinds) - REVIEWED + 1)))
        seen[start : start + REVIEWED] = True
    return seen & (kinds == 0)


def _sample(
    values: FloatArray, kinds: npt.NDArray[np.int8], clean: Floats, names: tuple[str, ...],
    normal: BoolArray | None, residual: Floats | None = None,
) -> Sample:  # fmt: skip
    evidence = evidence_of(values, names, Beside(residual, normal))
    middle, spread = scale_of(fill_missing(values)[0])
    return Sample(evidence, kinds, ((clean - middle) / spread).clip(-FAR, FAR).astype(np.float32))


def draw_crop(chunk: list[Sample], rng: np.random.Generator, seen: Seen) -> Crop:
    """A random crop of a random series: scale, place, sign and direction vary, and some evidence is lost or wrong."""
    sample, length = chunk[int(rng.integers(len(chunk)))], seen.length
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
    sheet = sheet_of(evidence, scale, seen.rows)
    sheet = replace(
        sheet, values=sheet.values[::turn], observed=sheet.observed[::turn], rows=sheet.rows[:, ::turn]
    )
    clean = shrink(clean, np.ones(size, bool), scale)[::turn]
    padded = np.pad(sample.kinds[start : start + size], (0, -size % scale))
    kinds = padded.reshape(-1, scale).max(axis=1)[::turn]
    kinds = MIRRORED[kinds] if flip else kinds
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
    for (foreign, names), chance in zip(GROUPS, luck, strict=True):
        if chance >= ABSENT + foreign:
            continue
        if rows is evidence.rows:
            rows = rows.copy()
        group = [INDEX[name] for name in names]
        if chance < ABSENT:
            rows[group] = 0
        else:
            other = chunk[int(rng.integers(len(chunk)))].evidence.rows
            start = int(rng.integers(other.shape[1] - size + 1))
            rows[group] = other[group, start : start + size]
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


def held_out(rng: np.random.Generator, count: int, seen: Seen, size: int = 32) -> list[dict[str, torch.Tensor]]:
    """``count`` crops in batches of ``size`` on the CPU, to validate on."""
    chunks = [make_chunk(rng, seen.names) for _ in range(8)]
    crops = [draw_crop(chunks[k % 8], rng, seen) for k in range(count)]
    return [crop_tensors(crops[k : k + size], "cpu") for k in range(0, count, size)]


def replay(count: int, rng: np.random.Generator, seen: Seen) -> list[Example]:
    """``count`` examples of series made for the purpose."""
    chunk = make_chunk(rng, seen.names, min(CHUNK, 4 * count * seen.length))
    return [draw_crop(chunk, rng, seen).example for _ in range(count)]


