"""Series as a verb has read them, and what its run keeps of where they came from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Detection

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.sources.cache import CachedSource
    from tsad.sources.downsample import Downsampled
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class Reading:
    """Series and the source they were read from, which knows where each range came from.

    Attributes:
        source: the source, with the cache in front of it where there is one.
        shorter: the same series with their way back to the time of the source, where ``downsample`` has shortened them.
    """

    series: list[Series]
    source: Source
    shorter: Sequence[Downsampled] = ()

    def outward(self, detections: Sequence[Detection]) -> list[Detection]:
        """Detections of the series in the time of the source: an interval ends where its last original point does."""
        return [in_source_time(d, shorter) for d, shorter in zip(detections, self.shorter, strict=True)]

    def record(self, step: StepRun) -> None:
        """Keep in the run which ranges came from where and how old they are, and that the source was gone."""
        from tsad.sources.cache.provenance import as_json

        cached = self.cached
        if cached is None or not cached.provenance:
            return
        step.json({"source": cached.describe(), "series": as_json(cached.provenance)}, "provenance.json")
        levels = [{part.level for part in parts} for parts in cached.provenance.values()]
        step.metrics(
            {
                "series_from_source": float(sum("source" in found for found in levels)),
                "series_from_cache": float(sum("source" not in found for found in levels)),
            }
        )
        if cached.unreachable:
            step.tags({"tsad.source_unreachable": cached.unreachable, "tsad.source_state": self.outage()})

    def outage(self) -> str:
        """One line where the source could not be reached: what the cache gave, and how old it is; else ""."""
        cached = self.cached
        if cached is None or not cached.unreachable:
            return ""
        oldest = min((part.fetched_at for parts in cached.provenance.values() for part in parts), default=time.time())
        left_out = f", {len(cached.failures)} left out" if cached.failures else ""
        return (
            f"{cached.describe()} could not be reached: {len(cached.provenance)} series from the cache, "
            f"the oldest fetched at {format_time(int(oldest) * 10**9)}{left_out}"
        )

    @property
    def cached(self) -> CachedSource | None:
        """The cache in front of the source."""
        from tsad.sources.cache import CachedSource

        return self.source if isinstance(self.source, CachedSource) else None


def in_source_time(detection: Detection, shorter: Downsampled) -> Detection:
    """A detection with its intervals, and candidates, on the timestamps that the series had before it was shortened."""
    candidates = detection.candidates
    return replace(
        detection, intervals=tuple(shorter.original(i) for i in detection.intervals),
        candidates=None if candidates is None else tuple(shorter.original(i) for i in candidates),
    )
