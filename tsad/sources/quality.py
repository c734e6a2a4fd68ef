"""What shape a series is in: the findings of a data-quality report, and which of them keep a point out.

| finding | looked for |
|---|---|
| gaps | time without points, against the usual step |
| nan | points without a value |
| missing | both together above ``refuse_missing_share``: always a refusal |
| irregular | steps that differ from the usual one, gaps aside (jitter) |
| duplicates, backward | what the door mended (see ``validate``) |
| stuck | one value for far longer than this channel ever rests; see ``quality_values`` |
| constant | channels that never change, or hold nothing |
| range | a code such as -9999 or 32767 far beyond all other values |
| units | a lasting change of level and spread by a factor between units, or between C, F and K |
| clock | a jump of whole hours in regular sampling: daylight saving, another time zone |
| future | points later than now |
| labels | labels over most of the series |

Nothing here changes a series. Time is linear in the number of values.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from tsad.core.durations import UNITS, format_duration, parse_duration
from tsad.core.errors import SeriesError
from tsad.core.intervals import intervals_to_mask, point_ends, runs_of
from tsad.core.options import QualityOptions
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray, Interval, Series, TimeKind
from tsad.sources.quality_values import placeholder, stuck_runs, unit_jump

Severity = Literal["note", "warn", "refuse"]
SEVERITIES: tuple[Severity, ...] = ("refuse", "warn", "note")
SHOWN = 5  # channels named in each finding
PLACES = 50  # stretches kept of each finding
OFF_STEP = 0.1  # a step this share off the usual one is irregular
IRREGULAR_GAP = 10.0  # irregular sampling: a gap is this many times what 9 of 10 steps stay below
HOUR = 3_600 * NS_PER_SECOND
SUNDAY = 3  # 1970-01-04 was one
FORWARD = ((3, 8, 14), (3, 25, 31), (9, 24, 30), (10, 1, 7))  # month, days: the Sunday on which clocks go forward


@dataclass(frozen=True)
class Finding:
    """One thing about a series that people may want to know.

    Attributes:
        name: what was looked for, see the table above.
        what: a few words with the figures.
        count: how often, in its own unit (gaps, points, channels).
        where: the first stretches it was seen at, each labelled with the finding's name.
        channels: the first channels it was seen in, where that says something.
    """

    name: str
    severity: Severity
    what: str
    count: int
    where: tuple[Interval, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quality:
    """What a series is like, and what was found; shares are 0..1, times ns (UTC), NaN where they mean nothing.

    Attributes:
        step: median distance of points.
        jitter: median deviation from the step, as a share of it, gaps aside.
        longest_gap: longest time without a point, 0 = none.
        gap_share: points that the regular grid has and the series has not, as share of the grid.
        nan_share, longest_nan: values that are missing; the longest run of one channel, in points.
        missing_share: both together.
        low, high: range of all channels.
        labels: number of labelled intervals; ``None`` = nobody labelled it.
        findings: worst first.
    """

    point_id: str
    points: int
    channels: int
    time_kind: TimeKind
    start: int
    end: int
    step: int
    jitter: float
    gaps: int
    longest_gap: int
    gap_share: float
    nan_share: float
    longest_nan: int
    missing_share: float
    low: float
    high: float
    constant_channels: int
    labels: int | None
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> list[Finding]:
        """Findings of one severity."""
        return [f for f in self.findings if f.severity == severity]

    @property
    def badness(self) -> tuple[int, int, float]:
        """What series are sorted by, worst last: refusals, warnings, missing share."""
        return len(self.of("refuse")), len(self.of("warn")), self.missing_share

    def refusal(self) -> SeriesError | None:
        """The error by which the point is left out; ``None`` where nothing refuses it."""
        reasons = self.of("refuse")
        if not reasons:
            return None
        return SeriesError(
            f"series {self.point_id!r} is refused by its data quality: "
            + "; ".join(f"{f.name}: {f.what}" for f in reasons),
            "Mend it at its source, or change quality.refuse and quality.refuse_missing_share.",
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values: times as text, everything else as it is."""
        row = asdict(self)
        kind = self.time_kind
        row["start"], row["end"] = format_time(self.start, kind), format_time(self.end, kind)
        row["step"], row["longest_gap"] = self.step / NS_PER_SECOND, self.longest_gap / NS_PER_SECOND
        row["findings"] = [
            {
                "name": f.name, "severity": f.severity, "what": f.what, "count": f.count, "channels": list(f.channels),
                "where": [[format_time(i.start, kind), format_time(i.end, kind)] for i in f.where],
            }
            for f in self.findings
        ]
        return row


def refusing(options: QualityOptions) -> bool:
    """Whether anything could keep a point out; if not, nobody needs to look."""
    return bool(options.refuse) or options.refuse_missing_share < 1.0


