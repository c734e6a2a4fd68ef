"""Kinds of anomaly, each an edit of one series, named as annotators name them.

An edit returns what stands in a stretch afterwards. Whether the change can be seen against the
noise, and so whether it is kept and labelled, is decided by :func:`disturb`, in one place for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.core.types import FloatArray, IntArray

NORMAL = "normal"
MISSING = "missing"  # no readings: not an edit, the generator takes them away last
MARGIN = 8  # points kept free at either end of a series, and twice that between two anomalies


@dataclass(eq=False)
class Scene:
    """One series to disturb, with what is known of it.

    Attributes:
        signal, noise: [L] as in :class:`~tsad.synthetic.series.Base`; the series is their sum.
        donor: [L] another series, standardised, to paste from.
        period: points per cycle, 0 where there is none.
        cycles: positions where cycles start; empty where unknown.
        brief: only short events count as abnormal here.
        lasting: a step may stay for good.
        values: [L] the series so far.
        clean: [L] the same without its anomalies; after a change that lasts, the new course is the normal one.
        kinds: [L] int8 index into :data:`KINDS`, 0 = normal.
    """

    signal: FloatArray
    noise: FloatArray
    donor: FloatArray
    period: float
    cycles: IntArray
    brief: bool
    lasting: bool = True

    def __post_init__(self) -> None:
        self.signal = self.signal.copy()  # lasting changes are written into it
        self.values = self.signal + self.noise
        self.clean = self.values.copy()
        self.kinds = np.zeros(len(self.signal), np.int8)
        self.spread = float(self.values.std()) + 1e-9
        self.roughness = float(self.noise.std()) + 1e-9
        self.jump = float(np.median(np.abs(np.diff(self.values)))) + 0.3 * self.roughness + 0.02 * self.spread

    def strength(self, rng: np.random.Generator) -> float:
        """Height of a change: sometimes large for the whole series, sometimes only for its neighbours."""
        if rng.random() < (0.3 if self.brief else 0.6):
            return rng.uniform(1.0, 3.0) * self.spread
        return rng.uniform(4.0, 12.0) * self.jump


# (generator, scene, start, stop) -> values from start on; longer than the stretch where the change persists
Edit = Callable[[np.random.Generator, Scene, int, int], FloatArray]


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.6 else -1


def _bump(rng: np.random.Generator, scene: Scene, size: int) -> FloatArray:
    shape: FloatArray = np.ones(size)
    if size > 2 and rng.random() < 0.5:
        shape = np.asarray(np.hanning(size + 2)[1:-1], np.float64)
    return scene.strength(rng) * rng.uniform(1.0, 2.0) * shape


def _spike(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    return scene.values[start:stop] + _bump(rng, scene, stop - start)


def _dip(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    return scene.values[start:stop] - _bump(rng, scene, stop - start)


def _level_shift(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """A step that returns, or one that stays: then the label marks where it happened."""
    height = _sign(rng) * scene.strength(rng)
    if scene.lasting and not scene.brief and stop - start < 100 and rng.random() < 0.35:
        return scene.values[start:] + height
    size = stop - start
    ramp = min(size // 3, int(rng.integers(0, 6)))
    edge = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / (ramp + 1)
    return scene.values[start:stop] + height * np.minimum(edge, 1.0)


def _drift(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    slope = (np.arange(1, size + 1) / size) ** rng.choice((0.7, 1.0, 2.0))
    if rng.random() < 0.3:  # and back again, faster
        back = max(1, int(size * rng.uniform(0.1, 0.4)))
        slope[-back:] = slope[-back] * np.linspace(1, 0, back)
    return scene.values[start:stop] + _sign(rng) * 1.3 * scene.strength(rng) * slope


def _trend_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """From here on the series climbs or falls; after the stretch it stays where it got to."""
    rest, size = len(scene.values) - start, stop - start
    ramp = np.minimum(np.arange(1, rest + 1) / size, 1.0)
    return scene.values[start:] + _sign(rng) * 1.3 * scene.strength(rng) * ramp


def _decaying_shock(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    fall = np.exp(-np.arange(size) / (size / rng.uniform(2, 5)))
    return scene.values[start:stop] + _sign(rng) * 1.6 * scene.strength(rng) * fall


def _variance_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The usual noise, several times louder, or nearly silent where there was noise to miss."""
    if scene.roughness > 0.15 * scene.spread and rng.random() < 0.4:
        return scene.values[start:stop] - scene.noise[start:stop] * rng.uniform(0.85, 1.0)
    return scene.values[start:stop] + scene.noise[start:stop] * rng.uniform(1.5, 5.0)


