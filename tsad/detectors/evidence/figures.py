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


def figures_of(values: Floats, length: int, starts: np.ndarray, before: int = 0) -> Floats:
    """The figures of the sub-sequences of ``length`` points that begin at ``starts``. [T], [N] -> [N, 27] float32.

    What a sub-sequence gives does not depend, to the last bit, on those that come after it; nor on those that came
    before it, where ``before`` says how many there are.
    """
    table = np.empty((len(starts), len(FIGURES)), np.float32)
    for kernel in (_ordered, _moments, _course):
        compiled(kernel)(values, np.int64(length), starts, table)
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    for first in range(-(before % ROWS), len(starts), ROWS):
        part = slice(max(0, first), first + ROWS)
        table[part, SPECTRAL[0]], table[part, SPECTRAL[1]] = _spectrum(windows[starts[part]], max(0, -first))
    return table


def _spectrum(rows: Floats, lead: int) -> tuple[Floats, Floats]:
    """Entropy of the power spectrum, 0..1, and the share of its strongest frequency. [N, L] -> [N], [N].

    lead: where in a full block the rows begin.
    """
    count = len(rows)
    if count < ROWS:  # always as many rows: the last bits of a product may depend on their number
        full = np.zeros((ROWS, rows.shape[1]), np.float32)
        full[lead : lead + count] = rows
        rows = full
    waves = (rows @ _fourier(rows.shape[1]))[lead : lead + count]
    half = waves.shape[1] // 2
    power = waves[:, :half] ** 2 + waves[:, half:] ** 2
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


# Each of these goes through all sub-sequences and fills some columns of the table.


def _ordered(values: Any, length: Any, starts: Any, table: Any) -> None:  # compiled
    """Extremes, quartiles and the median deviation."""
    ordered, last = np.empty(length, np.float32), length - 1
    for row in range(len(starts)):
        ordered[:] = values[starts[row] : starts[row] + length]
        if length <= 32:  # by insertion
            for i in range(1, length):
                v, j = ordered[i], i - 1
                while j >= 0 and ordered[j] > v:
                    ordered[j + 1] = ordered[j]
                    j -= 1
                ordered[j + 1] = v
        else:
            ordered.sort()
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
        out = table[row]
        out[2], out[3], out[4] = ordered[0], ordered[last], ordered[last] - ordered[0]
        out[5], out[6], out[7], out[8] = lower, upper, upper - lower, mad + np.float32(1e-9)
        out[9] = middle  # until the moments are made


def _moments(values: Any, length: Any, starts: Any, table: Any) -> None:  # compiled
    """Level, spread, skewness and kurtosis, slope; needs the median and its deviation."""
    centre, weight = np.float32((length - 1) / 2.0), np.float32(0.0)
    for k in range(length):
        weight += ((k - centre) / centre) ** 2
    for row in range(len(starts)):
        x, out = values[starts[row] : starts[row] + length], table[row]
        mad, middle = out[8], out[9]
        mean, square, energy = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(length):
            mean += x[k]
        mean /= length
        for k in range(length):
            energy += (x[k] - mean) ** 2
            square += x[k] * x[k]
        spread = np.sqrt(energy / length) + np.float32(1e-9)
        r3, r4, p3, p4, slope = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(length):
            away = x[k] - mean
            z = min(max((x[k] - middle) / mad, np.float32(-100)), np.float32(100))
            r3 += z * z * z
            r4 += z * z * z * z
            z = away / spread
            p3 += z * z * z
            p4 += z * z * z * z
            slope += away * ((np.float32(k) - centre) / centre)
        out[0], out[1], out[19] = mean, spread, np.sqrt(square / length)
        out[9], out[10] = r3 / length, r4 / length - np.float32(3)
        out[11], out[12], out[25] = p3 / length, p4 / length - np.float32(3), slope / weight


def _course(values: Any, length: Any, starts: Any, table: Any) -> None:  # compiled
    """Steps, crossings, echoes and drift; needs level and spread."""
    for row in range(len(starts)):
        x, out = values[starts[row] : starts[row] + length], table[row]
        mean, drift, farthest, crossings, middles = out[0], np.float32(0.0), np.float32(0.0), 0, 0
        e1, e2, e5 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        steps, square, largest = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(length):
            away = x[k] - mean
            drift += away
            farthest = max(farthest, abs(drift))
            if k >= 1:
                before, step = x[k - 1] - mean, x[k] - x[k - 1]
                e1 += away * before
                steps += step
                square += step * step
                largest = max(largest, abs(step))
                crossings += (x[k] > 0) != (x[k - 1] > 0)
                middles += (away > 0) != (before > 0)
            if k >= 2:
                e2 += away * (x[k - 2] - mean)
            if k >= 5:
                e5 += away * (x[k - 5] - mean)
        energy, count = out[1] * out[1] * length + np.float32(1e-9), length - 1
        steps /= count
        out[13], out[14] = x[count] - x[0], steps
        out[15] = np.sqrt(max(square / count - steps * steps, np.float32(0)))
        out[16], out[17], out[18] = largest, crossings / count, middles / count
        out[20], out[21], out[22] = e1 / energy, e2 / energy, e5 / energy
        out[26] = farthest / (length * out[1])
