"""``tsad detect since= until=``: history scored in chunks, resumable, and nothing twice by one version."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.durations import parse_duration
from tsad.core.errors import ConfigError, NoRowsError, SourceError
from tsad.core.intervals import Span, clip
from tsad.core.reading import ReadSummary, SeriesStream
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.times import format_time, parse_moment
from tsad.core.types import Detection
from tsad.loop.detections import hand_out, intervals_json
from tsad.loop.reading import in_source_time

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.sources.downsample import Downsampled
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore, StepRun

log = logging.getLogger("tsad")
_TOGETHER = 32  # series per batch: what a kill costs at most, and what is in memory at once


@dataclass(frozen=True)
class History:
    """What is to be scored.

    Attributes:
        points: identifiers.
        spans: of each point, ``[start, end)`` in ns UTC that is asked for and that the source has values in.
        chunk: ns per chunk; chunks begin at multiples of it since 1970.
        identity: names the version and the source; what was scored under it is not scored again, except ``again``.
        unreachable: why the source could not be asked for the spans, or "".
    """

    points: Sequence[str]
    spans: dict[str, Span]
    chunk: int
    identity: str
    again: bool = False
    unreachable: str = ""

    def chunks(self) -> list[Span]:
        """All chunks that hold something, in time order."""
        if not self.spans:
            return []
        first = min(start for start, _ in self.spans.values()) // self.chunk
        last = max(end - 1 for _, end in self.spans.values()) // self.chunk
        every = [(k * self.chunk, (k + 1) * self.chunk) for k in range(first, last + 1)]
        return [c for c in every if any(start < c[1] and c[0] < end for start, end in self.spans.values())]


@dataclass(frozen=True)
class Stretch:
    """What the verb's keys ask for: half-open, as people write times; ``None`` = the series' own end."""

    since: str | None
    until: str | None
    chunk: str
    again: bool


@dataclass(frozen=True, eq=False)
class ChunkScored(Result):
    """One chunk of history: its first instant, series scored now and before, and what was found."""

    start: str
    series: int
    scored_before: int
    points: int
    intervals: int

    def table_row(self) -> dict[str, Any]:
        """As people see it."""
        return {
            "from": self.start, "series": self.series, "scored before": self.scored_before, "points": self.points,
            "intervals": self.intervals,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Backfilled(Result):
    """History scored by one version: chunk by chunk in ``rows``, and in all."""

    model_version: str
    threshold: float
    chunks: int
    points: int
    intervals: int
    series: int
    scored_before: int
    rows: tuple[ChunkScored, ...]


def history_of(source: Source, points: Sequence[str], stretch: Stretch, version: str) -> History:
    """What is asked for of this source.

    Raises:
        ConfigError: a time or duration that cannot be read, or ``until`` not after ``since``.
    """
    from tsad.files.hashing import digest_of_parts
    from tsad.sources.cache.ranges import EVER, common

    since, until = stretch.since, stretch.until
    length = parse_duration(stretch.chunk, "chunk")
    first = source.span[0] if since is None else parse_moment(since, "since")
    last = source.span[1] if until is None else parse_moment(until, "until")
    asked = (EVER[0] if first is None else first, EVER[1] if last is None else last)
    if asked[0] >= asked[1]:
        raise ConfigError(f"since={since} is not before until={until}", "Swap them.")
    extents = source.extents(points)
    for point_id, error in extents.failures.items():
        log.warning("left out %s: %s", point_id, error)
    spans = {point: common(span, asked) for point, span in extents.spans.items()}
    kept = {point: span for point, span in spans.items() if span is not None}
    identity = digest_of_parts(version, source.identity())[:16]
    return History(points, kept, length, identity, stretch.again, extents.unreachable)


@dataclass(frozen=True)
class Scoring:
    """Who scores history, and where what it says goes: the run, files under ``output`` (``None`` = none)."""

    bench: Workbench
    loop: LoopStore
    step: StepRun
    loaded: LoadedVersion
    output: Path | None


def backfill(work: Scoring, source: Source, history: History) -> Backfilled:
    """Score what is not scored yet, chunk by chunk; every finished batch is an artifact of the run.

    A batch counts as done when its files are written and, where asked for, the source has taken its detections; a run
    that is killed or stopped loses at most one batch.

    Raises:
        ConfigError: series are made shorter to a number of points, which says nothing of a chunk.
    """
    from tsad.sources.cache.ranges import common, gaps
    from tsad.tracking.scored import scored

    shorter, origin = work.bench.downsample, work.loaded.origin
    if shorter.method != "none" and shorter.every is None:
        raise ConfigError(
            f"downsample.count={shorter.count} with since= or until=: it says nothing of a chunk's length",
            "Say downsample.every=60s downsample.count=null.",
        )
    done = {} if history.again else scored(work.loop, history.identity)
    work.step.tags({"tsad.scored": history.identity, "tsad.model_version": origin.model_version})
    rows: list[ChunkScored] = []
    chunks = history.chunks()
    asked = source.unasked(history.unreachable) if history.unreachable else source
    batches = _Batches(work, history.chunk)
    with work.bench.context.progress.task("scoring", len(chunks)) as finished:
        for chunk in chunks:
            wants = {p: common(span, chunk) for p, span in history.spans.items()}
            missing = {p: gaps(want, done.get(p, [])) for p, want in wants.items() if want is not None}
            todo = {p: (parts[0][0], parts[-1][1]) for p, parts in missing.items() if parts}
            points, intervals, asked = batches.score(asked, chunk[0], todo)
            rows.append(ChunkScored(format_time(chunk[0]), len(todo), len(missing) - len(todo), points, intervals))
            finished(len(rows))
    return Backfilled(
        model_version=origin.model_version, threshold=work.loaded.threshold, chunks=len(rows),
        points=sum(r.points for r in rows), intervals=sum(r.intervals for r in rows),
        series=sum(r.series for r in rows), scored_before=sum(r.scored_before for r in rows), rows=tuple(rows),
    )


@dataclass(frozen=True, eq=False)
class _View:
    """A series with the context before its span, where the span begins, and the way back to the source's time."""

    series: Series
    first: int
    shorter: Downsampled


