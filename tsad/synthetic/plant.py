"""The demo's plant: units of coupled sensors over a few days, with labelled anomalies and harmless habits.

Two things in it are there to be learned from reviews, because no detector can know them beforehand:

- a *purge*, a scheduled manoeuvre that shakes most sensors of a unit several times a day and that
  everybody in the plant knows to be harmless: never labelled;
- an *oscillation* of a control loop, hardly higher than the noise, that the plant does want reported: labelled.
"""

from __future__ import annotations

import numpy as np

from tsad.core.intervals import runs_of, runs_to_intervals
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, BoolArray, FloatArray, IntArray, Interval
from tsad.synthetic.anomalies import KINDS, disturb, forget_invisible, free
from tsad.synthetic.curves import standardise
from tsad.synthetic.scene import Scene
from tsad.synthetic.units import CONTROLLED, SENSORS, limits, make_unit

OSCILLATION = "oscillation"
PLANT_KINDS: tuple[str, ...] = (
    "spike", "dip", "level shift", "drift", "noise burst", "stuck value", "dropout", "variance change", "cut and paste",
    OSCILLATION,
)  # fmt: skip
SHORTEST = 256
_NAMES = (*KINDS, OSCILLATION)  # what the codes in Scene.kinds mean here
_OSCILLATION_SHARE = 0.4  # of the anomalies of sensors under a control loop
_UPSET_SHARE = 0.2  # of the anomalies: shown by the neighbouring sensor of the unit too
_PURGE = np.concatenate((-np.ones(8), 0.7 * np.ones(4), 0.7 * np.exp(-np.arange(1, 13) / 4)))


def plant(
    *, seed: int, series: int, points: int, step_seconds: float, start: int, anomaly_rate: float
) -> list[Series]:
    """A simulated plant, the same for the same arguments.

    Args:
        seed: fixes everything; two seeds are two plants.
        series: number of sensor series, nine to a unit.
        points: T of each, at least 256.
        step_seconds: sampling interval.
        start: first timestamp, ns UTC.
        anomaly_rate: labelled anomalies per 1,000 points of a series, on average and nearly: where no place is
            free they are fewer; 0 = none.

    Returns:
        Series with one channel, a tag as ``point_id`` (e.g. ``U1.TI1002.PV``), NaN where a reading is
        missing, and ``labels``: the kind of each anomaly, score 1.0. Habits such as purges are not labelled.

    Raises:
        ValueError: fewer than 1 series or 256 points, a step that is not positive, a negative rate.
    """
    if series < 1 or points < SHORTEST or step_seconds <= 0 or anomaly_rate < 0:
        raise ValueError(
            f"plant needs series >= 1, points >= {SHORTEST}, step_seconds > 0 and anomaly_rate >= 0, "
            f"not {series}, {points}, {step_seconds} and {anomaly_rate}"
        )
    stamps = start + np.arange(points, dtype=np.int64) * int(step_seconds * NS_PER_SECOND)
    result: list[Series] = []
    number = 0
    while len(result) < series:
        number += 1
        # Each unit has its own stream, so that a larger plant begins with the smaller one.
        rng = np.random.default_rng([seed, number])
        result += _unit_series(rng, number, stamps, 86400 / step_seconds, anomaly_rate, f"synthetic:plant/{seed}")
    return result[:series]


def _unit_series(
    rng: np.random.Generator, number: int, stamps: IntArray, day: float, rate: float, source: str
) -> list[Series]:
    unit = make_unit(rng, len(stamps), day)
    scenes: list[Scene] = []
    for _, sensor in SENSORS:
        signal, noise = sensor(rng, unit)
        signal = signal + _purge(rng, signal, noise, unit.purges)
        donor = scenes[-1].values if scenes else unit.load
        scenes.append(
            Scene(signal, noise, standardise(donor[None])[0], 0.0, np.empty(0, np.int64), lasting=False)
        )
    _disturb_unit(rng, scenes, unit.purges, rate)
    result = []
    for order, ((code, _), scene) in enumerate(zip(SENSORS, scenes, strict=True), start=1):
        values = np.round(limits(code, scene.values), 3)
        forget_invisible(scene.kinds, values, limits(code, scene.clean), 1.5 * scene.roughness)
        _lose_readings(rng, values, scene.kinds > 0)
        tag = f"U{number}.{code}{number * 1000 + order}.PV"
        result.append(Series(tag, stamps, values[:, None], labels=_labels(scene, stamps), source=source))
    return result


