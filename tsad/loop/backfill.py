"""``tsad detect since= until=``: history scored in chunks, resumable, and nothing twice by one version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.durations import parse_duration
from tsad.core.errors import ConfigError, NoRowsError, SourceError
from tsad.core.intervals import clip
from tsad.core.series import Series
from tsad.core.times import format_time, parse_moment
from tsad.core.types import Detection
from tsad.loop.common import log, say
from tsad.loop.detections import hand_out, intervals_json
from tsad.loop.reading import in_source_time

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore, StepRun

Span = tuple[int, int]
_TOGETHER = 32  # series per batch: what a kill costs at most, and what is in memory at once


@dataclass(frozen=True)
class History:
    """What is to be scored.

    Attributes:
        points: identifiers.
        spans: of each point, ``[start, end)`` in ns UTC that is asked for and that the source has values in.
        chunk: ns per chunk; chunks begin at multiples of it since 1970.
        identity: names the version and the source; what was scored under it is not scored again.
    """

    points: Sequence[str]
    spans: dict[str, Span]
    chunk: int
    identity: str

    def chunks(self) -> list[Span]:
        """All chunks that hold something, in time order."""
        if not self.spans:
            return []
        first = min(start for start, _ in self.spans.values()) // self.chunk
        last = max(end - 1 for _, end in self.spans.values()) // self.chunk
        every = [(k * self.chunk, (k + 1) * self.chunk) for k in range(first, last + 1)]
        return [c for c in every if any(start < c[1] and c[0] < end for start, end in self.spans.values())]


def history_of(
    source: Source, points: Sequence[str], since: str | None, until: str | None, chunk: str, version: str
) -> History:
    """What the verb's keys ask for of this source.

    Raises:
        ConfigError: a time or duration that cannot be read, or ``until`` not after ``since``.
    """
    from tsad.files.hashing import digest_of_parts
    from tsad.sources.cache.ranges import EVER, common

    length = parse_duration(chunk, "chunk")
    first = source.span[0] if since is None else parse_moment(since, "since")
    last = source.span[1] if until is None else parse_moment(until, "until")
    asked = (EVER[0] if first is None else first, EVER[1] if last is None else last)
    if asked[0] >= asked[1]:
        raise ConfigError(f"since={since} is not before until={until}", "Swap them.")
    spans = {point: common(span, asked) for point, span in source.extents(points).items()}
    kept = {point: span for point, span in spans.items() if span is not None}
    return History(points, kept, length, digest_of_parts(version, source.identity())[:16])


def backfill(
    bench: Workbench, loop: LoopStore, step: StepRun, loaded: LoadedVersion, source: Source, history: History,
    *, again: bool, output: Path | None,
) -> list[dict[str, Any]]:
    """Score what is not scored yet, chunk by chunk; every finished batch is an artifact of the run.

    A batch counts as done when its files are written and, where asked for, the source has taken its detections; a run
    that is killed loses at most one batch.

    Returns:
        A row per chunk.

    Raises:
        ConfigError: series are made shorter to a number of points, which says nothing of a chunk.
    """
    from rich.console import Console
    from rich.progress import track

    from tsad.sources.cache.ranges import common, gaps
    from tsad.tracking.scored import CHUNKS, scored

    if bench.downsample.method != "none" and bench.downsample.every is None:
        raise ConfigError(
            f"downsample.count={bench.downsample.count} with since= or until=: it says nothing of a chunk's length",
            "Say downsample.every=60s downsample.count=null.",
        )
    done = {} if again else scored(loop, history.identity)
    step.tags({"tsad.scored": history.identity, "tsad.model_version": loaded.origin.model_version})
    rows: list[dict[str, Any]] = []
    chunks = history.chunks()
    for chunk in track(chunks, "scoring", console=Console(stderr=True), transient=True, disable=len(chunks) < 2):
        wants = {p: common(span, chunk) for p, span in history.spans.items()}
        missing = {p: gaps(want, done.get(p, [])) for p, want in wants.items() if want is not None}
        todo = {p: (found[0][0], found[-1][1]) for p, found in missing.items() if found}
        row: dict[str, Any] = {
            "from": format_time(chunk[0]), "series": len(todo), "scored before": len(missing) - len(todo), "points": 0,
            "intervals": 0,
        }  # fmt: skip
        names = list(todo)
        for number in range(0, len(names), _TOGETHER):
            spans = {p: todo[p] for p in names[number : number + _TOGETHER]}
            said: dict[str, dict[str, Any]] = {
                p: {"range": span, "points": 0, "intervals": []} for p, span in spans.items()
            }
            for series, detection in _scored(bench, loaded, source, spans, history.chunk):
                said[series.point_id] |= {"points": len(series), **intervals_json(series, detection)}
                hand_out(series, detection, output, source)
                row["points"] += len(series)
                row["intervals"] += len(detection.intervals)
            for point_id, error in source.failures.items():
                if not isinstance(error, NoRowsError) and said.pop(point_id, {}):
                    log.warning("left out %s from %s on: %s", point_id, row["from"], error)
            if not getattr(source, "unreachable", ""):  # else what the cache has not got is still to be scored
                step.json({"series": said}, f"{CHUNKS}/{chunk[0]}-{number}.json")
        rows.append(row)
    return rows


def _scored(
    bench: Workbench, loaded: LoadedVersion, source: Source, spans: dict[str, Span], before: int
) -> Iterator[tuple[Series, Detection]]:
    """Series cut to their span, with what the version says of them in the light of what came before."""
    from tsad.sources.downsample import downsample

    start, end = min(s for s, _ in spans.values()) - before, max(e for _, e in spans.values())
    views, starts, back = [], [], []
    try:
        for whole in source.read(list(spans), start, end):
            shorter = downsample(whole, bench.downsample)
            series = shorter.series
            first, stop = (int(k) for k in series.timestamps.searchsorted(spans[series.point_id]))
            if stop > first:
                context = max(0, first - bench.windows.context)
                views.append(series.slice(context, stop))
                starts.append(first - context)
                back.append(shorter)
    except SourceError:
        if not source.failures:
            raise
        return  # every point of the batch failed by name
    for series, first, detection, shorter in zip(views, starts, loaded.detections(views), back, strict=True):
        detection = in_source_time(detection, shorter)
        part = series.slice(first, len(series))
        span = spans[series.point_id]
        own = replace(
            detection, scores=None if detection.scores is None else detection.scores[first:],
            intervals=clip(detection.intervals, *span),
            candidates=None if detection.candidates is None else clip(detection.candidates, *span),
        )
        yield part, own


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What a backfill did, in numbers."""
    keys = ("points", "intervals", "series", "scored before")
    return {"chunks": len(rows)} | {key.replace(" ", "_"): sum(row[key] for row in rows) for key in keys}


def tell(rows: Sequence[dict[str, Any]]) -> None:
    """One line for people."""
    all_ = totals(rows)
    say(
        f"{all_['points']} points in {all_['chunks']} chunks, {all_['intervals']} intervals; "
        f"{all_['scored_before']} of {all_['series'] + all_['scored_before']} pieces were scored by this version before"
    )
