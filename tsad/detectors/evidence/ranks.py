"""How rare a value is in its own series, and scalings that make scores of different series alike."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
PART = 1 << 16  # points worked on at once in double precision
MARK = 256  # terms between two running sums that are kept
ENTRIES = 192  # of the table between value and rarity, at each end


Table = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # values in ascending order, and the figure at each of them


def rarity(values: Floats) -> Floats:
    """``-log10`` of the share of values at least as high, halved: 0 for the lowest, 1 for one in a hundred. [T] -> [T].

    Equal values get the same figure. Between 192 exact entries, dense at the rare end, it is interpolated.
    """
    return looked_up(values, *rarity_table(values))


def rarity_table(values: Floats) -> Table:
    """What :func:`rarity` looks its figures up in."""
    ordered = np.sort(values)
    heights, counts = _upper(ordered)
    return heights, -np.log10(counts / len(ordered)) / 2


def signed_rarity(values: Floats) -> Floats:
    """Rarity of high values as positive, of low ones as negative figures, less that of the median. [T] -> [T]."""
    return looked_up(values, *signed_rarity_table(values))


def signed_rarity_table(values: Floats) -> Table:
    """What :func:`signed_rarity` looks its figures up in; empty where no value is rarer than the median."""
    ordered = np.sort(values)
    high, high_counts = _upper(ordered)
    low, low_counts = _upper(-ordered[::-1])
    floor = np.log10(2.0) / 2  # half of the values lie on either side of the median
    up = np.maximum(-np.log10(high_counts / len(ordered)) / 2 - floor, 0)
    down = np.maximum(-np.log10(low_counts / len(ordered)) / 2 - floor, 0)
    heights = np.concatenate((-low[::-1][down[::-1] > 0], high[up > 0]))
    figures = np.concatenate((-down[::-1][down[::-1] > 0], up[up > 0]))
    order = np.argsort(heights, kind="stable")
    return heights[order], figures[order]


def looked_up(values: Floats, at: npt.NDArray[Any], figures: npt.NDArray[Any]) -> Floats:
    """The figures of values, interpolated between the entries of a table; 0 of an empty one. [T] -> [T]."""
    return between(values, at, figures) if len(at) else np.zeros(len(values), np.float32)


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


def positive(scores: Floats, scale: tuple[float, ...] | None = None) -> Floats:
    """A score from 0 on, on the scale of its own median and 90% quantile: asinh((s - q50) / (q90 - q50)) / 1.5.

    scale: these two of another series.
    """
    middle, high = scale or quantiles(scores, (0.5, 0.9))
    return np.arcsinh((scores - middle) / (high - middle + 0.05 * abs(middle) + 1e-9)) / np.float32(1.5)


def signed(residual: Floats, floor: float, usual: float | None = None) -> Floats:
    """A residual around 0 in units of its own median deviation: asinh(r / (1.4826 MAD + floor)) / 2.

    usual: the median deviation of another series.
    """
    spread = 1.4826 * (quantiles(np.abs(residual), (0.5,))[0] if usual is None else usual) + floor + 1e-9
    return np.arcsinh(residual / np.float32(spread)) / np.float32(2)


def quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of at most some 65,536 evenly spread values: enough for a scale."""
    return [float(q) for q in np.quantile(values[:: max(1, len(values) // 65536)], shares)]


def mean_of(values: Floats, rate: int) -> Floats:
    """Every ``rate`` points as one, a shorter rest too. [T] -> [ceil(T / rate)]."""
    if rate == 1:
        return values
    whole = len(values) // rate * rate
    means = values[:whole].reshape(-1, rate).mean(axis=1)
    return np.append(means, values[whole:].mean()) if whole < len(values) else means


def mean_over(
    starts: npt.NDArray[np.int64], figures: Floats, width: int, total: int, first: int = 0,
    sums: tuple[int, npt.NDArray[np.float64]] | None = None,
) -> Floats:  # fmt: skip
    """At each point the mean figure of the stretches ``[start, start + width)`` over it; beyond the last, its figure.

    starts [N] ascending at one distance of each other, figures [N] -> [total - first].

    Args:
        first: the first point that is wanted.
        sums: how many stretches come before those at hand, and the sums of so many figures and more; ``None`` = none.
    """
    out = np.zeros(total - first, np.float32)
    if len(starts) == 0:
        return out
    stride = int(starts[1] - starts[0]) if len(starts) > 1 else width
    before, running = sums or (0, np.concatenate((np.zeros(1), np.cumsum(figures, dtype=np.float64))))
    count = before + len(starts)
    for begin in range(first, total, PART):
        at = np.arange(begin, min(begin + PART, total))
        last = np.minimum(at // stride, count - 1) + 1
        low = np.minimum(np.maximum(-(-(at - width + 1) // stride), 0), count - 1)
        out[at - first] = (running[last - before] - running[low - before]) / np.maximum(last - low, 1)
    return out
