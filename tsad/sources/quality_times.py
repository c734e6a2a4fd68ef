"""What the timestamps of a series say about its data quality: gaps, jitter, clocks that were moved, the future."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tsad.core.durations import format_duration, parse_duration
from tsad.core.options import QualityOptions
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray, Interval
from tsad.sources.quality_findings import PLACES, Finding, finding, many, share_text, span_text, stretches

OFF_STEP = 0.1  # a step this share off the usual one is irregular
IRREGULAR_GAP = 10.0  # irregular sampling: a gap is this many times what 9 of 10 steps stay below
HOUR = 3_600 * NS_PER_SECOND
SUNDAY = 3  # 1970-01-04 was one
FORWARD = ((3, 8, 14), (3, 25, 31), (9, 24, 30), (10, 1, 7))  # month, days: the Sunday on which clocks go forward


class Spacing:
    """Distances of points: the usual one, those off it, gaps. All arrays are positions of the point before."""

    def __init__(self, series: Series, options: QualityOptions) -> None:
        self.series, self.options = series, options
        self.steps: IntArray = np.diff(series.timestamps)
        self.usual = series.step
        near = np.abs(self.steps - self.usual) <= OFF_STEP * self.usual
        self.regular = not len(near) or bool(near.mean() >= 0.5)
        limit = options.gap_steps * self.usual
        if not self.regular:  # events: a pause is a gap only where it is long even for them
            limit = max(limit, IRREGULAR_GAP * float(np.quantile(self.steps, 0.9)))
        is_gap = self.steps > limit
        self.gaps: IntArray = np.flatnonzero(is_gap)
        self.off: IntArray = np.flatnonzero(~near & ~is_gap)
        lost = np.round(self.steps[self.gaps] / self.usual).astype(np.int64) - 1
        self.absent = int(lost.sum())
        self.longest = int(self.steps[self.gaps].max()) if len(self.gaps) else 0
        rest = self.steps[~is_gap]
        self.jitter = float(np.median(np.abs(rest - self.usual))) / self.usual if len(rest) else 0.0
        self.off_share = len(self.off) / max(len(rest), 1)

    def findings(self) -> Iterator[Finding]:
        """Gaps, longest first, and irregular steps."""
        series, kind = self.series, self.series.time_kind
        if len(self.gaps):
            share = self.absent / (len(series) + self.absent)
            worst = self.gaps[np.argsort(-self.steps[self.gaps], kind="stable")]
            what = (
                f"{many(len(self.gaps), 'gap')}, longest {span_text(self.longest, kind)} after "
                f"{format_time(int(series.timestamps[worst[0]]), kind)}, {share_text(share)} of the time"
            )
            yield finding("gaps", share > self.options.missing_share, what, len(self.gaps), self.between(worst))
        if len(self.off):
            what = f"{share_text(self.off_share)} of the steps are not {span_text(self.usual, kind)}"
            warn = self.off_share > self.options.irregular_share
            yield finding("irregular", warn, what, len(self.off), self.between(self.off))

    def between(self, before: IntArray) -> tuple[Interval, ...]:
        """The time from each of these positions to the next point."""
        stamps = self.series.timestamps
        return tuple(sorted(Interval(int(stamps[k]), int(stamps[k + 1])) for k in before[:PLACES]))


def clock(series: Series, spacing: Spacing) -> Iterator[Finding]:
    """A clock that was moved leaves a hole of whole hours, or an hour that comes twice (dropped at the door)."""
    usual = spacing.usual
    if series.time_kind != "time" or not spacing.regular or usual > HOUR or HOUR % usual:
        return
    before, extra = series.timestamps[spacing.gaps], spacing.steps[spacing.gaps] - usual
    saving = spacing.gaps[_forward_nights(before) & (np.abs(extra - HOUR) <= min(usual, HOUR // 6))]
    hours = np.round(extra / HOUR)
    whole = spacing.gaps[(np.abs(extra - hours * HOUR) <= OFF_STEP * usual) & (hours >= 1) & (hours <= 14)]
    twice = series.notes.get("duplicates_dropped", series.notes.get("duplicates_averaged", 0))
    back, per_hour = series.notes.get("backward_steps", 0), HOUR // usual
    if isinstance(twice, int) and isinstance(back, int) and 0 < back <= twice // per_hour and twice % per_hour == 0:
        what = f"{many(int(twice // per_hour), 'hour')} came twice: a clock set back? See source.time_zone"
        yield Finding("clock", "warn", what, back)
    elif len(saving):
        when = format_time(int(series.timestamps[saving[0]]), "time")
        what = f"an hour is skipped after {when}, a night when clocks go forward: local time? See source.time_zone"
        yield Finding("clock", "warn", what, len(saving), spacing.between(saving))
    elif len(whole) and len(spacing.gaps) <= 3 and usual < HOUR:  # among many gaps some are of whole hours by chance
        hole, when = int(spacing.steps[whole[0]]) - usual, format_time(int(series.timestamps[whole[0]]), "time")
        what = f"exactly {format_duration(hole)} skipped after {when}: a clock set forward?"
        yield Finding("clock", "note", what, len(whole), spacing.between(whole))


def _forward_nights(stamps: IntArray) -> BoolArray:
    """Which times, read as local ones, are just before clocks go forward: Sundays of the USA, Europe, Australia, NZ."""
    days = stamps // (24 * HOUR)
    dates = days.astype("M8[D]")
    month = dates.astype("M8[M]").astype(np.int64) % 12 + 1
    day = (dates - dates.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
    season = np.zeros(len(stamps), bool)
    for number, first, last in FORWARD:
        season |= (month == number) & (day >= first) & (day <= last)
    return season & (days % 7 == SUNDAY) & (stamps // HOUR % 24 <= 3)


def future(series: Series, now: int, options: QualityOptions) -> Iterator[Finding]:
    if series.time_kind != "time":
        return
    limit = now + parse_duration(options.future, "quality.future")
    first = int(np.searchsorted(series.timestamps, limit, side="right"))
    count = len(series) - first
    if count:
        what = f"{many(count, 'point')} later than now, up to {format_time(int(series.timestamps[-1]), 'time')}"
        yield Finding("future", "warn", what, count, stretches(series, np.array([(first, len(series))])))
