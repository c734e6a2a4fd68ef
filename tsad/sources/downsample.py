"""Series made shorter without losing what people look for: spikes, labels, gaps, and the way back to original time.

| method | what is kept |
|---|---|
| m4 | first, last, lowest and highest point of each bin (Jugel et al., VLDB 2014), as they were measured |
| minmax | lowest and highest point of each bin, as they were measured |
| mean | one point per bin, at the bin's start: the mean, or the extreme that lies far from all others in the bin |

Whatever the method:

- ``every`` is the mean distance of kept points where the series is dense, ``count`` about how many are kept, also for
  several channels: each gets its share of the points, and a point chosen for one is kept for all. With ``every`` the
  points that stay are the same when the series has grown, but for the last bin; with ``count`` they move.
- No labelled or disputed interval vanishes: m4 and minmax keep a point inside it, mean widens it to whole bins.
- No bin is made where nothing was measured; bins that hold missing values only stay missing.
- A series that is short enough already is returned as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsad.core.durations import parse_duration
from tsad.core.intervals import intervals_to_runs, point_ends, runs_of
from tsad.core.options import DownsampleOptions
from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray, Interval

FAR = 6.0  # mean deviations: beyond it the extreme stands for its bin (4.8 standard deviations of a normal bin)
_PER_BIN = {"m4": 4, "minmax": 2}


@dataclass(frozen=True, eq=False)
class Downsampled:
    """A shorter series and what each of its points stands for.

    Attributes:
        series: the shorter series; the original where that was short enough.
        starts, ends: [K] int64 ns UTC, half-open: the measured stretch of original time behind each point; ``None``
            where nothing was shortened.
        positions: [K] which original points were kept; ``None`` for means and where nothing was shortened.
    """

    series: Series
    starts: IntArray | None = None
    ends: IntArray | None = None
    positions: IntArray | None = None

    def original(self, interval: Interval) -> Interval:
        """An interval on the shorter series (``start <= t < end``) as the stretch of original time behind its points.

        The rest stays; one that covers no point, or lies on a series that was not shortened, stays as it is.
        """
        runs = intervals_to_runs([interval], self.series.timestamps)
        if self.starts is None or self.ends is None or not len(runs):
            return interval
        first, stop = runs[0]
        return replace(interval, start=int(self.starts[first]), end=int(self.ends[stop - 1]))


def downsample(series: Series, options: DownsampleOptions) -> Downsampled:
    """The series made shorter as the options say; its notes name how, and how long it was.

    Raises:
        ConfigError: ``every`` is no duration.
    """
    every = None if options.every is None else parse_duration(options.every, "downsample.every")
    if options.method == "none" or len(series) < 3:
        return Downsampled(series)
    if len(series) <= options.count if options.count is not None else (every or 0) <= series.step:
        return Downsampled(series)
    if options.method == "mean":
        return _averaged(series, every, options.count)
    chosen = _chosen(series, options.method, every, options.count)
    if len(chosen) == len(series):
        return Downsampled(series)
    stamps = series.timestamps[chosen]
    before_next = np.append(chosen[1:], len(series)) - 1  # the last original point each kept one stands for
    ends = point_ends(series.timestamps, series.step)[before_next]
    short = _short(series, stamps, np.ascontiguousarray(series.values[chosen]), options.method)
    return Downsampled(short, stamps, ends, chosen)


def _short(series: Series, stamps: IntArray, values: FloatArray, method: str) -> Series:
    notes = {**series.notes, "downsampled_from": len(series), "downsampled_by": method}
    return replace(series, timestamps=stamps, values=values, notes=notes)


def _chosen(series: Series, method: str, every: int | None, count: int | None) -> IntArray:
    """Positions to keep, [K] sorted: those of the method for each channel, both ends, missing stretches, labels."""
    from tsdownsample import M4Downsampler, MinMaxDownsampler

    stamps, (total, channels) = series.timestamps, series.values.shape
    per_bin = _PER_BIN[method]
    share = per_bin + 2 * (channels - 1)  # what a bin keeps: channels have its first and last point in common
    edges: IntArray = np.empty(0, np.int64)
    if every is None:  # bins of as many points each
        bins = max(1, (count or 0) // share)
    else:  # the first and last edge as points without value: bins begin at multiples of their width, half a step before
        width, half = every * share, series.step // 2
        begin = (int(stamps[0]) + half) // width * width - half
        bins = (int(stamps[-1]) - begin) // width + 1
        edges = np.array([begin, begin + bins * width])
    sampler = M4Downsampler() if method == "m4" else MinMaxDownsampler()
    x = [np.concatenate((edges[:1], stamps, edges[1:]))] if every is not None and bins > 1 else []
    kept = np.zeros(total, bool)
    kept[[0, -1]] = True
    for channel in range(channels):
        column = np.ascontiguousarray(series.values[:, channel])
        y = np.concatenate(([np.nan], column, [np.nan])) if x else column
        # missing values are passed over; a bin with nothing else gives its first position
        chosen = sampler.downsample(*x, y, n_out=bins * per_bin).astype(np.int64) - len(x)
        kept[chosen[(chosen >= 0) & (chosen < total)]] = True
    usual = total / kept.sum() if every is None else every / series.step  # points from one kept point to the next
    for channel in range(channels):
        missing = runs_of(np.isnan(series.values[:, channel]))
        long = missing[missing[:, 1] - missing[:, 0] >= usual]
        kept[long[:, 0]] = kept[long[:, 1] - 1] = True
    pause = every if every is not None else (stamps[-1] - stamps[0]) / kept.sum()
    torn = np.flatnonzero(np.diff(stamps) > pause)
    kept[torn] = kept[torn + 1] = True  # so that no point stands for both sides of a gap
    before = np.concatenate(([0], np.cumsum(kept)))
    labelled = intervals_to_runs([*(series.labels or ()), *series.disputed], stamps)
    empty = before[labelled[:, 1]] == before[labelled[:, 0]]
    kept[labelled[empty, 0]] = True
    return np.flatnonzero(kept).astype(np.int64)


def _averaged(series: Series, every: int | None, count: int | None) -> Downsampled:
    """One point per bin that holds any; bins of ``every`` begin at its multiples since 1970."""
    stamps = series.timestamps
    span = int(stamps[-1] - stamps[0]) + series.step
    width = every or -(-span // (count or 1))
    origin = 0 if every else int(stamps[0])
    number = (stamps - origin) // width
    first = np.flatnonzero(np.concatenate(([True], np.diff(number) > 0)))
    if len(first) == len(series):
        return Downsampled(series)
    sizes = np.diff(np.append(first, len(series)))
    begins = number[first] * width + origin
    values = np.stack([_bin_values(column, first, sizes) for column in series.values.T], axis=1)
    short = _short(series, begins, np.ascontiguousarray(values), "mean")
    bins = stamps, number, width, origin
    short = replace(
        short,
        labels=None if series.labels is None else _widened(series.labels, *bins),
        disputed=_widened(series.disputed, *bins),
    )
    return Downsampled(short, stamps[first], point_ends(stamps, series.step)[first + sizes - 1])


def _bin_values(column: FloatArray, first: IntArray, sizes: IntArray) -> FloatArray:
    """Mean of each bin, or its extreme where that lies far from the others; NaN where all are missing.

    Far: more than ``FAR`` times the others' mean deviation from their own mean, and than ``FAR`` times what neighbours
    usually differ by, so that bins of a few points do not call every value extreme. column [T] -> [bins]
    """
    known = ~np.isnan(column)
    if not known.any():
        return np.full(len(first), np.nan)
    present = column[known]
    level = present[0]  # sums of differences from it keep the digits of small changes on a high level
    usual = float(np.median(np.abs(np.diff(present)))) if len(present) > 1 else 0.0
    shifted = np.where(known, column - level, 0.0)
    count = np.add.reduceat(known.astype(np.int64), first)
    filled = count > 0
    low = np.where(filled, np.minimum.reduceat(np.where(known, column, np.inf), first), level)
    high = np.where(filled, np.maximum.reduceat(np.where(known, column, -np.inf), first), level)
    total = np.add.reduceat(shifted, first)
    mean = np.clip(total / np.maximum(count, 1) + level, low, high)  # whatever rounding says
    reference = mean.copy()  # of a bin of two points, the one that differs more from the bins beside it
    inner = mean[filled]
    beside = (np.append(inner[1:], inner[-1:]) + np.append(inner[:1], inner[:-1])) / 2
    reference[filled] = np.where(count[filled] == 2, beside, inner)
    extreme = np.where(high - reference >= reference - low, high, low)
    peak = extreme - level
    others = (total - peak) / np.maximum(count - 1, 1)  # mean of the bin without its extreme
    apart = np.where(known, np.abs(shifted - np.repeat(others, sizes)), 0.0)
    far = np.abs(peak - others)
    spread = np.maximum(np.add.reduceat(apart, first) - far, 0.0) / np.maximum(count - 1, 1)
    taken = (count > 1) & (far > FAR * np.maximum(spread, usual))
    return np.where(filled, np.where(taken, extreme, mean), np.nan)


def _widened(
    intervals: Sequence[Interval], stamps: IntArray, number: IntArray, width: int, origin: int
) -> tuple[Interval, ...]:
    """Intervals as the whole bins that hold any of their points; those of one kind in the same bins become one."""
    found = set()
    for item in intervals:
        for first, stop in intervals_to_runs([item], stamps):  # none where it lies between two points
            begin, end = int(number[first]) * width + origin, int(number[stop - 1] + 1) * width + origin
            found.add(Interval(begin, end, item.label, item.score))
    return tuple(sorted(found))
