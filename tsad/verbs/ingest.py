"""``tsad ingest``: read the source's series through validation into the cache, and report their data quality."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.durations import format_duration
from tsad.core.errors import ClaimError, SourceError
from tsad.core.options import DownsampleOptions
from tsad.core.reading import ReadSummary, SeriesStream
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND
from tsad.loop.common import open_loop, say, show, standalone
from tsad.loop.reading import record_read
from tsad.sources.quality import Quality, assess
from tsad.steps.quality_page import badness, counts, page, png, worst_first

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.tracking.runs import StepRun

STEP = "INGEST"
SAID = 3  # findings named per series in the terminal
DRAWN = DownsampleOptions(method="minmax", every=None, count=4000)  # what is kept of a series to draw it


def run(bench: Workbench, *, points: list[str] | None = None, rows: int = 40, report: bool = True) -> None:
    """Print a row per series with what was found; one that fails or is refused is named with its reason.

    Args:
        points: identifiers or shell patterns (``U1.*``); ``None`` = all of the source.
        rows: series shown; of more, the worst.
        report: keep page, table and figures as a run in MLflow.

    Raises:
        SourceError: nothing could be read, or ``quality`` refuses every series.
        CacheError: the cache folder cannot be written.
        ClaimError: another process works on the loop that the report would go to.
    """
    from tsad.sources.cache import cache_folder, usage

    source = bench.make_source()
    source.require_writable()
    names = source.select(points)
    with _reporting(bench, report) as step:
        found, drawn, summary = _read(bench, source, names)
        refused = {q.point_id: error for q in found if (error := q.refusal()) is not None}
        left_out = {point: str(error) for point, error in {**summary.failures, **refused}.items()}
        _show(found, rows, source.describe())
        show([{"left out": point, "why": why} for point, why in left_out.items()], "not ingested")
        if step is not None:
            _record(step, summary, found, drawn)
    if summary.unreachable:
        say(summary.outage())
    kept = [q for q in found if q.point_id not in refused]
    said = f", {len(left_out)} left out" if left_out else ""
    say(f"{len(kept)} series, {sum(q.points for q in kept)} points{said}")
    if summary.cached:
        used = usage(cache_folder(bench.home))
        say(
            f"cache: {summary.hits} were there, {summary.fetched} read from the source; "
            f"{used.entries} entries, {used.bytes / 1e6:.1f} MB in {cache_folder(bench.home)}"
        )
    if step is not None:
        say(f"report: quality.html in run {step.run_id} of experiment {bench.loop.name} (tsad ui)")
    if refused and not kept:
        first = next(iter(refused.values()))
        raise SourceError(f"{source.describe()} gave no series that may be used: {first.found}", first.remedy)


@contextmanager
def _reporting(bench: Workbench, wanted: bool) -> Iterator[StepRun | None]:
    """The run that the report goes to, opened before the reading: a store that is gone is said now, not after hours."""
    if not wanted:
        yield None
        return
    with ExitStack() as stack:
        try:
            step = stack.enter_context(standalone(open_loop(bench), STEP))
        except ClaimError as error:
            raise ClaimError(error.found, f"{error.remedy} Or leave the report out: report=false.") from error
        yield step


def _read(
    bench: Workbench, source: Source, names: Sequence[str]
) -> tuple[list[Quality], list[tuple[Quality, Series]], ReadSummary]:
    """Every series assessed, the worst of them made short enough to be kept and drawn, and how the read ended."""
    from rich.console import Console
    from rich.progress import track

    from tsad.sources.downsample import downsample

    found: list[Quality] = []
    kinds: dict[str, list[tuple[Quality, Series]]] = {}  # by the worst finding's name: candidates, worst first
    stream = SeriesStream(source.read(names))
    for read in track(stream, "reading", total=len(names), console=Console(stderr=True), transient=True):
        series = read.series
        quality = assess(series, bench.quality)
        found.append(quality)
        if not quality.findings or not bench.tracking.plots:
            continue
        same = kinds.setdefault(quality.findings[0].name, [])
        if len(same) < bench.tracking.plots or badness(quality) < badness(same[-1][0]):
            same.append((quality, downsample(series, DRAWN).series))
            same.sort(key=lambda pair: badness(pair[0]))
            del same[bench.tracking.plots :]
    return found, _varied(list(kinds.values()), bench.tracking.plots), stream.summary


def _varied(kinds: Sequence[Sequence[tuple[Quality, Series]]], count: int) -> list[tuple[Quality, Series]]:
    """The worst of each kind, then the second worst of each, ...: a hundred gaps do not hide the one stuck sensor."""
    ranked = [(rank, badness(pair[0]), k) for k, same in enumerate(kinds) for rank, pair in enumerate(same)]
    warned = sorted(ranked, key=lambda item: (item[1][:2] == (0, 0), item[0], item[1]))[:count]
    chosen = [kinds[k][rank] for rank, _, k in warned]
    return sorted(chosen, key=lambda pair: badness(pair[0]))


def _show(found: Sequence[Quality], rows: int, title: str) -> None:
    """A table of all series in the source's order or, where there are more than ``rows``, of the worst."""
    shown = list(found) if len(found) <= rows else worst_first(found)[:rows]
    wide = any(quality.channels > 1 for quality in found)
    show([_row(quality, wide) for quality in shown], title)
    hidden = set(map(id, found)) - set(map(id, shown))
    if hidden:
        rest = counts([q for q in found if id(q) in hidden])
        kinds = ", ".join(f"{number} {kind}" for kind, number in rest.items() if number)
        say(f"{len(hidden)} more series are not shown: {kinds} (rows={rows})")


