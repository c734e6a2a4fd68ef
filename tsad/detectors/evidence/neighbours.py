"""Distance of each sub-sequence to its nearest neighbours among sampled ones: linear in the length of the series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsad.detectors.evidence.ranks import Floats, between, box

DIMENSIONS = 32  # a longer sub-sequence is averaged down to this many values
REFERENCES = 384  # of one group; the mean of the nearest in two groups is steadier than the nearest of all
LONG = 1 << 18  # points: of longer series one group must do
FURTHEST = 1e30
BLOCK = 512  # sub-sequences compared at once: their distances stay in the processor's cache
SHARE = 4  # sub-sequences begin every quarter of their length
MOST = 4096  # references of one group, where one odd cycle in very many is looked for


class _Compared(NamedTuple):
    """The sub-sequences of a series and those that they are compared with.

    Attributes:
        own: [N, width]; they begin at ``starts`` [N].
        references: [groups, K] positions.
        unit, level: what deviations and levels are measured by.
    """

    own: Floats
    starts: np.ndarray
    references: np.ndarray
    unit: float
    level: float


def neighbour_distances(
    values: Floats, length: float, *, shape: bool, amplitude: bool = True, references: int = REFERENCES
) -> list[Floats]:
    """Per point, how far the sub-sequences over it lie from the most similar ones elsewhere. [T] -> list of [T].

    Two distances: of the shape alone (each sub-sequence scaled by its own spread), and of shape with amplitude and
    level. References, so many per group, are drawn with a fixed seed; those that overlap do not count.
    Zeros for series too short to compare.
    """
    import torch

    total = len(values)
    length = float(np.clip(length, 8, max(8, total // 4)))
    rate = max(1.0, length / DIMENSIONS)
    width, count = round(length / rate), int(total / rate)
    kinds = [by_shape for by_shape, wanted in ((True, shape), (False, amplitude)) if wanted]
    if count < 2 * width + 8:
        return [np.zeros(total, np.float32) for _ in kinds]
    coarse = _resampled(values, rate, count)
    stride = -(-width // SHARE)
    every = np.lib.stride_tricks.sliding_window_view(coarse, width)
    own, starts = every[::stride], np.arange(0, len(every), stride)
    groups = 1 if total > LONG or references < REFERENCES else 2
    drawn = np.random.default_rng(0).permutation(len(every))[: groups * references]
    drawn = np.sort(drawn[: len(drawn) // groups * groups].reshape(groups, -1), axis=1)
    spread = own[:: max(1, len(own) // 8192)].std(axis=1)
    unit = float(np.median(spread)) + 1e-3 * float(coarse.std()) + 1e-9
    compared = _Compared(own, starts, drawn, unit, float(np.median(coarse)))
    found = []
    for by_shape in kinds:
        targets = torch.from_numpy(_describe(every[drawn.ravel()], compared, by_shape))
        distances = _nearest(compared, targets, by_shape)
        centre = (starts + width / 2) * rate
        spread_out = between(np.arange(total), centre, distances)
        found.append(box(spread_out, length / 2) / np.float32(np.sqrt(width)))
    return found


def _resampled(values: Floats, rate: float, count: int) -> Floats:
    if rate == 1.0:
        return values
    total = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    edges = np.interp(np.arange(count + 1) * rate, np.arange(len(total)), total)
    return (np.diff(edges) / rate).astype(np.float32)


def _describe(rows: Floats, compared: _Compared, by_shape: bool) -> Floats:
    """What is compared: [N, width] of shapes, or [N, width + 1] of deviations and the weighted level."""
    middle = rows.mean(axis=1, keepdims=True)
    away = rows - middle
    if by_shape:
        return away / np.maximum(away.std(axis=1, keepdims=True), 0.25 * compared.unit)
    weight = 0.5 * np.sqrt(rows.shape[1])
    return np.asarray(np.concatenate((away, (middle - compared.level) * weight), axis=1) / compared.unit, np.float32)


def _nearest(compared: _Compared, targets: object, by_shape: bool) -> Floats:
    """Mean distance of each sub-sequence to the nearest target of each group, [N]."""
    import torch

    assert isinstance(targets, torch.Tensor)
    own, starts, references = compared.own, compared.starts, compared.references
    near = 0.75 * own.shape[1]
    squares = (targets * targets).sum(1)
    flat = references.ravel()
    out = np.empty(len(own), np.float32)
    for begin in range(0, len(own), BLOCK):
        rows = torch.from_numpy(_describe(own[begin : begin + BLOCK], compared, by_shape))
        table = torch.addmm(squares[None], rows, targets.T, alpha=-2)
        _leave_out(table, starts[begin : begin + BLOCK], flat, near)
        best = table.view(len(rows), len(references), -1).amin(2) + (rows * rows).sum(1, keepdim=True)
        usable = best < FURTHEST / 2
        distance = (best.clamp(min=0).sqrt() * usable).sum(1) / usable.sum(1).clamp(min=1)
        out[begin : begin + BLOCK] = distance.numpy()
    return out


def _leave_out(table: object, starts: np.ndarray, references: np.ndarray, near: float) -> None:
    """Set the distances between overlapping sub-sequences beyond reach, in place."""
    import torch

    assert isinstance(table, torch.Tensor)
    columns = np.flatnonzero((references > starts[0] - near) & (references < starts[-1] + near))
    if len(columns) == 0:
        return
    low = np.searchsorted(starts, references[columns] - near, side="right")
    high = np.searchsorted(starts, references[columns] + near, side="left")
    count = np.maximum(high - low, 0)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    table.numpy()[rows, np.repeat(columns, count)] = FURTHEST


def cycle_references(points: float) -> int:
    """References per group to find one odd cycle of so many points: of longer ones fewer are compared."""
    return int(np.clip(6 * points, REFERENCES, MOST))
