"""Where each range of a series came from, and how old it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tsad.core.times import format_time
from tsad.core.types import TimeKind

Level = Literal["memory", "cache", "source"]


@dataclass(frozen=True)
class Part:
    """One range of a series that was read.

    Attributes:
        start, end: ns UTC, half-open.
        level: which of the three levels answered.
        fetched_at: when the source sent it, seconds since 1970.
        time_kind: ``index`` where the series has no time.
    """

    start: int
    end: int
    level: Level
    fetched_at: float
    time_kind: TimeKind = "time"


def as_json(provenance: Mapping[str, Sequence[Part]], now: float | None = None) -> dict[str, list[dict[str, Any]]]:
    """Provenance by point as plain values, times as ISO 8601 UTC, ages in seconds."""
    at = time.time() if now is None else now
    return {
        point: [
            {
                "start": format_time(p.start, p.time_kind), "end": format_time(p.end, p.time_kind), "from": p.level,
                "fetched": format_time(int(p.fetched_at) * 10**9), "age_seconds": round(max(0.0, at - p.fetched_at)),
            }
            for p in parts
        ]
        for point, parts in provenance.items()
    }