def _row(quality: Quality, wide: bool) -> dict[str, Any]:
    """Refusals and warnings in words, notes by name and count."""
    kind = quality.time_kind
    said = [f"{f.severity} {f.name}: {f.what}" for f in quality.findings if f.severity != "note"]
    notes = ", ".join(f"{f.name} {f.count}" for f in quality.of("note"))
    more = [f"and {len(said) - SAID} more"] if len(said) > SAID else []
    return {
        "point": quality.point_id,
        "points": quality.points,
        **({"channels": quality.channels} if wide else {}),
        "span": " to ".join(format_time(t, kind).partition("T")[0] for t in (quality.start, quality.end)),
        "step": f"{quality.step / NS_PER_SECOND:g}" if kind == "index" else format_duration(quality.step),
        "missing": f"{quality.missing_share:.1%}",
        "labels": quality.labels,
        "found": "\n".join([*said[:SAID], *more, *([f"note {notes}"] if notes else [])]) or "fine",
    }


def _record(
    step: StepRun, summary: ReadSummary, found: Sequence[Quality], drawn: Sequence[tuple[Quality, Series]]
) -> None:
    """Page, table, figures of the run."""
    from tsad.plots.quality import quality_figure

    images = {}
    for quality, series in drawn:
        marks = [mark for finding in quality.findings for mark in finding.where]
        channels = list(dict.fromkeys(name for finding in quality.findings for name in finding.channels))
        images[quality.point_id] = png(quality_figure(series, marks, channels))
    failures = {point: str(error) for point, error in summary.failures.items()}
    html = page(summary.source, time.time_ns(), found, failures, images)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "quality.html").write_text(html, encoding="utf-8")
        step.file(Path(scratch) / "quality.html")
    step.table([_flat(quality) for quality in worst_first(found)], "quality.json")
    by_severity = {f"findings_{s}": float(sum(len(q.of(s)) for q in found)) for s in ("refuse", "warn", "note")}
    figures = {
        "series": len(found), "points": sum(q.points for q in found), "refused": counts(found)["refused"],
        "failed": len(failures), "fine": counts(found)["fine"],
    }  # fmt: skip
    step.params({"source": summary.source})
    step.metrics({**{name: float(value) for name, value in figures.items()}, **by_severity})
    record_read(step, summary)
    step.result({**figures, "left_out": failures})


def _flat(quality: Quality) -> dict[str, Any]:
    """One row for MLflow's table: findings as text, the worst first."""
    row = quality.as_json()
    row["findings"] = "; ".join(f"{f['severity']} {f['name']}: {f['what']}" for f in row["findings"])
    return row
