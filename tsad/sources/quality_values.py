"""What the values of one channel say about its data quality: stuck stretches, placeholders, changes of unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import FloatArray, IntArray

MIN_RUNS = 20  # a channel that changes less often says nothing about how long it usually rests
RESTING = 3  # a level that the channel rests at so often is one of its states, not a fault
CODES = np.array([999, 9999, 99999, 999999, 9999999, 32767, 32768, 65535, 2147483647, 2147483648, 4294967295], float)
FAR_CODE = 3.0  # a code lies this many ranges of the other values beyond them
MIDDLE, QUARTILES = (0.5,), (0.25, 0.5, 0.75)
MIN_POINTS = 200  # for a change of unit
BLOCKS = 400
LEVEL = 3  # blocks on either side of a candidate
NEAR = 0.25  # how near a candidate's levels come to a conversion, as share of the change
LOCAL = 30  # points on either side whose levels have to fit closely: cycles hardly move within them
LASTING = (20, 4)  # a change of factor lasts on both sides for 1/20 or 1/4 of the series
ROUGH = 3.0  # quartiles of so long stretches, with cycles and drift in them, may miss by this many tolerances
SPREAD = 1.25  # and how far neighbours usually lie apart, which cycles do not change, by this factor
TEMPERATURES = (-100.0, 1000.0)  # what may be degrees C, F or K; levels often differ by a little as those scales do


def stuck_runs(column: FloatArray, least: int, factor: float) -> IntArray:
    """Runs of one value that are far longer than this channel's own, as half-open positions [K, 2].

    Far longer: at least ``least`` points and ``factor`` times the length that 99 of 100 runs stay below. So on/off
    signals, setpoints and slow quantised values pass. A value the channel rests at again and again (a counter's zero at
    night) is a state of the plant. column [T], NaN ends a run.
    """
    starts = np.concatenate(([0], np.flatnonzero(column[1:] != column[:-1]) + 1))
    lengths = np.diff(np.append(starts, len(column)))
    known = ~np.isnan(column[starts])
    starts, lengths = starts[known], lengths[known]
    none = np.empty((0, 2), np.int64)
    if len(lengths) < MIN_RUNS:
        return none
    limit = max(least, factor * float(np.quantile(lengths, 0.99)))
    long = lengths >= limit
    if not long.any():
        return none
    values = column[starts]
    resting = np.sort(values[lengths >= max(2.0, limit / 3)])
    often = np.searchsorted(resting, values[long], side="right") - np.searchsorted(resting, values[long], side="left")
    picked = np.flatnonzero(long)[often < RESTING]
    return np.stack((starts[picked], starts[picked] + lengths[picked]), axis=1).astype(np.int64)


def placeholder(column: FloatArray) -> tuple[float, IntArray] | None:
    """A value such as -9999 that occurs repeatedly, far beyond all others, and its positions; ``None`` = none."""
    for code in (np.nanmin(column), np.nanmax(column)):
        if not (np.abs(code) == CODES).any():
            continue
        at = np.flatnonzero(column == code)
        rest = column[(column != code) & ~np.isnan(column)]
        if len(at) < 2 or not len(rest):
            continue
        low, high = float(rest.min()), float(rest.max())
        if max(low - code, code - high) > FAR_CODE * max(high - low, abs(low), abs(high)) / 2:
            return float(code), at.astype(np.int64)
    return None


def unit_jump(column: FloatArray, factors: Sequence[float], tolerance: float) -> tuple[int, str] | None:
    """Where level and spread change lastingly as between two units, and how; ``None`` = nowhere.

    The levels just before and after have to fit the conversion within ``tolerance`` of the change, the quartiles of
    long stretches roughly, and neighbours have to differ by as much more: a plant that merely goes to another level
    does not count. column [T] -> position of the first point in the other unit, and how, e.g. ``x 1000``.
    """
    known = np.flatnonzero(~np.isnan(column))
    if len(known) < MIN_POINTS:
        return None
    values = column[known]
    size = max(8, len(values) // BLOCKS)
    blocks = len(values) // size
    levels = np.median(values[: blocks * size].reshape(blocks, size), axis=1)
    sides = np.median(np.lib.stride_tricks.sliding_window_view(levels, LEVEL), axis=1)
    before, after = sides[:-LEVEL], sides[LEVEL:]  # [blocks - 2 x LEVEL + 1], boundary k + LEVEL
    for name, slope, shift in _conversions(factors):
        wanted = slope * before + shift
        change = np.abs(wanted - before)
        off = np.abs(after - wanted)
        hits = np.flatnonzero((off <= NEAR * change) & (change > 0))
        for k in hits[np.argsort(off[hits] / change[hits], kind="stable")[:3]]:
            boundary = int(k + LEVEL) * size
            nearby = np.arange(max(1, boundary - 2 * size), min(len(values), boundary + 2 * size))
            jump = int(nearby[np.argmax(np.abs(values[nearby] - values[nearby - 1]))])
            lasting = LASTING[-1:] if shift else LASTING
            if any(_fits(values, jump, len(values) // part, slope, shift, tolerance) for part in lasting):
                return int(known[jump]), name
    return None


def _conversions(factors: Sequence[float]) -> list[tuple[str, float, float]]:
    """(name, slope, shift): after = slope x before + shift."""
    found = [(f"x {f:g}", float(f), 0.0) for f in factors] + [(f"1/{f:g}", 1.0 / f, 0.0) for f in factors]
    found += [("C to F", 1.8, 32.0), ("F to C", 1 / 1.8, -32 / 1.8)]
    return [*found, ("C to K", 1.0, 273.15), ("K to C", 1.0, -273.15)]


def _fits(values: FloatArray, jump: int, reach: int, slope: float, shift: float, tolerance: float) -> bool:
    """Whether levels, quartiles and differences of ``reach`` points on either side follow the conversion."""
    reach = max(LOCAL, reach)
    left, right = values[max(0, jump - reach) : jump], values[jump : jump + reach]
    if min(len(left), len(right)) < reach:
        return False
    for points, at, room in ((LOCAL, MIDDLE, tolerance), (reach, QUARTILES, tolerance * ROUGH)):
        old, new = np.quantile(left[-points:], at), np.quantile(right[:points], at)
        wanted = slope * old + shift
        if not (np.abs(new - wanted) <= room * np.abs(wanted - old)).all():
            return False
        if shift and not TEMPERATURES[0] <= np.min((old, new)) <= np.max((old, new)) <= TEMPERATURES[1]:
            return False
    rough = float(np.median(np.abs(np.diff(left)))) * slope
    return rough > 0 and 1 / SPREAD <= float(np.median(np.abs(np.diff(right)))) / rough <= SPREAD
