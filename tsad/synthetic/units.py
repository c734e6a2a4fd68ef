"""The plant's units and what their sensors read while all is well.

Times are in points; the constants suit sampling about once a minute. A unit runs at a load that its
flow, pressure, temperatures, level, valve, motor and counter follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.synthetic.curves import autoregressive, wander
from tsad.synthetic.filters import lfilter

_PURGE_SHARE = 0.75  # share of the units that purge


@dataclass(eq=False)
class Unit:
    """What the sensors of one unit have in common.

    Attributes:
        load: [T] how hard the unit works, about 0..1.
        ambient: [T] weather, standardised.
        running: [T] bool, whether the intermittent motor is on.
        purges: positions where a purge begins; empty where the unit has none.
    """

    load: FloatArray
    ambient: FloatArray
    running: BoolArray
    purges: IntArray


Signal = tuple[FloatArray, FloatArray]  # signal and noise, [T] each, in the sensor's unit
Sensor = Callable[[np.random.Generator, Unit], Signal]


def make_unit(rng: np.random.Generator, points: int, day: float) -> Unit:
    """A unit over ``points`` points, ``day`` of them per day."""
    t = np.arange(points) / day
    daily = np.sin(2 * np.pi * (t + rng.random()))
    steps = np.sort(rng.integers(0, points, max(1, points // 1200)))
    campaign = rng.uniform(-0.15, 0.15, len(steps) + 1)[np.searchsorted(steps, np.arange(points), side="right")]
    load = 0.6 + 0.08 * daily + _lag(campaign, 30) + 0.05 * wander(rng, 1, points, points / 400, points / 200)[0]
    ambient = np.sin(2 * np.pi * (t - 0.4)) + 0.3 * wander(rng, 1, points, points / 600, points / 300)[0]
    every = int(rng.integers(380, 620))
    purges: IntArray = np.arange(rng.integers(40, every), points - 60, every, dtype=np.int64)
    purges = (purges + rng.integers(-12, 13, len(purges))).clip(1)
    if rng.random() >= _PURGE_SHARE:
        purges = purges[:0]
    return Unit(load, ambient, _running(rng, points), purges)


def _running(rng: np.random.Generator, points: int) -> BoolArray:
    """[T] bool: a motor that runs for one to three hours and rests for about one, at one-minute sampling."""
    on, off = rng.uniform(90, 180), rng.uniform(40, 80)
    count = int(points / (on + off) * 2) + 8
    lengths = np.where(np.arange(count) % 2 == 0, on, off) * rng.uniform(0.9, 1.1, count)
    changes = np.cumsum(lengths) - rng.random() * on
    return np.searchsorted(changes, np.arange(points), side="right") % 2 == 0


def _lag(values: FloatArray, points: float) -> FloatArray:
    """First-order lag with a time constant in points, starting in rest."""
    keep = np.exp(-1 / points)
    return lfilter([1 - keep], [1, -keep], values - values[0]) + values[0]


def _ar(rng: np.random.Generator, points: int, phi: float) -> FloatArray:
    return autoregressive(rng, rng.standard_normal((1, points)), phi)[0]


def _flow(rng: np.random.Generator, unit: Unit) -> Signal:
    """t/h, follows the load at once."""
    full = rng.uniform(40, 160)
    return full * unit.load, full * 0.008 * _ar(rng, len(unit.load), 0.5)


def _temperature(rng: np.random.Generator, unit: Unit) -> Signal:
    """Degrees Celsius of the product: slow, drawn by load and weather."""
    signal = rng.uniform(120, 220) + 60 * _lag(unit.load, rng.uniform(20, 60)) + 1.5 * unit.ambient
    return signal, 0.25 * _ar(rng, len(signal), 0.3)


def _pressure(rng: np.random.Generator, unit: Unit) -> Signal:
    """bar, falls with the square of the flow; the control loop swings a little."""
    swing = np.sin(2 * np.pi * np.arange(len(unit.load)) / rng.uniform(25, 45) + 2 * unit.ambient)
    signal = rng.uniform(8, 20) - 3 * unit.load**2 + 0.04 * swing
    return signal, 0.03 * _ar(rng, len(signal), 0.3)


def _level(rng: np.random.Generator, unit: Unit) -> Signal:
    """Percent: the tank fills while the motor rests and is pumped out while it runs."""
    rest = float(unit.running.mean())
    change = np.where(unit.running, -(1 - rest) / max(rest, 0.05), 1.0) * rng.uniform(0.2, 0.35)
    level = np.cumsum(change * (0.8 + 0.4 * unit.load))
    level -= _lag(level, 300)  # the overflow keeps the average level where it is
    return 55 + level, 0.25 * _ar(rng, len(level), 0.2)


def _valve(rng: np.random.Generator, unit: Unit) -> Signal:
    """Percent open, in the steps of its positioner."""
    signal = 15 + 70 * _lag(unit.load, 5)
    noise = np.round(0.6 * _ar(rng, len(signal), 0.8) + signal) - signal
    return signal, noise


def _current(rng: np.random.Generator, unit: Unit) -> Signal:
    """Ampere of the intermittent motor, with a high inrush at each start."""
    signal = np.where(unit.running, 18 + 12 * unit.load, 0.4)
    starts = np.flatnonzero(np.diff(unit.running.astype(np.int8)) == 1) + 1
    for offset, factor in enumerate((2.4, 1.3, 1.1)):
        signal[(starts + offset).clip(max=len(signal) - 1)] *= factor
    return signal, np.where(unit.running, 0.35, 0.03) * _ar(rng, len(signal), 0.2)


def _vibration(rng: np.random.Generator, unit: Unit) -> Signal:
    """mm/s, higher and noisier while the motor runs, skewed."""
    signal = np.where(unit.running, 2.2 + 1.0 * unit.load, 0.3)
    noise = np.where(unit.running, 0.16, 0.03) * (rng.standard_gamma(4, len(signal)) - 4) / 2
    return signal, noise


def _bearing(rng: np.random.Generator, unit: Unit) -> Signal:
    """Degrees Celsius of the motor's bearing: warms while it runs."""
    signal = 38 + 26 * _lag(unit.running.astype(float), rng.uniform(25, 50)) + 2 * unit.ambient
    return signal, 0.2 * _ar(rng, len(signal), 0.3)


def _counter(rng: np.random.Generator, unit: Unit) -> Signal:
    """m3 counted since the last report; starts again with each batch."""
    total = np.cumsum(unit.load) + rng.uniform(0, 200)
    batch = rng.uniform(180, 420)
    return total % batch, 0.3 * rng.standard_normal(len(total))


SENSORS: tuple[tuple[str, Sensor], ...] = (
    ("FI", _flow), ("TI", _temperature), ("PI", _pressure), ("LI", _level), ("ZI", _valve),
    ("II", _current), ("VI", _vibration), ("TI", _bearing), ("FQ", _counter),
)
_FLOORED = frozenset(("FI", "PI", "II", "VI", "FQ"))  # cannot be negative
CONTROLLED = frozenset(("FI", "TI", "PI", "LI"))  # under a control loop that can oscillate


def limits(code: str, values: FloatArray) -> FloatArray:
    """What the transmitter can report at all."""
    if code in ("LI", "ZI"):
        return values.clip(0, 100)
    return np.maximum(values, 0) if code in _FLOORED else values
