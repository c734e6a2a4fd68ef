"""Series as a verb has read them, and what its run keeps of where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsad.core.errors import TsadError
from tsad.core.reading import Extents, ReadSummary, provenance_json
from tsad.core.series import Series
from tsad.core.types import Detection
from tsad.files.hashing import digest_of_parts

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.sources.downsample import Downsampled
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class Reading:
    """Series, the source they were read from, and what the read met.

    Attributes:
        source: where detections go back to, where it takes them.
        summary: how the read ended.
        shorter: the same series with their way back to the time of the source, where ``downsample`` has shortened them.
    """

    series: list[Series]
    source: Source
    summary: ReadSummary
    shorter: Sequence[Downsampled] = ()

    def outward(self, detections: Sequence[Detection]) -> list[Detection]:
        """Detections of the series in the time of the source: an interval ends where its last original point does."""
        return [in_source_time(d, shorter) for d, shorter in zip(detections, self.shorter, strict=True)]

    def record(self, step: StepRun) -> None:
        """Keep in the run which ranges came from where and how old they are, and that the source was gone."""
        record_read(step, self.summary)

    def outage(self) -> str:
        """One line where the source could not be reached: what the cache gave, and how old it is; else ""."""
        return self.summary.outage()


def record_read(step: StepRun, summary: ReadSummary) -> None:
    """Keep in the run which ranges came from where and how old they are, and that the source was gone.

    Nothing is kept of a source that no cache stands in front of: all came from it, now.
    """
    if not summary.cached or not summary.provenance:
        return
    step.json({"source": summary.source, "series": provenance_json(summary.provenance)}, "provenance.json")
    levels = [{part.level for part in parts} for parts in summary.provenance.values()]
    step.metrics(
        {
            "series_from_source": float(sum("source" in found for found in levels)),
            "series_from_cache": float(sum("source" not in found for found in levels)),
        }
    )
    if summary.unreachable:
        step.tags({"tsad.source_unreachable": summary.unreachable, "tsad.source_state": summary.outage()})


def source_state(source: Source) -> str:
    """Digest of what a source holds now, without reading it: files by size and time, points of a database by where
    their values begin and end; "" where it cannot be asked.
    """
    try:
        points = source.points()
        held = source.extents(points) if source.ranged else Extents({})
        if held.unreachable or held.failures:  # the cache's answer is not the source's
            return ""
        spans = (f"{name} {span}" for name, span in sorted(held.spans.items()))
        return digest_of_parts(source.digest(), *points, *spans)
    except TsadError:
        return ""
    finally:
        source.close()


def in_source_time(detection: Detection, shorter: Downsampled) -> Detection:
    """A detection with its intervals, and candidates, on the timestamps that the series had before it was shortened."""
    candidates = detection.candidates
    return replace(
        detection, intervals=tuple(shorter.original(i) for i in detection.intervals),
        candidates=None if candidates is None else tuple(shorter.original(i) for i in candidates),
    )