def _noise_burst(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    shape = 1.3 * np.hanning(size + 2)[1:-1] if rng.random() < 0.5 else 1.0
    return scene.values[start:stop] + rng.standard_normal(size) * 0.6 * scene.strength(rng) * shape


def _frequency_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    pace = rng.uniform(0.35, 0.7) if rng.random() < 0.5 else rng.uniform(1.5, 2.6)
    where = start + np.arange(size) * pace
    last = len(scene.signal) - 1
    where = last - np.abs(last - where % (2 * last))  # reflected at the end of the series
    return np.interp(where, np.arange(last + 1), scene.signal) + scene.noise[start:stop]


def _phase_shift(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """What belongs to another time of the cycle."""
    shift = max(1, int(scene.period * rng.uniform(0.2, 0.8)))
    if stop + shift > len(scene.signal):
        shift = -min(shift, start)
    return scene.signal[start + shift : stop + shift] + scene.noise[start:stop]


def _amplitude_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    reach = int(max(16, scene.period))
    middle = scene.signal[max(0, start - reach) : stop + reach].mean()
    factor = rng.uniform(0.0, 0.5) if rng.random() < 0.5 else rng.uniform(1.6, 3.0)
    return middle + (scene.signal[start:stop] - middle) * factor + scene.noise[start:stop]


def _missing_cycle(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    line = np.linspace(scene.signal[start], scene.signal[stop - 1], stop - start)
    return line + scene.noise[start:stop]


def _time_warp(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The right course at the wrong pace: the middle comes early or late, the ends fit."""
    size = stop - start
    part = np.linspace(0, 1, size)
    power = rng.uniform(0.3, 0.7) if rng.random() < 0.5 else rng.uniform(1.4, 2.6)
    return np.interp(part**power * (size - 1), np.arange(size), scene.signal[start:stop]) + scene.noise[start:stop]


def _shape_edit(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """A cycle of another form: turned round, flipped, smoothed, clipped, halves swapped, an extra lobe."""
    piece, size = scene.signal[start:stop], stop - start
    part = np.linspace(0, 1, size)
    line = piece[0] + (piece[-1] - piece[0]) * part
    sort = rng.integers(0, 6)
    if sort == 0:
        changed = (piece - line)[::-1] + line
    elif sort == 1:
        changed = 2 * (line if rng.random() < 0.5 else np.median(piece)) - piece
    elif sort == 2:
        width = max(3, int(size * rng.uniform(0.1, 0.4))) | 1
        total = np.cumsum(np.concatenate(([0.0], np.pad(piece, width // 2, mode="edge"))))
        changed = (total[width:] - total[:-width]) / width
    elif sort == 3:
        lowest, highest = piece.min(), piece.max()
        changed = np.minimum(piece, lowest + (highest - lowest) * rng.uniform(0.3, 0.75))
    elif sort == 4:
        half = np.roll(piece, -(size // 2))
        changed = half - (half[0] + (half[-1] - half[0]) * part) + line
    else:
        lobe = np.exp(-0.5 * ((part - rng.uniform(0.2, 0.8)) / rng.uniform(0.03, 0.2)) ** 2)
        changed = piece + _sign(rng) * rng.uniform(0.4, 1.6) * scene.spread * lobe
    return changed + scene.noise[start:stop]


def _cut_and_paste(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """A stretch of another series in its place, at about the same level and height."""
    size, piece = stop - start, scene.values[start:stop]
    source = int(rng.integers(0, len(scene.donor) - size))
    donor = scene.donor[source : source + size]
    donor = (donor - donor.mean()) / (donor.std() + 1e-6)
    offset = rng.uniform(-0.5, 0.5) * scene.spread * (rng.random() < 0.4)
    return piece.mean() + donor * max(piece.std(), 0.3 * scene.spread) * rng.uniform(0.7, 1.8) + offset


def _stuck_value(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    return np.full(stop - start, scene.values[start - 1])


def _dropout(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The reading falls to the bottom of its range, or to below it."""
    floor = scene.values.min() - (0.0 if rng.random() < 0.6 else rng.uniform(0, 1.5) * scene.spread)
    return floor + 0.02 * scene.roughness * rng.standard_normal(stop - start)


def _saturation(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The reading cannot get beyond a limit well inside its usual range here."""
    piece = scene.values[start:stop]
    limit = np.quantile(piece, rng.uniform(0.2, 0.6))
    return np.minimum(piece, limit) if rng.random() < 0.7 else np.maximum(piece, limit)


# kind -> (edit, share among free series, among series with a period, among brief ones)
EDITS: dict[str, tuple[Edit, float, float, float]] = {
    "spike": (_spike, 2.0, 1.0, 3.0),
    "dip": (_dip, 1.5, 1.0, 2.0),
    "level shift": (_level_shift, 2.0, 1.0, 2.0),
    "drift": (_drift, 1.0, 0.6, 0.7),
    "trend change": (_trend_change, 0.7, 0.3, 0.0),
    "decaying shock": (_decaying_shock, 1.0, 0.6, 1.0),
    "variance change": (_variance_change, 1.5, 0.7, 0.3),
    "noise burst": (_noise_burst, 1.0, 0.8, 1.0),
    "frequency change": (_frequency_change, 0.3, 1.0, 0.0),
    "phase shift": (_phase_shift, 0.0, 1.3, 0.0),
    "amplitude change": (_amplitude_change, 0.3, 1.3, 0.2),
    "missing cycle": (_missing_cycle, 0.0, 1.0, 0.0),
    "time warp": (_time_warp, 0.0, 0.8, 0.0),
    "shape edit": (_shape_edit, 0.0, 2.2, 0.0),
    "cut and paste": (_cut_and_paste, 1.0, 1.2, 0.2),
    "stuck value": (_stuck_value, 0.8, 0.8, 0.6),
    "dropout": (_dropout, 0.8, 0.7, 1.0),
    "saturation": (_saturation, 0.5, 0.8, 0.0),
}
KINDS: tuple[str, ...] = (NORMAL, *EDITS, MISSING)
_CYCLE_KINDS = frozenset(
    ("frequency change", "phase shift", "amplitude change", "missing cycle", "time warp", "shape edit")
)
_QUIET_KINDS = frozenset(("stuck value", "missing cycle"))  # silence: seen against the signal, not against the noise


def _cumulative(column: int) -> FloatArray:
    shares = np.array([EDITS[kind][column] for kind in EDITS])
    return np.cumsum(shares / shares.sum())


_ODDS = {"free": _cumulative(1), "periodic": _cumulative(2), "brief": _cumulative(3)}


def draw_kind(rng: np.random.Generator, scene: Scene) -> str:
    """A kind of anomaly that can happen in this series."""
    odds = _ODDS["brief" if scene.brief else "periodic" if scene.period else "free"]
    return KINDS[1 + min(int(np.searchsorted(odds, rng.random())), len(EDITS) - 1)]


def draw_stretch(rng: np.random.Generator, scene: Scene, kind: str) -> tuple[int, int] | None:
    """Where it happens, half-open; ``None`` where the place drawn is too near to an end or another anomaly.

    From one point (spikes, dips, dropouts) to a third of the series, or a sixth where it is long: a network
    that looks at a part of a long series must still see both sides. Edits of cycles follow the cycles.
    """
    length = len(scene.values)
    longest = min(length // 3, max(400, length // 6))
    if kind in ("spike", "dip"):
        size = int(rng.integers(1, 6)) if rng.random() < 0.8 else int(rng.integers(6, 16))
    elif kind == "dropout" and rng.random() < 0.4:
        size = int(rng.integers(1, 12))
    elif kind in _CYCLE_KINDS and scene.period:
        if len(scene.cycles) > 4 and rng.random() < 0.6:
            return free(scene, *_whole_cycles(rng, scene))
        size = int(np.clip(scene.period * rng.uniform(0.4, 3), 8, longest))
    else:
        size = int(np.exp(rng.uniform(np.log(6), np.log(min(80, longest) if scene.brief else longest))))
    start = int(rng.integers(MARGIN, length - size - MARGIN))
    return free(scene, start, start + size)


def _whole_cycles(rng: np.random.Generator, scene: Scene) -> tuple[int, int]:
    turns = int(rng.choice((1, 1, 1, 2, 3)))
    first = int(rng.integers(0, len(scene.cycles) - turns))
    return int(scene.cycles[first]), int(scene.cycles[first + turns])


def free(scene: Scene, start: int, stop: int) -> tuple[int, int] | None:
    """The stretch itself, or ``None`` where it is too near to an end or to another anomaly."""
    length = len(scene.values)
    if start < MARGIN or stop > length - MARGIN or not 1 <= stop - start <= length // 3:
        return None
    if scene.kinds[max(0, start - 2 * MARGIN) : stop + 2 * MARGIN].any():
        return None
    return start, stop


def disturb(rng: np.random.Generator, scene: Scene, kind: str, start: int, stop: int) -> bool:
    """Edit the series and label it, if the change can be seen; says whether it did.

    The label keeps to the points between the first and the last visible change; a change that persists
    is labelled over the stretch drawn.
    """
    edited = EDITS[kind][0](rng, scene, start, stop)
    before = scene.values[start : start + len(edited)]
    inside = stop - start
    change = np.abs(edited - before)[:inside]
    highest = float(change.max())
    effect = float(np.sqrt(np.mean(change**2)))
    # A few points must stand out from the noise by more than many points need to.
    need = (2.5 if inside <= 3 else 0.6 if kind in _QUIET_KINDS else 1.1) * scene.roughness
    if kind == "variance change":
        need = 0.5 * scene.roughness
    floor = (0.06 if scene.brief else 0.12) * scene.spread
    if effect < max(need, floor) or (kind in _QUIET_KINDS and inside < 6):
        return False
    seen = np.flatnonzero(change > max(0.08 * highest, 0.5 * min(scene.roughness, highest)))
    if len(edited) > inside:  # later edits start from the changed course
        scene.signal[start:] += edited - before
        scene.clean[stop:] += (edited - before)[inside:]
    scene.values[start : start + len(edited)] = edited
    scene.kinds[start + seen[0] : start + seen[-1] + 1] = KINDS.index(kind)
    return True


def forget_invisible(kinds: npt.NDArray[np.int8], values: FloatArray, clean: FloatArray, floor: float) -> None:
    """Drop, in place, the labels of anomalies that the sensor did not let through. All [L].

    Args:
        kinds: 0 where normal.
        values, clean: what the sensor reports of both twins.
        floor: a stretch whose largest change is below this is forgotten.
    """
    away = np.abs(values - clean)
    for start, stop in runs_of(kinds > 0):
        if away[start:stop].max() < floor:
            kinds[start:stop] = 0
