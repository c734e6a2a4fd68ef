"""Plain figures of every sub-sequence of a series: level, spread, extremes, quartiles, shape, steps, echo, spectrum."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tsad.detectors.evidence.compiled import compiled
from tsad.detectors.evidence.ranks import Floats

FIGURES = (
    "mean", "deviation", "minimum", "maximum", "range", "lower_quartile", "upper_quartile", "quartile_range", "mad",
    "robust_skewness", "robust_kurtosis", "skewness", "kurtosis", "rise", "step_mean", "step_deviation",
    "largest_step", "zero_crossings", "mean_crossings", "root_mean_square", "echo_1", "echo_2", "echo_5",
    "spectral_entropy", "spectral_peak", "slope", "drift",
)  # fmt: skip
SPECTRAL = (FIGURES.index("spectral_entropy"), FIGURES.index("spectral_peak"))
ROWS = 512  # sub-sequences worked on at once


def figures_of(values: Floats, length: int, starts: np.ndarray) -> Floats:
    """The figures of the sub-sequences of ``length`` points that begin at ``starts``. [T], [N] -> [N, 27] float32.

    What a sub-sequence gives does not depend, to the last bit, on those that come after it.
    """
    table = np.empty((len(starts), len(FIGURES)), np.float32)
    compiled(_plain)(values, np.int64(length), starts, table)
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    for first in range(0, len(starts), ROWS):
        part = slice(first, first + ROWS)
        table[part, SPECTRAL[0]], table[part, SPECTRAL[1]] = _spectrum(windows[starts[part]], table[part, 0])
    return table


def _spectrum(rows: Floats, means: Floats) -> tuple[Floats, Floats]:
    """Entropy of the power spectrum, 0..1, and the share of its strongest frequency. [N, L], [N] -> [N], [N]."""
    count = len(rows)
    if count < ROWS:  # always as many rows: the last bits of a product may depend on their number
        rows = np.concatenate((rows, np.zeros((ROWS - count, rows.shape[1]), np.float32)))
    waves = rows @ _fourier(rows.shape[1])
    half = waves.shape[1] // 2
    power = waves[:count, :half] ** 2 + waves[:count, half:] ** 2
    entropy, peak = np.empty(count, np.float32), np.empty(count, np.float32)
    compiled(_shares)(power, entropy, peak)
    return entropy, peak


@functools.lru_cache(16)
def _fourier(length: int) -> Floats:
    """Cosines and sines of the frequencies 1..L/2: what a constant adds is gone. [L, 2 * (L // 2)]."""
    angle = 2 * np.pi / length * np.outer(np.arange(length), np.arange(1, length // 2 + 1))
    return np.concatenate((np.cos(angle), np.sin(angle)), axis=1).astype(np.float32)


def _shares(power: Any, entropy: Any, peak: Any) -> None:  # compiled
    count = power.shape[1]
    unit = 1.0 / np.log(count + 1.0)
    for row in range(power.shape[0]):
        total, highest = np.float32(1e-9), np.float32(0.0)
        for k in range(count):
            total += power[row, k]
            highest = max(highest, power[row, k])
        bits = np.float32(0.0)
        for k in range(count):
            share = power[row, k] / total
            bits -= share * np.log(share + np.float32(1e-12))
        entropy[row] = bits * unit
        peak[row] = highest / total


def _plain(values: Any, length: Any, starts: Any, table: Any) -> None:  # compiled
    ordered = np.empty(length, np.float32)
    weight, centre = 0.0, (length - 1) / 2.0
    for k in range(length):
        weight += ((k - centre) / centre) ** 2
    for row in range(len(starts)):
        x = values[starts[row] : starts[row] + length]
        ordered[:] = x
        if length <= 32:
            for i in range(1, length):
                v = ordered[i]
                j = i - 1
                while j >= 0 and ordered[j] > v:
                    ordered[j + 1] = ordered[j]
                    j -= 1
                ordered[j + 1] = v
        else:
            ordered.sort()
        low, high = ordered[0], ordered[length - 1]
        last = length - 1
        lower, upper = ordered[last // 4], ordered[last - last // 4]  # a turned series turns its figures
        left, right = last // 2, length // 2
        middle = (ordered[left] + ordered[right]) * np.float32(0.5)
        # the median of the distances to the median: the nearest half, taken from the middle outwards
        mad = middle - ordered[left]
        for _ in range(length // 2 - (right - left)):
            if right + 1 > last or (left > 0 and middle - ordered[left - 1] <= ordered[right + 1] - middle):
                left -= 1
                mad = middle - ordered[left]
            else:
                right += 1
                mad = ordered[right] - middle
        mad += np.float32(1e-9)
        mean = np.float32(0.0)
        square = np.float32(0.0)
        for k in range(length):
            mean += x[k]
        mean /= length
        energy = np.float32(0.0)
        for k in range(length):
            energy += (x[k] - mean) ** 2
            square += x[k] * x[k]
        spread = np.sqrt(energy / length) + np.float32(1e-9)
        r3, r4, p3, p4, slope = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(length):
            away = x[k] - mean
            z = min(max((x[k] - middle) / mad, np.float32(-100)), np.float32(100))
            z3 = z * z * z
            r3 += z3
            r4 += z3 * z
            z = away / spread
            z3 = z * z * z
            p3 += z3
            p4 += z3 * z
            slope += away * np.float32((k - centre) / centre)
        drift, farthest = np.float32(0.0), np.float32(0.0)
        crossings, middles = 0, 0
        e1, e2, e5 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        steps, step_square, largest = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(length):
            away = x[k] - mean
            drift += away
            farthest = max(farthest, abs(drift))
            if k >= 1:
                before = x[k - 1] - mean
                e1 += away * before
                step = x[k] - x[k - 1]
                steps += step
                step_square += step * step
                largest = max(largest, abs(step))
                crossings += (x[k] > 0) != (x[k - 1] > 0)
                middles += (away > 0) != (before > 0)
            if k >= 2:
                e2 += away * (x[k - 2] - mean)
            if k >= 5:
                e5 += away * (x[k - 5] - mean)
        energy += np.float32(1e-9)
        count = length - 1
        steps /= count
        out = table[row]
        out[0], out[1], out[2], out[3], out[4] = mean, spread, low, high, high - low
        out[5], out[6], out[7], out[8] = lower, upper, upper - lower, mad
        out[9], out[10] = r3 / length, r4 / length - np.float32(3)
        out[11], out[12] = p3 / length, p4 / length - np.float32(3)
        out[13], out[14] = x[last] - x[0], steps
        out[15] = np.sqrt(max(step_square / count - steps * steps, np.float32(0)))
        out[16], out[17], out[18] = largest, crossings / count, middles / count
        out[19], out[20], out[21], out[22] = np.sqrt(square / length), e1 / energy, e2 / energy, e5 / energy
        out[25] = slope / np.float32(weight)
        out[26] = farthest / (length * spread)
