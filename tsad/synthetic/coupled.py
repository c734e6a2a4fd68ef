"""Machines: several channels that follow common causes, and the moment one of them stops following.

What happens to a machine as a whole (other load, another operating point) moves the coupled channels together and is
normal. A *correlation break* moves one of them alone, within the range and at the pace that it always has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray
from tsad.synthetic.anomalies import (
    KINDS,
    MARGIN,
    MISSING,
    disturb,
    draw_kind,
    draw_stretch,
    forget_invisible,
    free,
)
from tsad.synthetic.curves import log_uniform, noise, standardise, wander
from tsad.synthetic.families import base_batch
from tsad.synthetic.filters import lfilter
from tsad.synthetic.scene import Scene

CORRELATION_BREAK = "correlation break"
MACHINE_KINDS: tuple[str, ...] = (*KINDS, CORRELATION_BREAK)
SHORTEST = 64
ABNORMAL_SHARE = 0.8  # share of the machines in which something is tried
_BREAK_SHARE = 0.45  # of the anomalies of a machine
_SEVERAL_SHARE = 0.4  # of the other anomalies: shown by several channels at once
_PARTNER = 0.6  # a channel can be seen to break away only from one that it correlates with at least so much
_NEED_PERIOD = frozenset(("phase shift", "missing cycle", "time warp", "shape edit"))


@dataclass(frozen=True, eq=False)
class MachineBatch:
    """One machine over ``L`` points.

    Attributes:
        values: [L, C] float32, each channel with its own offset and scale; NaN where the kind is "missing".
        labels: [L] bool, true where any channel is abnormal; equals ``kinds > 0``.
        channel_labels: [L, C] bool.
        kinds: [L] int8 index into :data:`MACHINE_KINDS`; 0 = normal.
        clean: [L, C] float32, the same machine without its anomalies (as in
            :class:`~tsad.synthetic.generator.Batch`, the new normal after a change that stays).
        coupled: [C] bool, whether the channel follows the machine's common causes.
    """

    values: npt.NDArray[np.float32]
    labels: BoolArray
    channel_labels: BoolArray
    kinds: npt.NDArray[np.int8]
    clean: npt.NDArray[np.float32]
    coupled: BoolArray


def make_machine(rng: np.random.Generator, channels: int, length: int) -> MachineBatch:
    """One machine, fully determined by the state of ``rng``; at least two of its channels are coupled.

    Args:
        channels: C, at least 2.
        length: L in points, at least 64.

    Raises:
        ValueError: fewer than 2 channels or 64 points.
    """
    if channels < 2 or length < SHORTEST:
        raise ValueError(
            f"make_machine needs channels >= 2 and length >= {SHORTEST}, not {channels} channels x {length} points"
        )
    scenes, coupled = _scenes(rng, channels, length)
    if rng.random() < ABNORMAL_SHARE:
        _disturb_machine(rng, scenes, _with_partner(scenes, coupled))
    kinds = np.stack([scene.kinds for scene in scenes], axis=1)
    values, clean = (np.stack(rows, axis=1) for rows in zip(*(_report(rng, scene) for scene in scenes), strict=True))
    for c in range(channels):
        forget_invisible(kinds[:, c], values[:, c], clean[:, c], 0.06 * float(clean[:, c].std()) + 1e-9)
    _lose(rng, values, kinds)
    offset, scale = rng.normal(0, 3, channels), log_uniform(rng, 0.05, 50, channels)
    seen, twin = (((part + offset) * scale).astype(np.float32) for part in (values, clean))
    machine = kinds.max(axis=1)
    return MachineBatch(seen, machine > 0, kinds > 0, machine, twin, coupled)


def _scenes(rng: np.random.Generator, channels: int, length: int) -> tuple[list[Scene], BoolArray]:
    """The channels while all is well, in random order, and which of them are coupled."""
    alone = int(rng.integers(0, min(2, channels - 2) + 1))
    drivers = int(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))
    reach = length // 16  # the longest lag
    base = base_batch(rng, drivers + alone, length + reach)
    causes = standardise((base.signal + base.noise)[:drivers] + _regimes(rng, drivers, length + reach))
    signals, noises, periods = [], [], []
    for _ in range(channels - alone):
        leader = int(rng.integers(drivers)) if rng.random() < 0.5 else 0
        gain = 0.2 * rng.standard_normal(drivers)
        gain[leader] = rng.choice((-1, 1)) * rng.uniform(0.7, 1.3)
        signals.append(_follow(rng, gain @ causes, reach))
        periods.append(float(base.period[leader]))
    noises += list(noise(rng, channels - alone, length) * log_uniform(rng, 0.02, 0.3, channels - alone)[:, None])
    for row in range(drivers, drivers + alone):
        signals.append(base.signal[row, reach:])
        noises.append(base.noise[row, reach:])
        periods.append(float(base.period[row]))
    order = rng.permutation(channels)
    donors = standardise(np.roll(np.array(signals) + noises, 1, axis=0))
    nowhere = np.empty(0, np.int64)
    scenes = [Scene(signals[k], noises[k], donors[k], periods[k], nowhere) for k in order]
    return scenes, order < channels - alone


def _regimes(rng: np.random.Generator, drivers: int, length: int) -> FloatArray:
    """[drivers, L] now and then the machine is driven to another operating point and stays there: normal."""
    added = np.zeros((drivers, length))
    for row in np.flatnonzero(rng.random(drivers) < 0.3):
        start, ramp = int(rng.integers(length // 8, length)), rng.uniform(5, max(6.0, length / 10))
        height = rng.choice((-1, 1)) * rng.uniform(0.8, 2.5)
        added[row] = height * ((np.arange(length) - start) / ramp).clip(0, 1)
    return added


def _follow(rng: np.random.Generator, cause: FloatArray, reach: int) -> FloatArray:
    """What one channel makes of its cause [L + reach] -> [L], standardised: late, lagging, bent."""
    late = int(rng.integers(0, reach + 1)) if rng.random() < 0.3 else int(rng.integers(0, min(reach, 5) + 1))
    if rng.random() < 0.5:
        keep = np.exp(-1 / rng.uniform(1, max(2.0, reach / 2)))
        cause = lfilter([1 - keep], [1, -keep], cause - cause[0]) + cause[0]
    part = cause[reach - late : len(cause) - late]
    bend = rng.random()
    if bend < 0.2:
        part = np.tanh(part)
    elif bend < 0.4:
        part = np.sign(part) * np.abs(part) ** rng.uniform(0.6, 1.6)
    return standardise(part[None])[0]


def _with_partner(scenes: list[Scene], coupled: BoolArray) -> list[int]:
    """The coupled channels that another one moves with."""
    inside = np.flatnonzero(coupled)
    close = np.abs(np.corrcoef([scenes[k].signal for k in inside])) >= _PARTNER
    return inside[close.sum(axis=1) > 1].tolist()


def _disturb_machine(rng: np.random.Generator, scenes: list[Scene], partners: list[int]) -> None:
    """Put anomalies into the machine, at most one at a time; only ``partners`` break away from the others."""
    length = len(scenes[0].values)
    wanted = min(int(rng.geometric(0.55)), 4) * max(1, length // 2048)
    taken = np.zeros(length, bool)
    for _ in range(6 * wanted):  # some places are taken and some changes cannot be seen
        before = np.array([scene.kinds > 0 for scene in scenes])
        if partners and rng.random() < _BREAK_SHARE:
            stretch = _draw_break(rng, length)
            done = _is_free(taken, stretch) and break_correlation(rng, scenes[int(rng.choice(partners))], *stretch)
        else:
            done = _known_kind(rng, scenes, taken)
        if done:
            taken |= (np.array([scene.kinds > 0 for scene in scenes]) & ~before).any(axis=0)
            wanted -= 1
        if not wanted:
            return


def _draw_break(rng: np.random.Generator, length: int) -> tuple[int, int]:
    longest = min(length // 3, max(400, length // 6))
    size = int(np.exp(rng.uniform(np.log(min(20, longest)), np.log(longest))))
    start = int(rng.integers(MARGIN, length - size - MARGIN + 1))
    return start, start + size


def _is_free(taken: BoolArray, stretch: tuple[int, int]) -> bool:
    return not taken[max(0, stretch[0] - 2 * MARGIN) : stretch[1] + 2 * MARGIN].any()


def _known_kind(rng: np.random.Generator, scenes: list[Scene], taken: BoolArray) -> bool:
    """One kind of a single series, in one channel or at the same time in several; says whether any shows it."""
    count = int(rng.integers(2, len(scenes) + 1)) if rng.random() < _SEVERAL_SHARE else 1
    chosen = [scenes[k] for k in rng.permutation(len(scenes))[:count]]
    kind = draw_kind(rng, chosen[0])
    stretch = draw_stretch(rng, chosen[0], kind)
    if stretch is None or not _is_free(taken, stretch):
        return False
    fitting = [scene for scene in chosen if scene.period or kind not in _NEED_PERIOD]
    return sum(disturb(rng, scene, kind, *stretch) for scene in fitting) > 0


def break_correlation(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> bool:
    """Let a channel go its own way in ``[start, stop)`` and label it; says whether it could and did.

    Three ways: what it did at another time, the opposite of what it does, or a free course of the same pace. It is
    done only where the course departs well beyond the channel's noise, stays in the range that the channel has
    anyhow, and jumps nowhere more than the channel does, so that nothing is wrong with the channel by itself.
    """
    if free(scene, start, stop) is None:
        return False
    piece, size = scene.signal[start:stop], stop - start
    way = int(rng.integers(0, 3))
    if way == 0:
        other = int(rng.integers(0, len(scene.signal) - size + 1))
        course = scene.signal[other : other + size]
    elif way == 1:
        course = 2 * np.median(piece) - piece
    else:
        turns = np.count_nonzero(np.diff(np.sign(piece - piece.mean()))) + 2.0
        course = piece.mean() + max(float(piece.std()), 0.5) * wander(rng, 1, size, turns, turns + 1)[0]
    ramp = int(rng.integers(2, max(3, size // 3)))
    weight = (np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / ramp).clip(0, 1)
    changed = piece + weight * (course - piece)
    away = np.abs(changed - piece)
    low, high = scene.signal.min(), scene.signal.max()
    jump = float(np.abs(np.diff(scene.values)).max())
    joined = np.concatenate((scene.signal[start - 1 : start], changed, scene.signal[stop : stop + 1]))
    if np.sqrt(np.mean(away**2)) < max(0.6 * float(scene.signal.std()), 2.0 * scene.roughness):
        return False
    if changed.min() < low or changed.max() > high or np.abs(np.diff(joined)).max() > jump:
        return False
    seen = np.flatnonzero(away > max(0.1 * float(away.max()), 0.5 * scene.roughness))
    scene.values[start:stop] += changed - piece
    scene.kinds[start + seen[0] : start + seen[-1] + 1] = MACHINE_KINDS.index(CORRELATION_BREAK)
    return True


def _report(rng: np.random.Generator, scene: Scene) -> tuple[FloatArray, FloatArray]:
    """What the sensor reports of values and clean twin, [L] each: most as they are, some rounded."""
    if rng.random() > 0.15:
        return scene.values, scene.clean
    step = rng.uniform(0.02, 0.2) * scene.spread
    return np.round(scene.values / step) * step, np.round(scene.clean / step) * step


def _lose(rng: np.random.Generator, values: FloatArray, kinds: npt.NDArray[np.int8]) -> None:
    """Take the readings of a few channels away for a stretch, in place, where nothing else happens. [L, C]."""
    length = len(values)
    for c in np.flatnonzero(rng.random(values.shape[1]) < 0.03):
        size = int(np.exp(rng.uniform(np.log(3), np.log(length // 8))))
        start = int(rng.integers(MARGIN, length - size - MARGIN))
        if not kinds[max(0, start - 2 * MARGIN) : start + size + 2 * MARGIN].any():
            values[start : start + size, c] = np.nan
            kinds[start : start + size, c] = KINDS.index(MISSING)
