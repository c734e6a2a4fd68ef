"""The source's series through validation into the cache, and a report of their data quality."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import SourceError
from tsad.core.options import DownsampleOptions
from tsad.core.reading import ReadSummary, SeriesStream
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.loop.exported import LabelExport, label_export
from tsad.loop.opening import open_loop
from tsad.loop.reading import record_read
from tsad.plots.page import png
from tsad.sources.csv_columns import COLUMNS
from tsad.sources.quality import Quality, assess
from tsad.steps.quality_page import badness, counts, page, worst_first

if TYPE_CHECKING:
    from tsad.sources.base import Source
    from tsad.tracking.runs import StepRun

STEP = "INGEST"
DRAWN = DownsampleOptions(method="minmax", every=None, count=4000)  # what is kept of a series to draw it


@dataclass(frozen=True, eq=False)
class FindingSaid(Result):
    """One finding of a series; ``where`` are pairs of instants, ISO 8601 in UTC or the index."""

    name: str
    severity: str
    what: str
    count: int
    channels: tuple[str, ...]
    where: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class SeriesQuality(Result):
    """What a series is like, and what was found, as :class:`~tsad.sources.quality.Quality` says it.

    Attributes:
        start, end: ISO 8601 in UTC, or the index.
        step, longest_gap: seconds.
        findings: worst first.
    """

    point_id: str
    points: int
    channels: int
    time_kind: str
    start: str
    end: str
    step: float
    jitter: float
    gaps: int
    longest_gap: float
    gap_share: float
    nan_share: float
    longest_nan: int
    missing_share: float
    low: float
    high: float
    constant_channels: int
    labels: int | None
    findings: tuple[FindingSaid, ...]

    def of(self, severity: str) -> list[FindingSaid]:
        """Findings of one severity."""
        return [f for f in self.findings if f.severity == severity]


@dataclass(frozen=True, eq=False)
class CacheFigures(Result):
    """Series that the cache had and those it got just now; what is in its folder."""

    hits: int
    fetched: int
    entries: int
    bytes: int
    folder: str


@dataclass(frozen=True, eq=False)
class ColumnRoles(Result):
    """What the columns of the files of these points became: time, point, channels, label, ignored and why."""

    columns: str
    points: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Ingested(Result):
    """A source's series.

    Attributes:
        series: all that could be read, in the source's order.
        left_out: why, by point: not readable, or refused by ``quality``.
        kept: series that may be used; ``points`` are theirs.
        outage: that the source could not be reached and the cache answered, in words; else "".
        cache: ``None`` without one.
        report_run: run with the report, of ``experiment``; ``None`` without.
        columns: what each column of the files became, by the points of the files that are alike.
        unusable: where every series is refused, what was found and the remedy.
    """

    source: str
    series: tuple[SeriesQuality, ...]
    left_out: Mapping[str, str]
    kept: int
    points: int
    outage: str
    cache: CacheFigures | None
    report_run: str | None
    experiment: str
    columns: tuple[ColumnRoles, ...] = ()
    unusable: tuple[str, ...] = ()

    def refusal(self) -> SourceError | None:
        """The error of a source that gave no series that may be used."""
        return SourceError(*self.unusable) if self.unusable else None


def ingest(bench: Workbench, points: Sequence[str] | None, report: bool) -> Ingested:
    """Read every series; one that fails or is refused is named with its reason.

    Args:
        points: identifiers or shell patterns (``U1.*``); ``None`` = all of the source.
        report: keep page, table and figures as a run in MLflow.

    Raises:
        SourceError: nothing could be read.
        CacheError: the cache folder cannot be written.
    """
    export = label_export(bench)
    source = bench.make_source()
    source.require_writable()
    names = source.select(points)
    with _reporting(bench, report) as step:
        found, drawn, summary, roles = _read(bench, source, names, export)
        refused = {q.point_id: error for q in found if (error := q.refusal()) is not None}
        if step is not None:
            _record(step, summary, found, drawn)
    kept = [q for q in found if q.point_id not in refused]
    first = next(iter(refused.values()), None)
    unusable = f"{source.describe()} gave no series that may be used: {first.found}" if first else ""
    return Ingested(
        source=source.describe(), series=tuple(SeriesQuality.from_json(q.as_json()) for q in found),
        left_out={point: str(error) for point, error in {**summary.failures, **refused}.items()},
        kept=len(kept), points=sum(q.points for q in kept), outage=summary.outage(),
        cache=_cache_use(bench, summary), report_run=step.run_id if step is not None else None,
        experiment=bench.loop.name, columns=tuple(ColumnRoles(words, tuple(ids)) for words, ids in roles.items()),
        unusable=(unusable, first.remedy) if first is not None and not kept else (),
    )  # fmt: skip


def _cache_use(bench: Workbench, summary: ReadSummary) -> CacheFigures | None:
    from tsad.sources.cache import cache_folder, usage

    if not summary.cached:
        return None
    folder = cache_folder(bench.home)
    used = usage(folder)
    return CacheFigures(summary.hits, summary.fetched, used.entries, used.bytes, str(folder))


def _reporting(bench: Workbench, wanted: bool) -> AbstractContextManager[StepRun | None]:
    """The run that the report goes to, opened before the reading: a store that is gone is said now, not after hours."""
    return open_loop(bench).adding(STEP, {"tsad.kind": "run"}) if wanted else nullcontext()


def _read(
    bench: Workbench, source: Source, names: Sequence[str], export: LabelExport | None
) -> tuple[list[Quality], list[tuple[Quality, Series]], ReadSummary, dict[str, list[str]]]:
    """Every series assessed, the worst of them made short enough to be kept and drawn, how the read ended, and what
    the columns of which series became.
    """
    from tsad.sources.downsample import downsample

    found: list[Quality] = []
    kinds: dict[str, list[tuple[Quality, Series]]] = {}  # by the worst finding's name: candidates, worst first
    roles: dict[str, list[str]] = {}
    stream = SeriesStream(source.read(names))
    for read in bench.context.each(stream, "reading", len(names)):
        series = read.series if export is None else export.labelled(read.series)
        if COLUMNS in series.notes:
            roles.setdefault(str(series.notes[COLUMNS]), []).append(series.point_id)
        quality = assess(series, bench.quality)
        found.append(quality)
        if not quality.findings or not bench.tracking.plots:
            continue
        same = kinds.setdefault(quality.findings[0].name, [])
        if len(same) < bench.tracking.plots or badness(quality) < badness(same[-1][0]):
            same.append((quality, downsample(series, DRAWN).series))
            same.sort(key=lambda pair: badness(pair[0]))
            del same[bench.tracking.plots :]
    if export is not None:
        export.check({quality.point_id for quality in found})
    return found, _varied(list(kinds.values()), bench.tracking.plots), stream.summary, roles


def _varied(kinds: Sequence[Sequence[tuple[Quality, Series]]], count: int) -> list[tuple[Quality, Series]]:
    """The worst of each kind, then the second worst of each, ...: a hundred gaps do not hide the one stuck sensor."""
    ranked = [(rank, badness(pair[0]), k) for k, same in enumerate(kinds) for rank, pair in enumerate(same)]
    warned = sorted(ranked, key=lambda item: (item[1][:2] == (0, 0), item[0], item[1]))[:count]
    chosen = [kinds[k][rank] for rank, _, k in warned]
    return sorted(chosen, key=lambda pair: badness(pair[0]))


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
