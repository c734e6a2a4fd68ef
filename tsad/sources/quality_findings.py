"""What a data-quality report says: findings, their places, and the words for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tsad.core.durations import UNITS
from tsad.core.intervals import point_ends
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, IntArray, Interval, TimeKind

Severity = Literal["note", "warn", "refuse"]
SEVERITIES: tuple[Severity, ...] = ("refuse", "warn", "note")
SHOWN = 5  # channels named in each finding
PLACES = 50  # stretches kept of each finding


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


def finding(
    name: str, warn: bool, what: str, count: int, where: tuple[Interval, ...] = (), channels: tuple[str, ...] = ()
) -> Finding:
    return Finding(name, "warn" if warn else "note", what, count, where, channels)


def stretches(series: Series, runs: IntArray) -> tuple[Interval, ...]:
    """Positions [K, 2], half-open, as time, in order."""
    stamps, step = series.timestamps, series.step
    ends = [int(point_ends(stamps[b - 1 : b + 1], step)[0]) for _, b in runs]
    return tuple(sorted({Interval(int(stamps[a]), end) for (a, _), end in zip(runs, ends, strict=True)}))


def names_of(series: Series, channels: Iterable[int]) -> tuple[str, ...]:
    """The first of these channels, by name; none where there is only one anyway."""
    return () if len(series.channels) == 1 else tuple(series.channels[c] for c in list(channels)[:SHOWN])


def listed(names: Sequence[str], total: int) -> str:
    more = f" and {total - len(names)} more" if total > len(names) else ""
    return f" ({', '.join(names)}{more})" if names else ""


def share_text(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "under 0.1%"


def many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def span_text(length: int, kind: TimeKind) -> str:
    """About how long, e.g. ``24.5 h``; an index counts as such."""
    if kind == "index":
        return f"{length / NS_PER_SECOND:g}"
    unit = next((u for u in ("d", "h", "min", "s", "ms", "us") if length >= 2 * UNITS[u]), "ns")
    return f"{length / UNITS[unit]:.3g} {unit}"
