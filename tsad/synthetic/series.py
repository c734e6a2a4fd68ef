"""Base series without anomalies: what a sensor or a service records while all is well.

Families of normal behaviour, drawn per row. Some are hard on purpose: recurring bursts, on/off
machines, other days, benign departures. A detector that learns from them must not call the mere
unusual abnormal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.synthetic.curves import log_uniform, lookup, noise, pick, standardise, templates, wander
from tsad.synthetic.filters import lfilter


@dataclass(eq=False)
class Base:
    """Series in which all is well, before a sensor has looked at them.

    Attributes:
        signal: [n, L] what the process does.
        noise: [n, L] what chance adds; the series is ``signal + noise``.
        period: [n] points per cycle, 0 where there is none.
        cycles: n arrays of positions where a cycle starts; empty where the cycles have no fixed shape.
        brief: [n] bool, series in which only short events are abnormal (counts with slow, free courses).
    """

    signal: FloatArray
    noise: FloatArray
    period: FloatArray
    cycles: list[IntArray]
    brief: BoolArray


def base_batch(rng: np.random.Generator, count: int, length: int) -> Base:
    """``count`` base series of ``length`` points (at least 64), each of a family drawn by :data:`FAMILIES`."""
    names = list(FAMILIES)
    shares = np.array([FAMILIES[name][0] for name in names])
    family = rng.choice(len(names), count, p=shares / shares.sum())
    scale = log_uniform(rng, 0.01, 0.6, count)
    nothing = np.empty(0, np.int64)
    base = Base(np.zeros((count, length)), noise(rng, count, length), np.zeros(count), [nothing] * count,
                np.zeros(count, bool))
    for number, name in enumerate(names):
        rows = np.flatnonzero(family == number)
        if len(rows):
            FAMILIES[name][1](rng, base, rows, scale)
    trend = np.flatnonzero(pick(rng, count, 0.34) & ~base.brief)
    base.signal[trend] += _trends(rng, len(trend), length)
    base.noise *= scale[:, None]
    uneven = np.flatnonzero(pick(rng, count, 0.25) | base.brief & pick(rng, count, 0.6))
    base.noise[uneven] *= _loudness(rng, base.signal[uneven])
    return base


def seasonal_rows(rng: np.random.Generator, period: FloatArray, length: int) -> FloatArray:
    """Repeating cycles with the small irregularities real ones have. period [n] points -> [n, length]."""
    n = len(period)
    phase = np.arange(length)[None, :] / period[:, None] + rng.random((n, 1))
    rows = np.flatnonzero(pick(rng, n, 0.3))  # the cycle runs early and late by turns
    phase[rows] += wander(rng, len(rows), length, 2, 8) * rng.uniform(0, 0.12, (len(rows), 1))
    turn = np.floor(phase).astype(np.int64)
    table = templates(rng, n)
    values = lookup(table, (phase - turn) * (table.shape[1] - 1))
    turn -= turn.min(axis=1, keepdims=True)
    rows = np.flatnonzero(pick(rng, n, 0.3))  # amplitude swells and fades
    values[rows] *= 1 + rng.uniform(0, 0.35, (len(rows), 1)) * wander(rng, len(rows), length, 2, 6)
    rows = np.flatnonzero(pick(rng, n, 0.2))  # no two cycles are equally high
    if len(rows):
        height = 1 + rng.uniform(0.02, 0.25, (len(rows), 1)) * rng.standard_normal((len(rows), int(turn.max()) + 1))
        values[rows] *= np.take_along_axis(height, turn[rows], axis=1)
    rows = np.flatnonzero(pick(rng, n, 0.3) & (period * 7 < length * 1.5))  # the weekend is another day
    free = (turn[rows] + rng.integers(0, 7, (len(rows), 1))) % 7 >= 5
    values[rows] *= np.where(free, rng.uniform(0.2, 0.8, (len(rows), 1)), 1.0)
    return values


def soften(rng: np.random.Generator, signal: FloatArray, period: float) -> FloatArray:
    """A series [L] with a few slow, soft-edged departures that nobody would call abnormal."""
    length, out = len(signal), signal.copy()
    spread = signal.std() + 1e-9
    for _ in range(int(rng.integers(1, 5))):
        size = int(np.clip(period * rng.uniform(0.5, 3), 8, length * 0.4))
        start = int(rng.integers(0, length - size))
        piece = out[start : start + size]
        ramp = max(4, int(size * rng.uniform(0.2, 0.5)))
        edge = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / ramp
        envelope = 0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, 1.0))
        sort = rng.integers(0, 4)
        if sort == 0:
            changed = piece.min() + (piece - piece.min()) * rng.uniform(0.4, 1.5)
        elif sort == 1:
            changed = piece + rng.uniform(-0.8, 0.8) * spread
        elif sort == 2:
            changed = piece + rng.uniform(0.1, 0.5) * spread * wander(rng, 1, size, 2, 7)[0]
        else:
            moved = np.arange(start, start + size) + int(period * rng.uniform(-0.15, 0.15))
            changed = signal[np.clip(moved, 0, length - 1)]
        out[start : start + size] = piece + (changed - piece) * envelope
    return out


def _seasonal(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    n, length = len(rows), base.signal.shape[1]
    period = log_uniform(rng, 8, max(64.0, length * 0.5), n)
    values = seasonal_rows(rng, period, length)
    second = period * rng.choice((0.125, 1 / 6, 0.25, 0.5, 2, 3, 7), n)
    more = np.flatnonzero(pick(rng, n, 0.4) & (second > 6) & (second < length * 0.7))
    values[more] += rng.uniform(0.1, 0.8, (len(more), 1)) * seasonal_rows(rng, second[more], length)
    for k in np.flatnonzero(pick(rng, n, 0.2) & (period > 40)):
        values[k] = soften(rng, values[k], period[k])
    base.signal[rows], base.period[rows] = values, period


def _quasi(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Cycles as in heartbeat, breath, gait or a press: each varies in length, height and lobes."""
    length = base.signal.shape[1]
    periods = log_uniform(rng, 16, max(32.0, length / 8), len(rows))
    for row, period in zip(rows, periods, strict=True):
        values, starts = _quasi_row(rng, length, float(period))
        base.signal[row], base.cycles[row] = values, starts
    drift = np.flatnonzero(pick(rng, len(rows), 0.4))
    base.signal[rows[drift]] += rng.uniform(0.1, 0.6, (len(drift), 1)) * wander(rng, len(drift), length, 3, 20)
    swell = np.flatnonzero(pick(rng, len(rows), 0.3))
    base.signal[rows[swell]] *= 1 + rng.uniform(0.05, 0.3, (len(swell), 1)) * wander(rng, len(swell), length, 3, 12)
    base.period[rows] = periods
    scale[rows] = log_uniform(rng, 0.003, 0.15, len(rows))


