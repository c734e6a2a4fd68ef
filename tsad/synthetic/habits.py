"""Series whose usual life makes some evidence lie: what stands out by height, or looks like nothing before, is normal.

Families as in :mod:`tsad.synthetic.series`, and the dirt that any series can have: readings that stand still, small
oddities that nobody labels.
"""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.synthetic.curves import log_uniform, lookup, pick, standardise, templates, wander
from tsad.synthetic.series import Base, bursts, seasonal_rows

HELD_SHARE = 0.05  # share of the series whose reading stands still now and then
ODD_SHARE = 0.18  # share of the series with small oddities that nobody labels


def peaks(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Big peaks come at odd times, alone or in swarms, each of another height; between them a line or a cycle."""
    n, length = len(rows), base.signal.shape[1]
    period = log_uniform(rng, 16, max(32.0, length / 4), n)
    values = seasonal_rows(rng, period, length) * rng.uniform(0.4, 1.5, (n, 1))
    sort = rng.integers(0, 3, n)
    values[sort == 1] = 0
    slow = np.flatnonzero(sort == 2)
    values[slow] = rng.uniform(0.3, 1.5, (len(slow), 1)) * wander(rng, len(slow), length, 3, 25)
    for k in range(n):
        count = int(log_uniform(rng, 6, max(12.0, length / 40), 1)[0])
        where = rng.random(count)
        if rng.random() < 0.4:  # swarms
            where = rng.choice(rng.random(max(2, count // 6)), count) + 0.01 * rng.exponential(1, count)
        height = rng.uniform(3, 14) * np.exp(rng.choice((0.1, 0.4, 0.7)) * rng.standard_normal(count))
        part = int(count * rng.choice((0.0, 0.0, 0.3)))  # some point down
        up = rng.choice((-1, 1)) * bursts(rng, length, where[part:] * length, height[part:])
        values[k] += up - bursts(rng, length, where[:part] * length, height[:part]) * np.sign(up.sum() + 1e-9)
    base.signal[rows], base.period[rows] = values, np.where(sort == 0, period, 0)
    for row in rows:
        base.life[row] = "peaks"
    scale[rows] = np.where(sort == 1, 1.0, log_uniform(rng, 0.05, 0.8, n))


def loose(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Nothing comes back: level, pace and loudness wander or change from regime to regime."""
    n, length = len(rows), base.signal.shape[1]
    pace = np.exp(rng.uniform(0.3, 1.2, (n, 1)) * wander(rng, n, length, 3, 14))
    turns = log_uniform(rng, 3, max(6.0, length / 30), n)[:, None]
    phase = np.cumsum(pace, axis=1) / pace.sum(axis=1, keepdims=True) * turns
    shift = 2 * np.pi * rng.random((n, 1)) + rng.uniform(0, 1.5, (n, 1)) * wander(rng, n, length, 4, 30)
    values = np.sin(2 * np.pi * phase + shift)
    values *= np.exp(rng.uniform(0.2, 0.8, (n, 1)) * wander(rng, n, length, 3, 12)) * rng.uniform(0.0, 1.0, (n, 1))
    values += rng.uniform(0, 1.5, (n, 1)) * wander(rng, n, length, 3, 30)
    for k in np.flatnonzero(pick(rng, n, 0.4)):  # regimes
        changes = np.sort(rng.integers(0, length, int(rng.integers(2, 12))))
        number = np.searchsorted(changes, np.arange(length), side="right")
        values[k] += (rng.uniform(0.3, 1.5) * rng.standard_normal(len(changes) + 1))[number]
        base.noise[rows[k]] *= np.exp(0.5 * rng.standard_normal(len(changes) + 1))[number]
    base.noise[rows] *= np.exp(rng.uniform(0, 0.7, (n, 1)) * wander(rng, n, length, 3, 20))
    base.signal[rows] = standardise(values)
    for row in rows:
        base.life[row] = "loose"
    scale[rows] = log_uniform(rng, 0.02, 0.8, n)


def workdays(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Days of 24 to 288 points and weeks; some days, free ones and holidays, are other days."""
    n, length = len(rows), base.signal.shape[1]
    day = rng.choice([d for d in (24, 48, 96, 144, 288) if d == 24 or 4 * d <= length], n).astype(np.float64)
    turn, table = np.arange(length) / day[:, None] + rng.random((n, 1)), templates(rng, n)
    number = turn.astype(np.int64)
    values = lookup(table, (turn - number) * (table.shape[1] - 1))
    values -= values.min(axis=1, keepdims=True)
    days = int(number.max()) + 1
    high = 1 + log_uniform(rng, 0.01, 0.15, n)[:, None] * rng.standard_normal((n, days))
    weekly = pick(rng, n, 0.7)[:, None] & ((np.arange(days) + rng.integers(0, 7, (n, 1))) % 7 >= 5)
    holiday = rng.random((n, days)) < rng.uniform(0.0, 0.12, (n, 1))
    holiday &= holiday.sum(axis=1, keepdims=True) > 2  # a single one would be abnormal
    high *= np.where(weekly | holiday, rng.uniform(0.1, 0.8, (n, 1)), 1.0)
    values *= np.take_along_axis(high, number, axis=1)
    slow = np.flatnonzero(pick(rng, n, 0.4))
    values[slow] *= 1 + rng.uniform(0.05, 0.3, (len(slow), 1)) * wander(rng, len(slow), length, 2, 8)
    base.signal[rows], base.period[rows] = values, day
    for row in rows:
        base.life[row] = "brief" if rng.random() < 0.6 else "free"
    scale[rows] = log_uniform(rng, 0.02, 0.3, n)


def sparse(rng: np.random.Generator, base: Base, rows: IntArray, scale: FloatArray) -> None:
    """Whole numbers: mostly zero, at times some; or small counts about a level. Errors, sales, rain, visitors."""
    n, length = len(rows), base.signal.shape[1]
    rate = np.exp(rng.uniform(0, 1, (n, 1)) * wander(rng, n, length, 2, 30))
    rate *= log_uniform(rng, 0.02, 12, n)[:, None]
    daily = np.flatnonzero(pick(rng, n, 0.4))
    period = log_uniform(rng, 24, max(48.0, length / 5), len(daily))
    course = seasonal_rows(rng, period, length)
    rate[daily] *= np.maximum(0.02, 1 + rng.uniform(0.3, 1, (len(daily), 1)) * course)
    values = rng.poisson(rate).astype(np.float64)
    heavy = np.flatnonzero(pick(rng, n, 0.4))
    values[heavy] *= rng.geometric(rng.uniform(0.2, 0.8, (len(heavy), 1)), (len(heavy), length))
    base.signal[rows] = values / (values.std(axis=1, keepdims=True) + 0.1)
    base.noise[rows] = 0
    base.period[rows[daily]] = period
    for row in rows:
        base.life[row] = "loose" if rng.random() < 0.6 else "brief"


def hold(rng: np.random.Generator, base: Base) -> None:
    """Let the readings of some series stand still now and then, as where a value is sent only when it changes."""
    count, length = base.signal.shape
    for row in np.flatnonzero(pick(rng, count, HELD_SHARE)):
        total = base.signal[row] + base.noise[row]
        longest = log_uniform(rng, 4, max(8.0, length / 25), 1)[0]
        for start in rng.integers(1, length - 4, int(rng.integers(6, 30))):
            stop = start + int(rng.uniform(0.3, 1) * longest) + 2
            base.signal[row, start:stop], base.noise[row, start:stop] = total[start], 0.0


def litter(rng: np.random.Generator, base: Base) -> None:
    """Put small oddities into some series: too small and too many for anybody to label, and so normal."""
    count, length = base.signal.shape
    for row in np.flatnonzero(pick(rng, count, ODD_SHARE)):
        total = base.signal[row] + base.noise[row]
        jump = 0.7 * float(np.abs(np.diff(total)).mean()) + 0.01 * float(total.std())
        for start in rng.integers(1, length - 4, int(rng.integers(2, 4 + max(3, length // 1500)))):
            size = int(log_uniform(rng, 1, 24, 1)[0])
            shape: FloatArray = np.asarray(np.hanning(size + 2)[1:-1] if rng.random() < 0.5 else np.ones(size))
            piece = base.signal[row, start : start + size]
            piece += rng.choice((-1, 1)) * rng.uniform(1.5, 3.5) * jump * shape[: len(piece)]
