"""How rare a value is in its own series, and scalings that make scores of different series alike."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
PART = 1 << 16  # points worked on at once in double precision
ENTRIES = 192  # of the table between value and rarity, at each end


def rarity(values: Floats) -> Floats:
    """``-log10`` of the share of values at least as high, halved: 0 for the lowest, 1 for one in a hundred. [T] -> [T].

    Equal values get the same figure. Between 192 exact entries, dense at the rare end, it is interpolated.
    """
    ordered = np.sort(values)
    heights, counts = _upper(ordered)
    return between(values, heights, -np.log10(counts / len(ordered)) / 2)


def signed_rarity(values: Floats) -> Floats:
    """Rarity of high values as positive, of low ones as negative figures, less that of the median. [T] -> [T]."""
    ordered = np.sort(values)
    high, high_counts = _upper(ordered)
    low, low_counts = _upper(-ordered[::-1])
    floor = np.log10(2.0) / 2  # half of the values lie on either side of the median
    up = np.maximum(-np.log10(high_counts / len(ordered)) / 2 - floor, 0)
    down = np.maximum(-np.log10(low_counts / len(ordered)) / 2 - floor, 0)
    heights = np.concatenate((-low[::-1][down[::-1] > 0], high[up > 0]))
    figures = np.concatenate((-down[::-1][down[::-1] > 0], up[up > 0]))
    if len(heights) == 0:
        return np.zeros(len(values), np.float32)
    order = np.argsort(heights, kind="stable")
    return between(values, heights[order], figures[order])


def between(values: npt.NDArray[Any], at: npt.NDArray[Any], figures: npt.NDArray[Any]) -> Floats:
    """``np.interp`` as float32, some values at a time: it works in doubles. [T] -> [T]."""
    out = np.empty(len(values), np.float32)
    for start in range(0, len(values), PART):
        out[start : start + PART] = np.interp(values[start : start + PART], at, figures)
    return out


def _upper(ordered: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ascending distinct values with the number of values at least as high, exact at each entry."""
    total = len(ordered)
    heights = np.unique(ordered[total - _places(total)])
    counts = total - np.searchsorted(ordered, heights, side="left")
    return heights.astype(np.float64), counts.astype(np.float64)


@functools.lru_cache(64)
def _places(total: int) -> npt.NDArray[np.int64]:
    return np.unique(np.geomspace(1, total, ENTRIES).astype(np.int64))


def positive(scores: Floats) -> Floats:
    """A score from 0 on, on the scale of its own median and 90% quantile: asinh((s - q50) / (q90 - q50)) / 1.5."""
    middle, high = quantiles(scores, (0.5, 0.9))
    return np.arcsinh((scores - middle) / (high - middle + 0.05 * abs(middle) + 1e-9)) / np.float32(1.5)


def signed(residual: Floats, floor: float) -> Floats:
    """A residual around 0 in units of its own median deviation: asinh(r / (1.4826 MAD + floor)) / 2."""
    spread = 1.4826 * quantiles(np.abs(residual), (0.5,))[0] + floor + 1e-9
    return np.arcsinh(residual / np.float32(spread)) / np.float32(2)


def quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of at most some 65,536 evenly spread values: enough for a scale."""
    return [float(q) for q in np.quantile(values[:: max(1, len(values) // 65536)], shares)]


def box(values: Floats, width: float) -> Floats:
    """Centred moving mean over an odd number of points about ``width``; the edges are held. [T] -> [T]."""
    size = int(max(1, width)) | 1
    if size == 1:
        return values
    padded = np.pad(values, (size // 2 + 1, size // 2), mode="edge")
    padded[0] = 0
    total = np.cumsum(padded, dtype=np.float64)
    out = np.empty(len(values), np.float32)
    for start in range(0, len(values), PART):  # a series may have millions of points: no second array of doubles
        stop = min(start + PART, len(values))
        out[start:stop] = (total[start + size : stop + size] - total[start:stop]) / size
    return out


def mean_of(values: Floats, rate: int) -> Floats:
    """Every ``rate`` points as one, a shorter rest too. [T] -> [ceil(T / rate)]."""
    if rate == 1:
        return values
    whole = len(values) // rate * rate
    means = values[:whole].reshape(-1, rate).mean(axis=1)
    return np.append(means, values[whole:].mean()) if whole < len(values) else means


def mean_over(starts: npt.NDArray[np.int64], figures: Floats, width: int, total: int) -> Floats:
    """At each point the mean figure of the stretches ``[start, start + width)`` over it; beyond the last, its figure.

    starts [N] ascending at one distance of each other, figures [N] -> [total].
    """
    out = np.zeros(total, np.float32)
    if len(starts) == 0:
        return out
    stride = int(starts[1] - starts[0]) if len(starts) > 1 else width
    running = np.concatenate((np.zeros(1), np.cumsum(figures, dtype=np.float64)))
    for first in range(0, total, PART):
        at = np.arange(first, min(first + PART, total))
        last = np.minimum(at // stride, len(starts) - 1) + 1
        begin = np.minimum(np.maximum(-(-(at - width + 1) // stride), 0), len(starts) - 1)
        out[at] = (running[last] - running[begin]) / np.maximum(last - begin, 1)
    return out
