"""Base series without anomalies: what a sensor or a service records while all is well.

Families of normal behaviour, drawn per row. Some are hard on purpose: recurring bursts, on/off
machines, other days, benign departures. A detector that learns from them must not call the mere
unusual abnormal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.synthetic.curves import log_uniform, lookup, pick, standardise, templates, wander
from tsad.synthetic.filters import lfilter
from tsad.synthetic.scene import Life


@dataclass(eq=False)
class Base:
    """Series in which all is well, before a sensor has looked at them.

    Attributes:
        signal: [n, L] what the process does.
        noise: [n, L] what chance adds; the series is ``signal + noise``.
        period: [n] points per cycle, 0 where there is none.
        cycles: n arrays of positions where a cycle starts; empty where the cycles have no fixed shape.
        life: n words, what is abnormal in the series.
    """

    signal: FloatArray
    noise: FloatArray
    period: FloatArray
    cycles: list[IntArray]
    life: list[Life]


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


def seasonal(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    n, length = len(rows), base.signal.shape[1]
    period = log_uniform(rng, 8, max(64.0, length * 0.5), n)
    values = seasonal_rows(rng, period, length)
    second = period * rng.choice((0.125, 1 / 6, 0.25, 0.5, 2, 3, 7), n)
    more = np.flatnonzero(pick(rng, n, 0.4) & (second > 6) & (second < length * 0.7))
    values[more] += rng.uniform(0.1, 0.8, (len(more), 1)) * seasonal_rows(rng, second[more], length)
    for k in np.flatnonzero(pick(rng, n, 0.2) & (period > 40)):
        values[k] = soften(rng, values[k], period[k])
    base.signal[rows], base.period[rows] = values, period


def quasi(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Cycles as in heartbeat, breath, gait or a press: each varies in length, height and form.

    In more than half of the series the cycle is all there is: of 40 to 400 points, and a single odd one is abnormal.
    """
    length = base.signal.shape[1]
    periods = log_uniform(rng, 16, max(32.0, length / 8), len(rows))
    beats = np.flatnonzero(pick(rng, len(rows), 0.6))
    periods[beats] = log_uniform(rng, min(40.0, length / 12), min(400.0, length / 6), len(beats))
    for row, period in zip(rows, periods, strict=True):
        base.signal[row], base.cycles[row] = _quasi_row(rng, length, float(period))
    for row in rows[beats]:
        base.life[row] = "beats"
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
    form = _lobed if rng.random() < 0.65 else _drawn
    values = form(rng, phase, cycle, count)
    if rng.random() < 0.2:  # two sorts of cycle, both at home here
        second = rng.random(count) < rng.uniform(0.08, 0.5)
        values = np.where(second[cycle], form(rng, phase, cycle, count), values)
    inside = starts[(starts > 1) & (starts < length - 1)].astype(np.int64)
    return standardise(values[None])[0], inside


def _lobed(rng: np.random.Generator, phase: FloatArray, cycle: IntArray, count: int) -> FloatArray:
    """Cycles [L] as sums of lobes, whose heights and times vary from one of ``count`` cycles to the next."""
    narrow, wide, most = _LOBES[int(rng.integers(len(_LOBES)))]
    lobes = int(rng.integers(1, most + 1))
    centre, width = np.sort(rng.random(lobes)), rng.uniform(narrow, wide, lobes)
    height = rng.standard_normal(lobes)
    height += 0.5 * np.sign(height)
    height[rng.integers(lobes)] *= rng.choice((1.0, 3.0))
    heights = height * (1 + rng.uniform(0, 0.12) * rng.standard_normal((count, lobes)))
    centres = centre + rng.uniform(0, 0.012) * rng.standard_normal((count, lobes))
    values = np.zeros(len(phase))
    for k in range(lobes):
        away = phase - centres[cycle, k]
        away -= np.round(away)
        values += heights[cycle, k] * np.exp(-0.5 * (away / width[k]) ** 2)
    return values


def _drawn(rng: np.random.Generator, phase: FloatArray, cycle: IntArray, count: int) -> FloatArray:
    """Cycles [L] after one template, whose height and pace vary from one of ``count`` cycles to the next."""
    table = templates(rng, 1)[0]
    height = 1 + rng.uniform(0, 0.15) * rng.standard_normal(count)
    pace = np.exp(rng.uniform(0, 0.06) * rng.standard_normal(count))
    place = phase.clip(0, 1) ** pace[cycle] * (len(table) - 1)
    return np.asarray(np.interp(place, np.arange(len(table)), table), np.float64) * height[cycle]


# narrowest and widest lobe (share of a cycle), most lobes: heartbeat, gait or pressure, breath
_LOBES = ((0.008, 0.06, 6), (0.02, 0.15, 5), (0.12, 0.3, 3))


def level(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Noise around a level."""
    scale[rows] = 1.0


def walk(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Random walks, partly pulled back to where they began, and slow wanderings."""
    n, length = len(rows), base.signal.shape[1]
    values = np.cumsum(rng.standard_normal((n, length)), axis=1)
    values -= np.linspace(0, 1, length) * values[:, -1:] * rng.random((n, 1))
    slow = np.flatnonzero(pick(rng, n, 0.5))
    values[slow] = wander(rng, len(slow), length, 4, 40)
    base.signal[rows] = standardise(values)
    scale[rows] = np.minimum(scale[rows], 0.2)


def occasional(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
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


def machine(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
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


def counter(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
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


def counts(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
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
    base.signal[rows], base.period[rows] = values, period
    for row in rows:
        base.life[row] = "brief"
    scale[rows] = log_uniform(rng, 0.03, 0.5, n)
