"""The fifth development set: long series of cycles of which a single one is bent, cut, stretched or swapped.

Made apart from the generator that networks are trained on: its own forms of cycles, and seeds of its own. What is hard
in it is what is hard in an electrocardiogram: no two cycles are alike, the odd one is no higher than the others, and
there is one in tens of thousands of points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray, Interval
from tsad.synthetic.curves import autoregressive, wander

EDITS = ("bent", "cut", "stretched", "swapped")
_STREAM = 0x10C6  # beside the seed: no generator made from a bare seed draws the same numbers


@dataclass(frozen=True, eq=False)
class Cycles:
    """Where in its cycle each point is.

    Attributes:
        phase: [T] 0..1.
        number: [T] which cycle.
        odd: which of them is abnormal.
        edit: what is done to it; of :data:`EDITS`.
    """

    phase: FloatArray
    number: IntArray
    odd: int
    edit: str

    @property
    def count(self) -> int:
        return int(self.number[-1]) + 1

    def inside(self) -> IntArray:
        """Positions of the abnormal cycle."""
        return np.flatnonzero(self.number == self.odd)


def long_shapes(seed: int, series: int, shortest: int, longest: int) -> list[Series]:
    """Series of one channel, an index for time, each with one labelled cycle; the same for the same arguments.

    Args:
        seed: of everything.
        series: how many; forms of cycles and edits take turns.
        shortest, longest: points, at least 4,000; every order of magnitude between them equally likely.

    Raises:
        ValueError: none asked for, or too short ones.
    """
    if series < 1 or not 4000 <= shortest <= longest:
        asked = f"{series} series of {shortest} to {longest} points"
        raise ValueError(f"long_shapes needs series >= 1 and 4000 <= shortest <= longest, not {asked}")
    return [_one(np.random.default_rng((_STREAM, seed, k)), k, shortest, longest) for k in range(series)]


def _one(rng: np.random.Generator, k: int, shortest: int, longest: int) -> Series:
    points = int(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
    form = list(FORMS)[k % len(FORMS)]
    edit = EDITS[(k + k // len(EDITS)) % len(EDITS)]
    cycles = _cycles(rng, points, float(np.exp(rng.uniform(np.log(60), np.log(400)))), edit)
    values = _varied(rng, FORMS[form](rng, cycles), cycles)
    if edit == "bent":
        where = cycles.inside()
        bow = np.sin(np.pi * np.linspace(0, 1, len(where)))
        values[where] += rng.choice((-1, 1)) * rng.uniform(0.6, 1.1) * values.std() * bow
    spread = values.std()
    if rng.random() < 0.6:
        values = values + rng.uniform(0.1, 0.5) * spread * wander(rng, 1, points, points / 3000, points / 1500)[0]
    noise = autoregressive(rng, rng.standard_normal((1, points)), float(rng.choice((0.0, 0.5))))[0]
    values = values + np.exp(rng.uniform(np.log(0.005), np.log(0.08))) * spread * noise
    values = np.round(rng.uniform(0.5, 200) * values + rng.normal(0, 50), 4)
    stamps = np.arange(points, dtype=np.int64) * NS_PER_SECOND
    first, last = cycles.inside()[[0, -1]]
    label = Interval(int(stamps[first]), int(stamps[last]) + NS_PER_SECOND, edit, 1.0)
    return Series(f"{k + 1:02d}_{form}_{edit}", stamps, values[:, None], time_kind="index", labels=(label,))


def _cycles(rng: np.random.Generator, points: int, period: float, edit: str) -> Cycles:
    """Cycles that come early and late by turns; the odd one somewhere in the last three quarters."""
    count = int(points / period * 1.5) + 4
    slow = wander(rng, 1, count, count / 40, count / 15)[0]
    lengths = period * (1 + rng.uniform(0.005, 0.05) * rng.standard_normal(count) + rng.uniform(0, 0.08) * slow)
    lengths = np.maximum(lengths, 0.5 * period)
    odd = int(rng.integers(int(points / period / 4), int(points / period * 0.9)))
    factor = 1.0
    if edit == "stretched":
        factor = rng.uniform(1.35, 1.7) if rng.random() < 0.6 else rng.uniform(0.55, 0.72)
    elif edit == "cut":
        factor = rng.uniform(0.45, 0.75)
    full = lengths.copy()
    lengths[odd] *= factor
    if edit != "cut":
        full = lengths
    starts = np.concatenate(([0.0], np.cumsum(lengths))) - rng.random() * period
    number = np.clip(np.searchsorted(starts, np.arange(points), side="right") - 1, 0, count - 1)
    phase = ((np.arange(points) - starts[number]) / full[number]) % 1.0
    if edit == "swapped":
        inside = number == odd
        phase[inside] = (phase[inside] + 0.5) % 1.0
    return Cycles(phase, number, odd, edit)


def _varied(rng: np.random.Generator, values: FloatArray, cycles: Cycles) -> FloatArray:
    """Height differs from cycle to cycle, and swells and fades over many."""
    height = 1 + rng.uniform(0.01, 0.08) * rng.standard_normal(cycles.count)
    height += rng.uniform(0, 0.12) * wander(rng, 1, cycles.count, 3, cycles.count / 20 + 4)[0]
    return values * height[cycles.number]


def _each(rng: np.random.Generator, cycles: Cycles, middle: float, deviation: float) -> FloatArray:
    """[T] a figure that differs from cycle to cycle."""
    return (middle + deviation * rng.standard_normal(cycles.count))[cycles.number]


def _bell(phase: FloatArray, centre: FloatArray, width: float) -> FloatArray:
    away = phase - centre
    return np.exp(-0.5 * ((away - np.round(away)) / width) ** 2)


def _heart(rng: np.random.Generator, cycles: Cycles) -> FloatArray:
    """P, Q, R, S and T waves of an electrocardiogram."""
    waves = ((0.14, 0.030, 0.15), (0.27, 0.010, -0.12), (0.30, 0.011, 1.0), (0.335, 0.012, -0.25), (0.56, 0.050, 0.32))
    values = np.zeros(len(cycles.phase))
    for centre, width, height in waves:
        tall = height * rng.uniform(0.7, 1.4)
        values += _each(rng, cycles, tall, 0.04 * abs(tall)) * _bell(
            cycles.phase, _each(rng, cycles, centre, 0.004), width * rng.uniform(0.8, 1.3)
        )
    return values


def _pulse(rng: np.random.Generator, cycles: Cycles) -> FloatArray:
    """Pressure in an artery: a steep rise, a slow fall, a notch in it."""
    top = _each(rng, cycles, rng.uniform(0.15, 0.25), 0.008)
    rise = np.clip(cycles.phase / top, 0, 1)
    fall = np.clip((cycles.phase - top) / (1 - top), 0, 1)
    where = _each(rng, cycles, 0.5, 0.008)
    notch = _each(rng, cycles, rng.uniform(0.08, 0.2), 0.01) * _bell(cycles.phase, where, 0.035)
    falling = np.exp(-2.2 * fall) * (1 - fall)
    return np.where(cycles.phase < top, 0.5 - 0.5 * np.cos(np.pi * rise), falling) + notch


def _breath(rng: np.random.Generator, cycles: Cycles) -> FloatArray:
    """Air flow: in quickly, out slowly, a rest."""
    share = _each(rng, cycles, rng.uniform(0.32, 0.42), 0.012)
    inward = np.sin(np.pi * np.clip(cycles.phase / share, 0, 1))
    out = np.clip((cycles.phase - share) / (0.9 - share), 0, 1)
    return np.where(cycles.phase < share, inward, -rng.uniform(0.6, 0.9) * np.sin(np.pi * out**0.7))


def _press(rng: np.random.Generator, cycles: Cycles) -> FloatArray:
    """Force of a press: it closes, holds, rings, and opens."""
    close, hold = _each(rng, cycles, rng.uniform(0.12, 0.2), 0.006), _each(rng, cycles, rng.uniform(0.55, 0.7), 0.01)
    up = np.clip(cycles.phase / close, 0, 1) ** 2
    down = np.clip((cycles.phase - hold) / 0.12, 0, 1)
    since = np.clip(cycles.phase - close, 0, None)
    ring = _each(rng, cycles, 0.12, 0.012) * np.exp(-since / 0.06) * np.sin(2 * np.pi * since / 0.05) * (since > 0)
    return up * (1 - down) + ring * (1 - down)


def _gait(rng: np.random.Generator, cycles: Cycles) -> FloatArray:
    """Acceleration of a walker's hip: two steps of unlike height in a stride, each with a blow of the heel."""
    turn = 2 * np.pi * cycles.phase
    first, second = rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)
    values = first * np.sin(turn + rng.uniform(0, 6)) + second * np.sin(2 * turn + rng.uniform(0, 6))
    for centre in (0.1, 0.6):
        values += _each(rng, cycles, rng.uniform(0.8, 1.6), 0.08) * _bell(
            cycles.phase, _each(rng, cycles, centre, 0.006), 0.022
        )
    return values


FORMS: dict[str, Callable[[np.random.Generator, Cycles], FloatArray]] = {
    "heart": _heart,
    "pulse": _pulse,
    "breath": _breath,
    "press": _press,
    "gait": _gait,
}
