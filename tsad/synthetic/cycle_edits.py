"""Edits of cycles: the right height and the wrong course (see :mod:`tsad.synthetic.anomalies`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsad.core.types import FloatArray
from tsad.synthetic.scene import Scene, sign


def frequency_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    size = stop - start
    pace = rng.uniform(0.35, 0.7) if rng.random() < 0.5 else rng.uniform(1.5, 2.6)
    where = start + np.arange(size) * pace
    last = len(scene.signal) - 1
    where = last - np.abs(last - where % (2 * last))  # reflected at the end of the series
    return np.interp(where, np.arange(last + 1), scene.signal) + scene.noise[start:stop]


def phase_shift(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """What belongs to another time of the cycle."""
    shift = max(1, int(scene.period * rng.uniform(0.2, 0.8)))
    if stop + shift > len(scene.signal):
        shift = -min(shift, start)
    return scene.signal[start + shift : stop + shift] + scene.noise[start:stop]


def amplitude_change(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    reach = int(max(16, scene.period))
    middle = scene.signal[max(0, start - reach) : stop + reach].mean()
    factor = rng.uniform(0.0, 0.5) if rng.random() < 0.5 else rng.uniform(1.6, 3.0)
    return middle + (scene.signal[start:stop] - middle) * factor + scene.noise[start:stop]


def missing_cycle(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    line = np.linspace(scene.signal[start], scene.signal[stop - 1], stop - start)
    return line + scene.noise[start:stop]


def time_warp(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """The right course at the wrong pace: the middle comes early or late, or the whole is stretched and cut off."""
    size = stop - start
    part = np.linspace(0, 1, size)
    if rng.random() < 0.35:
        warped = part * rng.uniform(0.5, 0.85)
    else:
        warped = part ** (rng.uniform(0.3, 0.7) if rng.random() < 0.5 else rng.uniform(1.4, 2.6))
    return np.interp(warped * (size - 1), np.arange(size), scene.signal[start:stop]) + scene.noise[start:stop]


def shape_edit(rng: np.random.Generator, scene: Scene, start: int, stop: int) -> FloatArray:
    """A cycle of another form, by one of :data:`FORMS`."""
    piece = scene.signal[start:stop]
    return FORMS[int(rng.integers(len(FORMS)))](rng, scene, piece) + scene.noise[start:stop]


def _line(piece: FloatArray) -> FloatArray:
    return np.linspace(piece[0], piece[-1], len(piece))


def _turned(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    return (piece - _line(piece))[::-1] + _line(piece)


def _inverted(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    return 2 * (_line(piece) if rng.random() < 0.5 else np.median(piece)) - piece


def _smoothed(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    width = max(3, int(len(piece) * rng.uniform(0.1, 0.4))) | 1
    total = np.cumsum(np.concatenate(([0.0], np.pad(piece, width // 2, mode="edge"))))
    return (total[width:] - total[:-width]) / width


def _clipped(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    lowest, highest = piece.min(), piece.max()
    return np.minimum(piece, lowest + (highest - lowest) * rng.uniform(0.3, 0.75))


def _halves_swapped(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    half = np.roll(piece, -(len(piece) // 2))
    return half - _line(half) + _line(piece)


def _lobe(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    away = (np.linspace(0, 1, len(piece)) - rng.uniform(0.2, 0.8)) / rng.uniform(0.03, 0.2)
    return piece + sign(rng) * rng.uniform(0.4, 1.6) * scene.spread * np.exp(-0.5 * away**2)


def _peak(piece: FloatArray, rng: np.random.Generator) -> tuple[int, int]:
    """Feet of the highest peak above, or the lowest below, the line through the ends; half-open."""
    height = (piece - _line(piece)) * (1 if rng.random() < 0.7 else -1)
    top = int(np.argmax(height))
    below = np.flatnonzero(height < 0.15 * height[top])
    cut = int(np.searchsorted(below, top))
    return (int(below[cut - 1]) if cut else 0), (int(below[cut]) + 1 if cut < len(below) else len(piece))


def _peak_missing(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    first, last = _peak(piece, rng)
    changed = piece.copy()
    changed[first:last] = _line(piece[first:last])
    return changed


def _peak_more(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    """The cycle's highest peak once more at another time of it, as high or less."""
    first, last = _peak(piece, rng)
    peak = (piece[first:last] - _line(piece[first:last])) * rng.uniform(0.5, 1.1)
    start = int(rng.integers(0, len(piece) - len(peak) + 1))
    changed = piece.copy()
    changed[start : start + len(peak)] += peak
    return changed


def _bent(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    """Lifted or lowered in the middle, or its heights pressed together or pulled apart."""
    if rng.random() < 0.5:
        part = np.linspace(0, 1, len(piece))
        return piece + sign(rng) * rng.uniform(0.5, 1.6) * scene.spread * 4 * part * (1 - part)
    away = piece - _line(piece)
    highest = np.abs(away).max() + 1e-9
    power = rng.uniform(0.3, 0.6) if rng.random() < 0.5 else rng.uniform(1.8, 3.0)
    return _line(piece) + np.sign(away) * highest * (np.abs(away) / highest) ** power


def _cut(rng: np.random.Generator, scene: Scene, piece: FloatArray) -> FloatArray:
    """Broken off: from somewhere in the middle on it goes straight to its end."""
    size = len(piece)
    last = int(size * rng.uniform(0.25, 0.7))
    return np.concatenate((piece[:last], np.linspace(piece[last], piece[-1], size - last)))


FORMS: tuple[Callable[[np.random.Generator, Scene, FloatArray], FloatArray], ...] = (
    _turned, _inverted, _smoothed, _clipped, _halves_swapped, _lobe, _peak_missing, _peak_more, _bent, _cut,
)
