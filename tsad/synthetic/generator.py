"""Batches of synthetic windows with labels and clean twins: what pre-training and replay read.

``make_batch`` is a pure function of its random generator. The distribution belongs to
:data:`GENERATOR_VERSION`, which goes into the metadata of weights trained on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.synthetic.anomalies import KINDS, MARGIN, MISSING, disturb, draw_kind, draw_stretch, forget_invisible
from tsad.synthetic.curves import log_uniform, pick, standardise
from tsad.synthetic.families import base_batch
from tsad.synthetic.scene import Scene, usual_spread
from tsad.synthetic.series import Base, bursts

GENERATOR_VERSION = "3"
SHORTEST = 64
ABNORMAL_SHARE = 0.8  # share of the windows in which something is tried
RARE_SHARE = 0.2  # share of the windows with one anomaly at most, however long they are
MISSING_SHARE = 0.04  # share of the windows that lose a stretch of readings
__all__ = ["GENERATOR_VERSION", "KINDS", "Batch", "make_batch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Synthetic windows.

    Attributes:
        values: [B, L] float32, in arbitrary units (each row has its own offset and scale); NaN where the kind is
            "missing", finite elsewhere.
        labels: [B, L] bool, true where abnormal; equals ``kinds > 0``.
        kinds: [B, L] int8 index into :data:`KINDS`; 0 = normal.
        clean: [B, L] float32, the same series without its anomalies. Where a step or a trend stays, what
            follows the labelled stretch is the new normal, here as in ``values``.
    """

    values: npt.NDArray[np.float32]
    labels: BoolArray
    kinds: npt.NDArray[np.int8]
    clean: npt.NDArray[np.float32]


def make_batch(rng: np.random.Generator, count: int, length: int) -> Batch:
    """``count`` windows of ``length`` points, fully determined by the state of ``rng``.

    Args:
        rng: the only source of chance.
        count: B.
        length: L, at least 64; 512 to 4,096 is what the distribution was made for.

    Raises:
        ValueError: ``count`` below 1 or ``length`` below 64.
    """
    if count < 1 or length < SHORTEST:
        raise ValueError(f"make_batch needs count >= 1 and length >= {SHORTEST}, not {count} x {length}")
    base = base_batch(rng, count, length)
    _recur(rng, base)
    values, clean, kinds = _disturbed(rng, base)
    values, clean = _observe(rng, values, clean)
    floor = 0.06 * (clean.std(axis=1) + 1e-9)
    high = np.flatnonzero([life == "peaks" for life in base.life])
    floor[high] = 0.12 * (usual_spread(clean[high]) + 1e-9)
    for row in np.flatnonzero(kinds.any(axis=1)):
        forget_invisible(kinds[row], values[row], clean[row], floor[row])
    _lose(rng, values, kinds)
    offset = rng.normal(0, 3, (count, 1))
    scale = log_uniform(rng, 0.05, 50, count)[:, None]
    seen, twin = (((rows + offset) * scale).astype(np.float32) for rows in (values, clean))
    return Batch(seen, kinds > 0, kinds, twin)


def _recur(rng: np.random.Generator, base: Base) -> None:
    """Give some series an event that comes back again and again: unusual at first sight, but normal."""
    count, length = base.signal.shape
    loose = np.array(base.life) == "loose"  # there nothing comes again
    for row in np.flatnonzero(pick(rng, count, 0.12) & ~loose):
        times = int(rng.integers(3, 9))
        where = (np.arange(times) + rng.random() + rng.uniform(0, 0.25) * rng.uniform(-1, 1, times)) / times * length
        height = rng.choice((-1, 1)) * rng.uniform(0.8, 3) * (base.signal[row].std() + 0.3)
        base.signal[row] += height * bursts(rng, length, where, 1 + 0.15 * rng.uniform(-1, 1, times))


def _disturbed(rng: np.random.Generator, base: Base) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int8]]:
    """Values with anomalies, values without, and the kinds of the anomalies; each [B, L]."""
    values = base.signal + base.noise
    clean = values.copy()
    kinds = np.zeros(values.shape, np.int8)
    donors = standardise(np.roll(values, 1, axis=0))
    times = np.minimum(rng.geometric(0.55, len(values)), 4) * max(1, values.shape[1] // 2048)
    times[pick(rng, len(values), RARE_SHARE) | pick(rng, len(values), 0.5) & (np.array(base.life) == "beats")] = 1
    times[~pick(rng, len(values), ABNORMAL_SHARE)] = 0
    for row in np.flatnonzero(times):
        scene = Scene(base.signal[row], base.noise[row], donors[row], float(base.period[row]), base.cycles[row],
                      base.life[row])
        wanted = int(times[row])
        for _ in range(3 * wanted):  # some places are taken and some changes cannot be seen
            kind = draw_kind(rng, scene)
            stretch = draw_stretch(rng, scene, kind)
            wanted -= stretch is not None and disturb(rng, scene, kind, *stretch)
            if not wanted:
                break
        values[row], clean[row], kinds[row] = scene.values, scene.clean, scene.kinds
    return values, clean, kinds


def _lose(rng: np.random.Generator, values: FloatArray, kinds: npt.NDArray[np.int8]) -> None:
    """A stretch without readings in some rows, in place; never over another anomaly."""
    length = values.shape[1]
    for row in np.flatnonzero(pick(rng, len(values), MISSING_SHARE)):
        size = int(np.exp(rng.uniform(np.log(3), np.log(length // 8))))
        start = int(rng.integers(MARGIN, length - size - MARGIN))
        if not kinds[row, start - MARGIN : start + size + MARGIN].any():
            values[row, start : start + size] = np.nan
            kinds[row, start : start + size] = KINDS.index(MISSING)


def _observe(rng: np.random.Generator, values: FloatArray, clean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What a sensor or a counter makes of both twins: exponential, rounded, floored, counted, or as it is."""
    count = len(values)
    middle, spread = clean.mean(axis=1, keepdims=True), clean.std(axis=1, keepdims=True) + 1e-9
    twins = [(values - middle) / spread, (clean - middle) / spread]
    sort = rng.choice(6, count, p=(0.66, 0.09, 0.08, 0.07, 0.05, 0.05))
    step, floor = rng.uniform(0.02, 0.3, (count, 1)), rng.uniform(-2.2, -1.0, (count, 1))
    many = log_uniform(rng, 2, 60, count)[:, None]
    for rows in twins:
        _apply(rows, sort == 1, lambda x, k: np.exp((0.7 * x).clip(-5, 5)))
        _apply(rows, sort == 2, lambda x, k: np.round(x / step[k]) * step[k])
        _apply(rows, sort == 3, lambda x, k: np.maximum(x, floor[k]))
        _apply(rows, sort == 4, lambda x, k: np.clip(x, floor[k], -1.2 * floor[k]))
        _apply(rows, sort == 5, lambda x, k: np.round(many[k] * np.exp((0.5 * x).clip(-5, 4))) / many[k])
    return twins[0], twins[1]


def _apply(rows: FloatArray, chosen: BoolArray, change: Callable[[FloatArray, IntArray], FloatArray]) -> None:
    index = np.flatnonzero(chosen)
    if len(index):
        rows[index] = change(rows[index], index)
