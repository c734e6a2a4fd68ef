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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tsad.core.errors import SeriesError
from tsad.core.intervals import intervals_to_mask, point_ends, runs_of
from tsad.core.options import QualityOptions
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray, Interval, TimeKind
from tsad.sources.quality_findings import (
    PLACES,
    SEVERITIES,
    Finding,
    Severity,
    finding,
    listed,
    many,
    names_of,
    share_text,
    stretches,
)
from tsad.sources.quality_times import Spacing, clock, future
from tsad.sources.quality_values import placeholder, stuck_runs, unit_jump


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
    spacing = Spacing(series, options)
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
        *clock(series, spacing),
        *future(series, time.time_ns() if now is None else now, options),
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


def _nan(series: Series, missing: BoolArray, share: float, longest: int, options: QualityOptions) -> Iterator[Finding]:
    if not share:
        return
    runs = runs_of(missing.any(axis=1))
    first = runs[np.argsort(runs[:, 0] - runs[:, 1], kind="stable")[:PLACES]]
    what = f"{share_text(share)} of the values, longest run {many(longest, 'point')}"
    where = stretches(series, first)
    some = names_of(series, np.flatnonzero(missing.any(axis=0)))
    yield finding("nan", share > options.missing_share, what, int(missing.sum()), where, some)


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
            words = many(count, "duplicate") if name == "duplicates" else many(count, "step") + " back"
            yield finding(name, count > options.mended_share * len(series), f"{words} {did}", count)


def _constant(series: Series, flat: BoolArray, empty: BoolArray) -> Iterator[Finding]:
    if not flat.any():
        return
    total, names = len(flat), names_of(series, np.flatnonzero(flat))
    if total == 1:
        what = "no value at all" if empty.all() else f"always {series.values[~np.isnan(series.values)][0]:g}"
    else:
        what = f"{int(flat.sum())} of {total} channels never change" + (
            f", {int(empty.sum())} of them hold nothing" if empty.any() else ""
        )
    what += listed(names, int(flat.sum()))
    yield finding("constant", bool(flat.all()), what, int(flat.sum()), (), names)


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
            f"{many(len(every), 'stretch', 'stretches')}, longest {many(int(longest[1] - longest[0]), 'point')} at "
            f"{series.values[longest[0], at]:g} from {format_time(int(stamps[longest[0]]), kind)}"
        )
        where, some = stretches(series, every[:PLACES]), names_of(series, stuck)
        yield finding("stuck", True, what + listed(some, len(stuck)), len(every), where, some)
    if odd:
        code_value, places = next(iter(odd.values()))
        count = sum(len(p) for _, p in odd.values())
        what = f"{code_value:g} {many(count, 'time')}, far from all other values: a code for missing ones?"
        where = stretches(series, np.stack((places, places + 1), axis=1)[:PLACES])
        some = names_of(series, odd)
        yield finding("range", True, what + listed(some, len(odd)), count, where, some)
    if jumps:
        position, how = next(iter(jumps.values()))
        what = f"level and spread change by {how} at {format_time(int(stamps[position]), kind)}"
        where = stretches(series, np.array([(p, p + 1) for p, _ in list(jumps.values())[:PLACES]]))
        some = names_of(series, jumps)
        yield finding("units", True, what + listed(some, len(jumps)), len(jumps), where, some)


def _labels(series: Series, options: QualityOptions) -> Iterator[Finding]:
    if not series.labels:
        return
    share = float(intervals_to_mask(series.labels, series.timestamps).mean())
    if share > options.label_share:
        yield Finding("labels", "warn", f"{share:.1%} of the points are labelled abnormal", len(series.labels))


def _settled(finding: Finding, options: QualityOptions) -> Finding:
    """With its places named by it, and as a refusal where the options say so."""
    refused = finding.severity == "warn" and finding.name in options.refuse
    where = tuple(Interval(i.start, i.end, finding.name) for i in finding.where)
    return replace(finding, severity="refuse" if refused else finding.severity, where=where)


def _longest(missing: BoolArray) -> int:
    runs = runs_of(missing)
    return int((runs[:, 1] - runs[:, 0]).max())