def assess(series: Series, options: QualityOptions, now: int | None = None) -> Quality:
    """Look at a series; thresholds are those of ``conf/quality``.

    Args:
        now: ns since 1970 UTC, for points in the future; ``None`` = the clock.
    """
    spacing = _Spacing(series, options)
    missing = np.isnan(series.values)
    per_channel = missing.sum(axis=0)
    cells = missing.size
    nan_share = float(per_channel.sum()) / cells
    longest = max((_longest(missing[:, c]) for c in np.flatnonzero(per_channel)), default=0)
    grid = len(series) + spacing.absent
    missing_share = 1.0 - (cells - int(per_channel.sum())) / (grid * len(series.channels))
    low = np.fmin.reduce(series.values, axis=0)
    high = np.fmax.reduce(series.values, axis=0)
    flat = ~(low < high)  # also where there is nothing but NaN
    found = [
        *spacing.findings(),
        *_nan(series, missing, nan_share, longest, options),
        *_mended(series, options),
        *_constant(series, flat, per_channel == len(series)),
        *_values(series, ~flat, options),
        *_clock(series, spacing),
        *_future(series, time.time_ns() if now is None else now, options),
        *_labels(series, options),
    ]
    found = [_settled(f, options) for f in found]
    if missing_share > options.refuse_missing_share:
        limit = f"quality.refuse_missing_share={options.refuse_missing_share:g}"
        found.append(Finding("missing", "refuse", f"{missing_share:.1%} of the values are missing ({limit})", 1))
    known = not bool(missing.all())
    return Quality(
        series.point_id, len(series), len(series.channels), series.time_kind, int(series.timestamps[0]),
        int(point_ends(series.timestamps[-1:], series.step)[0]), series.step, spacing.jitter, len(spacing.gaps),
        spacing.longest, spacing.absent / grid, nan_share, longest, missing_share,
        float(np.nanmin(low)) if known else np.nan, float(np.nanmax(high)) if known else np.nan, int(flat.sum()),
        None if series.labels is None else len(series.labels),
        tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity))),
    )  # fmt: skip


class _Spacing:
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
        series, kind = self.series, self.series.time_kind
        if len(self.gaps):
            share = self.absent / (len(series) + self.absent)
            worst = self.gaps[np.argsort(-self.steps[self.gaps], kind="stable")]
            what = (
                f"{_many(len(self.gaps), 'gap')}, longest {_span(self.longest, kind)} after "
                f"{format_time(int(series.timestamps[worst[0]]), kind)}, {_share(share)} of the time"
            )
            yield _finding("gaps", share > self.options.missing_share, what, len(self.gaps), self.between(worst))
        if len(self.off):
            what = f"{_share(self.off_share)} of the steps are not {_span(self.usual, kind)}"
            warn = self.off_share > self.options.irregular_share
            yield _finding("irregular", warn, what, len(self.off), self.between(self.off))

    def between(self, before: IntArray) -> tuple[Interval, ...]:
        stamps = self.series.timestamps
        return tuple(sorted(Interval(int(stamps[k]), int(stamps[k + 1])) for k in before[:PLACES]))


def _nan(series: Series, missing: BoolArray, share: float, longest: int, options: QualityOptions) -> Iterator[Finding]:
    if not share:
        return
    runs = runs_of(missing.any(axis=1))
    first = runs[np.argsort(runs[:, 0] - runs[:, 1], kind="stable")[:PLACES]]
    what = f"{_share(share)} of the values, longest run {_many(longest, 'point')}"
    where = _stretches(series, first)
    some = _names(series, np.flatnonzero(missing.any(axis=0)))
    yield _finding("nan", share > options.missing_share, what, int(missing.sum()), where, some)


def _mended(series: Series, options: QualityOptions) -> Iterator[Finding]:
    """What the door counted; where it was is gone with the rows."""
    notes = series.notes
    for note, name, did in (
        ("duplicates_dropped", "duplicates", "dropped"),
        ("duplicates_averaged", "duplicates", "averaged"),
        ("backward_steps", "backward", "in time, sorted"),
    ):
        count = notes.get(note, 0)
        if isinstance(count, int) and count:
            words = _many(count, "duplicate") if name == "duplicates" else _many(count, "step") + " back"
            yield _finding(name, count > options.mended_share * len(series), f"{words} {did}", count)


def _constant(series: Series, flat: BoolArray, empty: BoolArray) -> Iterator[Finding]:
    if not flat.any():
        return
    total, names = len(flat), _names(series, np.flatnonzero(flat))
    if total == 1:
        what = "no value at all" if empty.all() else f"always {series.values[~np.isnan(series.values)][0]:g}"
    else:
        what = f"{int(flat.sum())} of {total} channels never change" + (
            f", {int(empty.sum())} of them hold nothing" if empty.any() else ""
        )
    what += _listed(names, int(flat.sum()))
    yield _finding("constant", bool(flat.all()), what, int(flat.sum()), (), names)