def _purge(rng: np.random.Generator, signal: FloatArray, noise: FloatArray, purges: IntArray) -> FloatArray:
    """[T] what the purges add to a sensor: down for some minutes, over the top, and slowly back."""
    height = 0.9 * signal.std() + 7 * noise.std()
    added = np.zeros(len(signal) + len(_PURGE))
    for start in purges + int(rng.integers(0, 4)):  # each sensor feels it a little later
        added[start : start + len(_PURGE)] += height * rng.uniform(0.85, 1.15) * _PURGE
    return added[: len(signal)]


def _disturb_unit(rng: np.random.Generator, scenes: list[Scene], purges: IntArray, rate: float) -> None:
    """Anomalies in the series of a unit, some of them in two neighbours at once."""
    points = len(scenes[0].values)
    for k, scene in enumerate(scenes):
        wanted = int(rng.poisson(rate * points / 1000 / (1 + _UPSET_SHARE)))
        for _ in range(20 * wanted):  # some places are taken and some changes cannot be seen
            controlled = SENSORS[k][0] in CONTROLLED
            kind = OSCILLATION if controlled and rng.random() < _OSCILLATION_SHARE else _draw_kind(rng)
            start, stop = _draw_place(rng, kind, points)
            if not _apply(rng, scene, kind, start, stop, purges):
                continue
            if kind != OSCILLATION and k + 1 < len(scenes) and rng.random() < _UPSET_SHARE:
                _apply(rng, scenes[k + 1], kind, start, stop, purges)
            wanted -= 1
            if not wanted:
                break


def _draw_kind(rng: np.random.Generator) -> str:
    return PLANT_KINDS[int(rng.integers(len(PLANT_KINDS) - 1))]


def _draw_place(rng: np.random.Generator, kind: str, points: int) -> tuple[int, int]:
    if kind in ("spike", "dip"):
        size = int(rng.integers(1, 6))
    elif kind == "dropout":
        size = int(rng.integers(2, 40))
    elif kind == OSCILLATION:
        size = int(rng.integers(50, 130))
    else:
        size = int(np.exp(rng.uniform(np.log(15), np.log(150))))
    size = min(size, points // 5)
    start = int(rng.integers(0, points - size))
    return start, start + size


def _apply(rng: np.random.Generator, scene: Scene, kind: str, start: int, stop: int, purges: IntArray) -> bool:
    """Disturb one series at a place, unless it is taken; says whether it did."""
    near_purge = ((purges < stop + 16) & (purges + len(_PURGE) + 16 > start)).any()
    if near_purge or free(scene, start, stop) is None:
        return False
    if kind != OSCILLATION:
        return disturb(rng, scene, kind, start, stop)
    size = stop - start
    fade = np.minimum(1.0, np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / 8)
    wave = np.sin(2 * np.pi * (np.arange(size) / rng.uniform(5, 9) + rng.random()))
    scene.values[start:stop] += rng.uniform(1.6, 2.4) * scene.roughness * fade * wave
    scene.kinds[start:stop] = _NAMES.index(OSCILLATION)
    return True


def _labels(scene: Scene, stamps: IntArray) -> tuple[Interval, ...]:
    found = [
        interval
        for code in np.unique(scene.kinds[scene.kinds > 0])
        for interval in runs_to_intervals(runs_of(scene.kinds == code), stamps, label=_NAMES[code])
    ]
    return tuple(sorted(found))


def _lose_readings(rng: np.random.Generator, values: FloatArray, keep: BoolArray) -> None:
    """Set some readings of [T] to NaN in place: single ones, and on half of the series a few stretches."""
    points = len(values)
    lost = rng.random(points) < 0.0005
    if rng.random() < 0.5:
        for start in rng.integers(0, points, int(rng.integers(1, 4))):
            lost[start : start + int(rng.integers(3, 40))] = True
    values[lost & ~keep] = np.nan