def _quasi_row(rng: np.random.Generator, length: int, period: float) -> tuple[FloatArray, IntArray]:
    """One quasi-periodic series [length], standardised, and the positions where its cycles start."""
    count = int(length / period * 1.7) + 6
    swing = lfilter([1.0], [1.0, -rng.choice((0.0, 0.5, 0.9))], rng.standard_normal(count))
    lengths = period * np.clip(1 + log_uniform(rng, 0.004, 0.08, 1) * swing / (swing.std() + 1e-9), 0.6, 1.6)
    starts = np.cumsum(np.concatenate(([-rng.random() * period], lengths)))
    cycle = np.clip(np.searchsorted(starts, np.arange(length), side="right") - 1, 0, count - 1)
    phase = (np.arange(length) - starts[cycle]) / lengths[cycle]
    narrow, wide, most = _LOBES[int(rng.integers(len(_LOBES)))]
    lobes = int(rng.integers(1, most + 1))
    centre, width = np.sort(rng.random(lobes)), rng.uniform(narrow, wide, lobes)
    height = rng.standard_normal(lobes)
    height += 0.5 * np.sign(height)
    height[rng.integers(lobes)] *= rng.choice((1.0, 3.0))
    heights = height * (1 + rng.uniform(0, 0.12) * rng.standard_normal((count, lobes)))
    centres = centre + rng.uniform(0, 0.012) * rng.standard_normal((count, lobes))
    values = np.zeros(length)
    for k in range(lobes):
        away = phase - centres[cycle, k]
        away -= np.round(away)
        values += heights[cycle, k] * np.exp(-0.5 * (away / width[k]) ** 2)
    inside = starts[(starts > 1) & (starts < length - 1)].astype(np.int64)
    return standardise(values[None])[0], inside


# narrowest and widest lobe (share of a cycle), most lobes: heartbeat, gait or pressure, breath
_LOBES = ((0.008, 0.06, 6), (0.02, 0.15, 5), (0.12, 0.3, 3))


