"""How the values of a candidate differ from those around it, in units of their noise."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import Floats, gather, medians, over, over_or

NAMES = ("cycles", "bump", "step", "away", "away_size", "beyond", "roughness", "relative_range", "noise", "recovery",
         "direction", "jump", "distance")  # fmt: skip
BESIDE = (16, 128)  # points before and after that are the neighbourhood: as many as the candidate has, within these
AROUND = 256  # points on either side that are its surroundings
FEWEST = 8  # points of the surroundings: with fewer, the whole series stands for them
BLOCK = 2048  # candidates at a time


def shape_features(context: Context) -> FloatArray:
    """[K, 13] in the order of :data:`NAMES`; 0 but for ``cycles`` where no channel varies.

    ``cycles``: log2 of the length in periods. ``bump``: mean above the neighbourhood's medians; ``step``: from the
    median before to that after, both asinh in units of the noise. ``away``, ``away_size``: the point farthest from
    the surroundings' median, asinh in units of their MAD; ``distance`` of the whole series' deviation;
    ``direction`` its sign. ``beyond``: how far it leaves the surroundings' range. ``roughness``: log of the mean step
    inside over that around; ``jump``: the largest step. ``relative_range``: log of the range inside over that around.
    ``noise``: log of the mean step around. ``recovery``: the step as a share of the bump.
    """
    out = np.zeros((len(context.candidates), len(NAMES)))
    out[:, 0] = np.log2(context.size / np.maximum(context.period[:, 0], 1))
    for own, channel in context.by_channel():
        steps = np.abs(np.diff(channel.values))
        for start in range(0, len(own), BLOCK):
            part = own[start : start + BLOCK]
            out[part, 1:] = _shapes(channel.values, steps, context.candidates.runs[part])
    return out


def _shapes(x: Floats, steps: Floats, runs: IntArray) -> FloatArray:
    """[K, 12] of candidates of one channel; ``steps`` [T - 1]: size of the step from each point to the next."""
    starts, stops = runs.T
    size = stops - starts
    mean = np.add.reduceat(np.append(x, x[-1:]), runs.ravel(), dtype=np.float64)[::2] / size
    high, low = over(x, np.maximum, runs), over(x, np.minimum, runs)
    before, after = _beside(x, runs)
    middle, mad, noise, bottom, top = _around(x, steps, runs)
    up, down = high - middle, middle - low
    away = np.where(up >= down, up, -down)
    beyond = np.maximum(high - top, bottom - low) / (top - bottom + 0.05)
    bump, step = mean - (before + after) / 2, after - before
    inner = over_or(steps, np.add, np.stack((starts, stops - 1), axis=1), 0.0) / np.maximum(size - 1, 1)
    jump = over_or(steps, np.maximum, np.stack((starts - 1, stops), axis=1), 0.0) / noise
    rough = np.where(size > 1, np.log((inner + 0.01) / noise), 0.0)
    return np.stack((
        np.arcsinh(bump / noise), np.arcsinh(step / noise), np.arcsinh(away / mad), np.arcsinh(np.abs(away) / mad),
        np.arcsinh(3 * beyond), rough, np.log((high - low + 0.02) / (top - bottom + 0.02)), np.log(noise),
        np.abs(step) / (np.abs(bump) + 0.1), np.sign(away), np.arcsinh(jump), np.arcsinh(np.abs(away)),
    ), axis=1)  # fmt: skip


def _beside(x: Floats, runs: IntArray) -> tuple[FloatArray, FloatArray]:
    """Median before and after each run; one stands for the other at an edge, the inside for both. [K], [K]."""
    starts, stops = runs.T
    width = np.clip(stops - starts, *BESIDE)
    before, _ = medians(gather(x, np.stack((starts - width, starts - 1), axis=1), BESIDE[1]))
    after, _ = medians(gather(x, np.stack((stops + 1, stops + width), axis=1), BESIDE[1]))
    before = np.where(np.isnan(before), after, before)
    if np.isnan(before).any():
        inside, _ = medians(gather(x, runs, int((stops - starts).max())))
        before = np.where(np.isnan(before), inside, before)
    return before, np.where(np.isnan(after), before, after)


def _around(x: Floats, steps: Floats, runs: IntArray) -> tuple[FloatArray, ...]:
    """Median, MAD, mean step, lowest and highest of 254 points on either side of each run. [K] each."""
    left = np.stack((runs[:, 0] - AROUND, runs[:, 0] - 2), axis=1)
    right = np.stack((runs[:, 1] + 2, runs[:, 1] + AROUND), axis=1)
    table = np.concatenate([gather(x, side, AROUND - 2) for side in (left, right)], axis=1)
    middle, count = medians(table)
    few = count < FEWEST
    last = np.maximum(count - 1, 0)
    bottom, top = (table[np.arange(len(table)), at].astype(np.float64) for at in (np.zeros_like(last), last))
    mad, _ = medians(np.abs(table - middle[:, None].astype(np.float32)))
    sums, pairs = np.zeros(len(runs)), np.zeros(len(runs))
    for side in (left, right):  # the step between two points belongs to the first
        inner = np.clip(side - (0, 1), 0, len(steps))
        sums += over_or(steps, np.add, inner, 0.0) if len(steps) else 0.0
        pairs += np.maximum(inner[:, 1] - inner[:, 0], 0)
    noise = sums / np.maximum(pairs, 1)
    if few.any():
        whole = np.median(x)
        spare = (whole, np.median(np.abs(x - whole)), steps.mean() if len(steps) else 0.0, x.min(), x.max())
        middle, mad, noise, bottom, top = (
            np.where(few, other, own) for own, other in zip((middle, mad, noise, bottom, top), spare, strict=True)
        )
    return middle, mad + 0.03, noise + 0.02, bottom, top