def _values(series: Series, varying: BoolArray, options: QualityOptions) -> Iterator[Finding]:
    """Stuck stretches, placeholders and unit jumps: each looked for channel by channel, said once per series."""
    stuck: dict[int, IntArray] = {}
    odd: dict[int, tuple[float, IntArray]] = {}
    jumps: dict[int, tuple[int, str]] = {}
    for channel in np.flatnonzero(varying).tolist():
        column = np.ascontiguousarray(series.values[:, channel])
        runs = stuck_runs(column, options.stuck_points, options.stuck_factor)
        if len(runs):
            stuck[channel] = runs
        code = placeholder(column)
        if code is not None:
            odd[channel] = code
        jump = unit_jump(column, options.unit_factors, options.unit_tolerance)
        if jump is not None:
            jumps[channel] = jump
    kind, stamps = series.time_kind, series.timestamps
    if stuck:
        every = np.concatenate(list(stuck.values()))
        every = every[np.argsort(every[:, 0] - every[:, 1], kind="stable")]
        longest = every[0]
        at = next(c for c, runs in stuck.items() if (runs == longest).all(axis=1).any())
        what = (
            f"{_many(len(every), 'stretch', 'stretches')}, longest {_many(int(longest[1] - longest[0]), 'point')} at "
            f"{series.values[longest[0], at]:g} from {format_time(int(stamps[longest[0]]), kind)}"
        )
        where, some = _stretches(series, every[:PLACES]), _names(series, stuck)
        yield _finding("stuck", True, what + _listed(some, len(stuck)), len(every), where, some)
    if odd:
        code_value, places = next(iter(odd.values()))
        count = sum(len(p) for _, p in odd.values())
        what = f"{code_value:g} {_many(count, 'time')}, far from all other values: a code for missing ones?"
        where = _stretches(series, np.stack((places, places + 1), axis=1)[:PLACES])
        some = _names(series, odd)
        yield _finding("range", True, what + _listed(some, len(odd)), count, where, some)
    if jumps:
        position, how = next(iter(jumps.values()))
        what = f"level and spread change by {how} at {format_time(int(stamps[position]), kind)}"
        where = _stretches(series, np.array([(p, p + 1) for p, _ in list(jumps.values())[:PLACES]]))
        some = _names(series, jumps)
        yield _finding("units", True, what + _listed(some, len(jumps)), len(jumps), where, some)


def _clock(series: Series, spacing: _Spacing) -> Iterator[Finding]:
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
        what = f"{_many(int(twice // per_hour), 'hour')} came twice: a clock set back? See source.time_zone"
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


def _future(series: Series, now: int, options: QualityOptions) -> Iterator[Finding]:
    if series.time_kind != "time":
        return
    limit = now + parse_duration(options.future, "quality.future")
    first = int(np.searchsorted(series.timestamps, limit, side="right"))
    count = len(series) - first
    if count:
        what = f"{_many(count, 'point')} later than now, up to {format_time(int(series.timestamps[-1]), 'time')}"
        yield Finding("future", "warn", what, count, _stretches(series, np.array([(first, len(series))])))


def _labels(series: Series, options: QualityOptions) -> Iterator[Finding]:
    if not series.labels:
        return
    share = float(intervals_to_mask(series.labels, series.timestamps).mean())
    if share > options.label_share:
        yield Finding("labels", "warn", f"{share:.1%} of the points are labelled abnormal", len(series.labels))


def _finding(
    name: str, warn: bool, what: str, count: int, where: tuple[Interval, ...] = (), channels: tuple[str, ...] = ()
) -> Finding:
    return Finding(name, "warn" if warn else "note", what, count, where, channels)


def _settled(finding: Finding, options: QualityOptions) -> Finding:
    """With its places named by it, and as a refusal where the options say so."""
    refused = finding.severity == "warn" and finding.name in options.refuse
    where = tuple(Interval(i.start, i.end, finding.name) for i in finding.where)
    return replace(finding, severity="refuse" if refused else finding.severity, where=where)


def _longest(missing: BoolArray) -> int:
    runs = runs_of(missing)
    return int((runs[:, 1] - runs[:, 0]).max())


def _stretches(series: Series, runs: IntArray) -> tuple[Interval, ...]:
    """Positions [K, 2], half-open, as time, in order."""
    stamps, step = series.timestamps, series.step
    ends = [int(point_ends(stamps[b - 1 : b + 1], step)[0]) for _, b in runs]
    return tuple(sorted({Interval(int(stamps[a]), end) for (a, _), end in zip(runs, ends, strict=True)}))


def _names(series: Series, channels: Iterable[int]) -> tuple[str, ...]:
    """The first of these channels, by name; none where there is only one anyway."""
    return () if len(series.channels) == 1 else tuple(series.channels[c] for c in list(channels)[:SHOWN])


def _listed(names: Sequence[str], total: int) -> str:
    more = f" and {total - len(names)} more" if total > len(names) else ""
    return f" ({', '.join(names)}{more})" if names else ""


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "under 0.1%"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _span(length: int, kind: TimeKind) -> str:
    """About how long, e.g. ``24.5 h``; an index counts as such."""
    if kind == "index":
        return f"{length / NS_PER_SECOND:g}"
    unit = next((u for u in ("d", "h", "min", "s", "ms", "us") if length >= 2 * UNITS[u]), "ns")
    return f"{length / UNITS[unit]:.3g} {unit}"