@dataclass(frozen=True)
class _Batches:
    """The series of a chunk, some at a time."""

    work: Scoring
    before: int

    def score(self, source: Source, start: int, todo: dict[str, Span]) -> tuple[int, int, Source]:
        """Points scored and intervals in a chunk that begins at ``start``, and the source for the next one: it is not
        asked again where it could not be reached."""
        points = intervals = 0
        names = list(todo)
        for number in range(0, len(names), _TOGETHER):
            self.work.bench.context.control.safe_point()
            spans = {p: todo[p] for p in names[number : number + _TOGETHER]}
            views, summary = self._views(source, spans)
            kept: dict[str, dict[str, Any]] = {
                p: {"range": span, "points": 0, "intervals": []} for p, span in spans.items()
            }
            for series, detection in self._scored(views, spans):
                kept[series.point_id] |= {"points": len(series), **intervals_json(series, detection)}
                hand_out(series, detection, self.work.output, source)
                points += len(series)
                intervals += len(detection.intervals)
            self._keep(kept, summary, start, number)
            if summary.unreachable:
                source = source.unasked(summary.unreachable)
        return points, intervals, source

    def _keep(self, kept: dict[str, dict[str, Any]], summary: ReadSummary, start: int, number: int) -> None:
        """A finished batch as an artifact of the run; what failed by name is still to be scored."""
        from tsad.tracking.scored import CHUNKS

        for point_id, error in summary.failures.items():
            if not isinstance(error, NoRowsError) and kept.pop(point_id, {}):
                log.warning("left out %s from %s on: %s", point_id, format_time(start), error)
        if not summary.unreachable:  # else what the cache has not got is still to be scored
            self.work.step.json({"series": kept}, f"{CHUNKS}/{start}-{number}.json")

    def _views(self, source: Source, spans: dict[str, Span]) -> tuple[list[_View], ReadSummary]:
        """Series cut to their span and the context before it."""
        from tsad.sources.downsample import downsample

        start, end = min(s for s, _ in spans.values()) - self.before, max(e for _, e in spans.values())
        stream, views = SeriesStream(source.read(list(spans), start, end)), []
        try:
            for read in stream:
                shorter = downsample(read.series, self.work.bench.downsample)
                series = shorter.series
                first, stop = (int(k) for k in series.timestamps.searchsorted(spans[series.point_id]))
                if stop > first:
                    context = max(0, first - self.work.bench.windows.context)
                    views.append(_View(series.slice(context, stop), first - context, shorter))
        except SourceError:
            if not stream.ended or not stream.summary.failures:
                raise
            return [], stream.summary  # every point of the batch failed by name
        return views, stream.summary

    def _scored(self, views: Sequence[_View], spans: dict[str, Span]) -> Iterator[tuple[Series, Detection]]:
        """What the version says of each series in its span, in the light of what came before."""
        detections = self.work.loaded.detections([view.series for view in views])
        for view, outward in zip(views, detections, strict=True):
            detection, series = in_source_time(outward, view.shorter), view.series
            span = spans[series.point_id]
            own = replace(
                detection, scores=None if detection.scores is None else detection.scores[view.first :],
                intervals=clip(detection.intervals, *span),
                candidates=None if detection.candidates is None else clip(detection.candidates, *span),
            )
            yield series.slice(view.first, len(series)), own
