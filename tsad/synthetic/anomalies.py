"""Kinds of anomaly, each an edit of one series, named as annotators name them.

An edit returns what stands in a stretch afterwards. Whether the change can be seen against the
noise, and so whether it is kept and labelled, is decided by :func:`disturb`, in one place for all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.core.types import FloatArray
from tsad.synthetic import cycle_edits
from tsad.synthetic.scene import Edit, Life, Scene, sign

NORMAL = "normal"
MISSING = "missing"  # no readings: not an edit, the generator takes them away last
MARGIN = 8  # points kept free at either end of a series, and twice that between two anomalies


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
    height = sign(rng) * scene.strength(rng)
    if scene.lasting and scene.life != "brief" and stop - start < 100 and rng.random() < 0.35:
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
    return scene.values[start:stop] + sign(rng) * 1.3 * scene.strength(rng) * slope


def _trend_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """From here on the series climbs or falls; after the stretch it stays where it got to."""
    rest, size = len(scene.values) - start, stop - start
    ramp = np.minimum(np.arange(1, rest + 1) / size, 1.0)
    return scene.values[start:] + sign(rng) * 1.3 * scene.strength(rng) * ramp


def _decaying_shock(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    fall = np.exp(-np.arange(size) / (size / rng.uniform(2, 5)))
    return scene.values[start:stop] + sign(rng) * 1.6 * scene.strength(rng) * fall


def _variance_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The usual noise, several times louder, or nearly silent where there was noise to miss."""
    if scene.roughness > 0.15 * scene.spread and rng.random() < 0.4:
        return scene.values[start:stop] - scene.noise[start:stop] * rng.uniform(0.85, 1.0)
    return scene.values[start:stop] + scene.noise[start:stop] * rng.uniform(1.5, 5.0)


def _noise_burst(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    shape = 1.3 * np.hanning(size + 2)[1:-1] if rng.random() < 0.5 else 1.0
    return scene.values[start:stop] + rng.standard_normal(size) * 0.6 * scene.strength(rng) * shape


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


# kind -> (edit, its share among free series, those with a period, brief, peaks, beats, loose ones)
EDITS: dict[str, tuple[Edit, tuple[float, ...]]] = {
    "spike": (_spike, (2.0, 1.0, 3.0, 0.6, 0.2, 3.0)),
    "dip": (_dip, (1.5, 1.0, 2.0, 1.0, 0.2, 2.0)),
    "level shift": (_level_shift, (2.0, 1.0, 2.0, 1.2, 0.3, 2.0)),
    "drift": (_drift, (1.0, 0.6, 0.7, 0.7, 0.2, 0.4)),
    "trend change": (_trend_change, (0.7, 0.3, 0.0, 0.2, 0.0, 0.0)),
    "decaying shock": (_decaying_shock, (1.0, 0.6, 1.0, 0.6, 0.2, 1.2)),
    "variance change": (_variance_change, (1.5, 0.7, 0.3, 1.5, 0.3, 0.3)),
    "noise burst": (_noise_burst, (1.0, 0.8, 1.0, 1.2, 0.6, 0.8)),
    "frequency change": (cycle_edits.frequency_change, (0.3, 1.0, 0.0, 0.3, 1.0, 0.0)),
    "phase shift": (cycle_edits.phase_shift, (0.0, 1.3, 0.0, 0.0, 0.8, 0.0)),
    "amplitude change": (cycle_edits.amplitude_change, (0.3, 1.3, 0.2, 0.3, 1.0, 0.0)),
    "missing cycle": (cycle_edits.missing_cycle, (0.0, 1.0, 0.0, 0.0, 1.0, 0.0)),
    "time warp": (cycle_edits.time_warp, (0.0, 0.8, 0.0, 0.0, 1.4, 0.0)),
    "shape edit": (cycle_edits.shape_edit, (0.0, 2.4, 0.0, 0.6, 4.5, 0.0)),
    "cut and paste": (_cut_and_paste, (1.0, 1.2, 0.2, 1.0, 0.8, 0.2)),
    "stuck value": (_stuck_value, (0.8, 0.8, 0.6, 1.0, 0.3, 0.1)),
    "dropout": (_dropout, (0.8, 0.7, 1.0, 0.1, 0.1, 1.0)),
    "saturation": (_saturation, (0.5, 0.8, 0.0, 0.4, 0.3, 0.0)),
}
KINDS: tuple[str, ...] = (NORMAL, *EDITS, MISSING)
_CYCLE_KINDS = frozenset(
    ("frequency change", "phase shift", "amplitude change", "missing cycle", "time warp", "shape edit")
)
_LONGEST: dict[Life, int] = {"brief": 80, "loose": 80, "peaks": 200}  # points, of what follows no cycle
_QUIET_KINDS = frozenset(("stuck value", "missing cycle"))  # silence: seen against the signal, not against the noise


def _cumulative(column: int) -> FloatArray:
    shares = np.array([odds[column] for _, odds in EDITS.values()])
    return np.cumsum(shares / shares.sum())


_ODDS = {life: _cumulative(k) for k, life in enumerate(("free", "periodic", "brief", "peaks", "beats", "loose"))}


def draw_kind(rng: np.random.Generator, scene: Scene) -> str:
    """A kind of anomaly that can happen in this series."""
    odds = _ODDS["periodic" if scene.life == "free" and scene.period else scene.life]
    while True:
        kind = KINDS[1 + min(int(np.searchsorted(odds, rng.random())), len(EDITS) - 1)]
        if kind != "stuck value" or not scene.holds:
            return kind


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
        if len(scene.cycles) > 4 and rng.random() < (0.8 if scene.life == "beats" else 0.6):
            return free(scene, *_whole_cycles(rng, scene))
        size = int(np.clip(scene.period * rng.uniform(0.4, 3), 8, longest))
    else:
        size = int(np.exp(rng.uniform(np.log(6), np.log(min(_LONGEST.get(scene.life, longest), longest)))))
    start = int(rng.integers(MARGIN, length - size - MARGIN))
    return free(scene, start, start + size)


def _whole_cycles(rng: np.random.Generator, scene: Scene) -> tuple[int, int]:
    turns = 1 if scene.life == "beats" else int(rng.choice((1, 1, 1, 2, 3)))
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
    floor = (0.06 if scene.life == "brief" else 0.12) * scene.spread
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