def _level(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Noise around a level."""
    scale[rows] = 1.0


def _walk(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Random walks, partly pulled back to where they began, and slow wanderings."""
    n, length = len(rows), base.signal.shape[1]
    values = np.cumsum(rng.standard_normal((n, length)), axis=1)
    values -= np.linspace(0, 1, length) * values[:, -1:] * rng.random((n, 1))
    slow = np.flatnonzero(pick(rng, n, 0.5))
    values[slow] = wander(rng, len(slow), length, 4, 40)
    base.signal[rows] = standardise(values)
    scale[rows] = np.minimum(scale[rows], 0.2)


def _bursts(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """A quiet line with recurring bursts, on a schedule or by chance; all of them normal."""
    length = base.signal.shape[1]
    for row in rows:
        count = int(log_uniform(rng, 5, max(10.0, length / 25), 1)[0])
        if rng.random() < 0.5:
            where = (rng.random() + np.arange(count) + rng.uniform(0, 0.05) * rng.standard_normal(count)) / count
        else:
            where = rng.random(count)
        height = rng.uniform(0.6, 1) + rng.choice((0.1, 0.5)) * rng.gamma(2, 0.5, count)
        base.signal[row] = bursts(rng, length, where * length, height)
    scale[rows] = np.minimum(scale[rows], 0.25)


def bursts(rng: np.random.Generator, length: int, where: FloatArray, height: FloatArray) -> FloatArray:
    """[length] zeros with one burst of common shape at each position; overlapping ones do not add up."""
    width = int(rng.integers(1, 12))
    shape = np.exp(-np.arange(width) / max(1.0, width / 3)) if rng.random() < 0.5 else np.ones(width)
    values = np.zeros(length + width)
    for start, high in zip(where.astype(np.int64).clip(0, length - 1), height, strict=True):
        np.maximum(values[start : start + width], high * shape, out=values[start : start + width])
    return values[:length]


def _machine(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """A machine that is switched between two to four states at irregular times; some run up slowly."""
    length = base.signal.shape[1]
    for row in rows:
        changes = np.sort(rng.integers(0, length, int(rng.integers(4, 30))))
        level = rng.integers(0, rng.integers(2, 5), len(changes) + 1).astype(float)
        values = np.repeat(level, np.diff(np.concatenate(([0], changes, [length]))))
        if rng.random() < 0.4:
            keep = 1 - 1 / rng.uniform(2, 20)
            values = lfilter([1 - keep], [1, -keep], values - values[0]) + values[0]
        base.signal[row] = values
    scale[rows] = np.minimum(scale[rows], 0.2)


def _counter(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Counters and tanks: they rise at a varying rate and start again at a limit or on a schedule."""
    n, length = len(rows), base.signal.shape[1]
    rate = np.maximum(0.05, 1 + rng.uniform(0, 0.6, (n, 1)) * wander(rng, n, length, 2, 15))
    turns = log_uniform(rng, 0.5, max(4.0, length / 40), n)
    total = np.cumsum(rate, axis=1)
    level = total / total[:, -1:] * turns[:, None] + rng.random((n, 1))
    base.signal[rows] = 3 * (level % 1.0)
    regular = np.flatnonzero(turns > 4)
    base.period[rows[regular]] = length / turns[regular]
    scale[rows] = np.minimum(scale[rows], 0.1)


def _counts(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Requests of a service: a daily course, other days, noise that grows with the level, jobs on a schedule."""
    n, length = len(rows), base.signal.shape[1]
    period = log_uniform(rng, max(32.0, length / 40), length, n)
    values = seasonal_rows(rng, period, length)
    for k in np.flatnonzero(pick(rng, n, 0.7)):
        values[k] = soften(rng, values[k], period[k])
    slow = np.flatnonzero(pick(rng, n, 0.5))
    values[slow] += rng.uniform(0.2, 1.5, (len(slow), 1)) * wander(rng, len(slow), length, 2, 12)
    for k in np.flatnonzero(pick(rng, n, 0.25)):
        every, wide = max(8, int(period[k] / rng.choice((1, 2, 4, 24)))), int(rng.integers(1, 6))
        where = np.arange(rng.integers(0, every), length)
        values[k, where[(where - where[0]) % every < wide]] += rng.uniform(0.3, 2)
    base.signal[rows], base.period[rows], base.brief[rows] = values, period, True
    scale[rows] = log_uniform(rng, 0.03, 0.5, n)


def _trends(rng: np.random.Generator, n: int, length: int) -> FloatArray:
    """[n, length] straight, bent or wandering trends."""
    t = np.linspace(-0.5, 0.5, length)
    sort = rng.integers(0, 3, (n, 1))
    slope = rng.uniform(-3, 3, (n, 1))
    curved = np.where(sort == 1, 4 * t**2, wander(rng, n, length, 2, 6) / 2)
    return slope * np.where(sort == 0, t, curved)


def _loudness(rng: np.random.Generator, signal: FloatArray) -> FloatArray:
    """[n, L] factor by which noise grows with the level of the signal, or comes and goes by itself."""
    n, length = signal.shape
    above = signal - signal.min(axis=1, keepdims=True)
    level = (0.2 + above / (above.mean(axis=1, keepdims=True) + 1e-9)) / 1.2
    level **= rng.choice((0.5, 1.0), (n, 1))
    alone = np.exp(0.6 * wander(rng, n, length, 2, 10))
    flat = above.max(axis=1, keepdims=True) < 1e-9
    return np.where(flat | pick(rng, n, 0.3)[:, None], alone, level)


Family = Callable[[np.random.Generator, Base, IntArray, FloatArray], None]

# name -> (share, function that fills its rows of signal and period, and may set the rows' noise scale)
FAMILIES: dict[str, tuple[float, Family]] = {
    "seasonal": (0.34, _seasonal),
    "quasi-periodic": (0.16, _quasi),
    "counts": (0.2, _counts),
    "level": (0.08, _level),
    "walk": (0.06, _walk),
    "bursts": (0.07, _bursts),
    "machine": (0.05, _machine),
    "counter": (0.04, _counter),
}
