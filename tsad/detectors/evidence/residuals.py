"""What a smooth curve or the season leaves unexplained."""

from __future__ import annotations

import numpy as np

from tsad.detectors.evidence.course import Tail
from tsad.detectors.evidence.ranks import MARK, Floats

DEGREE = 4
REACH = 5  # blocks on either side that the curve is fitted to
SEASONS = 4  # periods on either side
CHUNK = 1 << 15


def polynomial_residual(values: Floats, width: int) -> Floats:
    """Values minus a polynomial fitted to the 5 blocks on either side of each block of ``width`` points. [T] -> [T].

    Degree 4, least squares; the block itself is left out, so an anomaly cannot bend its own curve. Of wide blocks
    every some points count: 80 carry the fit.
    """
    return polynomial_tail(Tail(values), fitting_width(len(values), width), fixed=False).values


def fitting_width(total: int, width: int) -> int:
    """Points of a block in a series of ``total``: fewer where it is short."""
    return int(np.clip(width, 4, max(4, total // (2 * REACH + 1))))


def polynomial_tail(tail: Tail, width: int, *, fixed: bool) -> Tail:
    """:func:`polynomial_residual` of the blocks that what has changed reaches, and of the rest of their chunk.

    fixed: every product has as many rows, whatever the length of the series.
    """
    total, side = tail.total, REACH * width
    blocks, beyond = -(-total // width), -total % width
    changed = max(0, tail.changed // width - REACH)
    # a moving mean over a block goes back so far
    first = max(0, changed - 2 - MARK // width) if tail.begin else 0
    padding = (side, side + beyond) if first < REACH else (0, side + beyond)
    mode = "reflect" if total > side + beyond else "edge"
    inner = tail.since(max(0, first * width - side) if first >= REACH else 0)
    begin = first - REACH if first >= REACH else -REACH  # block that the padded values begin with
    padded = np.pad(inner, padding, mode=mode)  # type: ignore[call-overload]
    at = np.arange(-side, side + width) / (side + width / 2)
    basis = np.polynomial.legendre.legvander(at, DEGREE)
    around = np.concatenate((np.arange(side), np.arange(side + width, 2 * side + width)))[:: max(1, width // 8)]
    solve = (np.linalg.pinv(basis[around]).T @ basis[side : side + width].T).astype(np.float32)  # values -> fit
    first = begin + REACH
    out = np.empty((blocks - first) * width, np.float32)
    rows = max(1, CHUNK // width)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + width)[::width]
    for start in range(first // rows * rows, blocks, rows):
        low, stop = max(first, start), min(start + rows, blocks)
        taken = windows[low - first : stop - first][:, around]
        if fixed and len(taken) < rows:
            full = np.zeros((rows, len(around)), np.float32)
            full[low - start : stop - start] = taken
            fit = (full @ solve)[low - start : stop - start]
        else:
            fit = taken @ solve
        out[(low - first) * width : (stop - first) * width] = fit.ravel()
    begins = first * width
    return Tail(tail.since(begins) - out[: total - begins], begins, changed * width)


def seasonal_residual(values: Floats, period: float) -> tuple[Floats, Floats]:
    """Values minus the median of the 8 nearest points of the same phase, and their median deviation. [T] -> [T], [T].

    Four periods on either side; at an edge the other side supplies more. Zeros where the series has fewer than
    two periods.
    """
    residual, spread = seasonal_tails(Tail(values), period)
    return residual.values, spread.values


def seasonal_tails(tail: Tail, period: float) -> tuple[Tail, Tail]:
    """:func:`seasonal_residual` of the points that what has changed reaches, and as many before as can be had."""
    total = tail.total
    steps = np.rint(np.arange(1, 2 * SEASONS + 1) * period).astype(np.int64)
    reach, most = int(steps[SEASONS - 1]), int(steps[-1])
    changed = tail.changed - reach if tail.changed > reach + most else 0
    before = int(period / 16) + MARK  # what a moving mean of the spread goes back to
    first = max(tail.begin + most, changed - before) if changed and tail.begin else 0
    values = tail.since(max(0, first - most))
    begin = total - len(values)
    residual, spread = np.zeros(total - first, np.float32), np.zeros(total - first, np.float32)
    if steps[1] < total:
        offsets = np.concatenate((-steps[:SEASONS], steps[:SEASONS]))
        for start in range(max(first, reach), total - reach, CHUNK):
            stop = min(start + CHUNK, total - reach)
            rows = np.stack([values[start - begin + o : stop - begin + o] for o in offsets])
            part = slice(start - first, stop - first)
            residual[part], spread[part] = _centred(values[start - begin : stop - begin], rows)
        edges = np.arange(total) if total <= 2 * reach else np.r_[0:reach, total - reach : total]
        edges = edges[edges >= first]
        residual[edges - first], spread[edges - first] = _at_edges(values, edges - begin, steps)
    return Tail(residual, first, changed), Tail(spread, first, changed)


def _at_edges(values: Floats, where: np.ndarray, steps: np.ndarray) -> tuple[Floats, Floats]:
    """The same for points with fewer periods on one side: nearest first, whatever side they lie on. [N] each."""
    order = np.stack((-steps, steps), 1).ravel()  # nearest first
    residual, spread = np.zeros((2, len(where)), np.float32)
    for start in range(0, len(where), CHUNK):
        at, part = where[start : start + CHUNK], slice(start, start + CHUNK)
        places = at[None, :] + order[:, None]
        inside = (places >= 0) & (places < len(values))
        inside &= np.cumsum(inside, axis=0) <= 2 * SEASONS
        rows = np.where(inside, values[np.clip(places, 0, len(values) - 1)], np.nan)
        with np.errstate(all="ignore"):
            count = inside.sum(axis=0)
            rows = np.sort(rows, axis=0)  # NaN last
            middle = _median_of(rows, count)
            away = np.sort(np.abs(rows - middle), axis=0)
            residual[part] = np.where(count > 0, values[at] - middle, 0)
            spread[part] = np.where(count > 0, _median_of(away, count), 0)
    return residual, spread


def _median_of(ordered: np.ndarray, count: np.ndarray) -> np.ndarray:
    columns = np.arange(ordered.shape[1])
    last = len(ordered) - 1
    high, low = np.minimum(count // 2, last), np.maximum((count - 1) // 2, 0)
    return 0.5 * (ordered[high, columns] + ordered[low, columns])


def _centred(values: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Distance from the rows' median, and the median of the rows' distances to it. rows [8, N], changed in place."""
    middle = _median_of_eight(rows)
    np.abs(rows - middle, out=rows)
    return values - middle, _median_of_eight(rows)


# Batcher's odd-even merge network for 8 (Knuth, TAOCP 3, 5.3.4), without what the two middle ones do not need.
_NETWORK = ((0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6), (0, 4), (3, 7), (1, 5),
            (2, 6), (1, 4), (3, 6), (2, 4), (3, 5), (3, 4))  # fmt: skip


def _median_of_eight(rows: Floats) -> Floats:
    ordered = list(rows.copy())
    for a, b in _NETWORK:
        ordered[a], ordered[b] = np.minimum(ordered[a], ordered[b]), np.maximum(ordered[a], ordered[b])
    return np.float32(0.5) * (ordered[3] + ordered[4])
