"""``tsad ingest``: read the source's series through validation into the cache, and report their data quality."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.durations import format_duration
from tsad.core.option_model import Options
from tsad.core.types import NS_PER_SECOND
from tsad.steps.ingest import Ingested, SeriesQuality, ingest
from tsad.steps.quality_page import counts, worst_first
from tsad.verbs.console import Console
from tsad.verbs.tables import size_text

NAMED = 3  # findings named per series in the terminal
KINDS = 8  # kinds of files whose columns are told in the terminal


class IngestKeys(Options):
    """Own keys of ``tsad ingest``."""

    points: list[str] | None
    rows: int = Field(ge=0)
    report: bool


keys_model = IngestKeys


def run(bench: Workbench, keys: IngestKeys, console: Console) -> Ingested:
    """Show a row per series with what was found; one that fails or is refused is named with its reason.

    Raises:
        SourceError: nothing could be read, or ``quality`` refuses every series.
        CacheError: the cache folder cannot be written.
    """
    ingested = ingest(bench, keys.points, keys.report)
    console.answer(ingested, lambda it, to: _present(it, to, keys.rows))
    refusal = ingested.refusal()
    if refusal is not None:
        raise refusal
    return ingested


def _present(ingested: Ingested, console: Console, rows: int) -> None:
    _present_series(ingested, console, rows)
    console.table([{"left out": point, "why": why} for point, why in ingested.left_out.items()], "not ingested")
    for roles in ingested.columns[:KINDS]:
        more = f" and {len(roles.points) - 1} more" if len(roles.points) > 1 else ""
        console.say(f"columns of {roles.points[0]}{more}: {roles.columns}")
    if len(ingested.columns) > KINDS:
        console.say(f"{len(ingested.columns) - KINDS} more kinds of files (-o json has them)")
    if ingested.outage:
        console.say(ingested.outage)
    left_out = f", {len(ingested.left_out)} left out" if ingested.left_out else ""
    console.say(f"{ingested.kept} series, {ingested.points} points{left_out}")
    cache = ingested.cache
    if cache is not None:
        console.say(
            f"cache: {cache.hits} were there, {cache.fetched} read from the source; "
            f"{cache.entries} entries, {size_text(cache.bytes)} in {cache.folder}"
        )
    if ingested.report_run is not None:
        console.say(
            f"report: quality.html in run {ingested.report_run} of experiment {ingested.experiment} (tsad ui)"
        )


def _present_series(ingested: Ingested, console: Console, rows: int) -> None:
    """A table of all series in the source's order or, where there are more than ``rows``, of the worst."""
    series = list(ingested.series)
    shown = series if len(series) <= rows else worst_first(series)[:rows]
    wide = any(quality.channels > 1 for quality in series)
    console.table([_row(quality, wide) for quality in shown], ingested.source, ("to", "from", "labels"))
    names = {quality.point_id for quality in shown}
    hidden = [quality for quality in series if quality.point_id not in names]
    if hidden:
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts(hidden).items() if number)
        console.say(f"{len(hidden)} more series are not shown: {kinds} (rows={rows})")


def _row(quality: SeriesQuality, wide: bool) -> dict[str, Any]:
    """Refusals and warnings in words, notes by name and count."""
    worst = [f"{f.severity} {f.name}: {f.what}" for f in quality.findings if f.severity != "note"]
    notes = ", ".join(f"{f.name} {f.count}" for f in quality.of("note"))
    more = [f"and {len(worst) - NAMED} more"] if len(worst) > NAMED else []
    index = quality.time_kind == "index"
    return {
        "point": quality.point_id,
        "points": quality.points,
        **({"channels": quality.channels} if wide else {}),
        "from": quality.start.partition("T")[0],
        "to": quality.end.partition("T")[0],
        "step": f"{quality.step:g}" if index else format_duration(round(quality.step * NS_PER_SECOND)),
        "missing": f"{quality.missing_share:.1%}",
        "labels": quality.labels,
        "found": "\n".join([*worst[:NAMED], *more, *([f"note {notes}"] if notes else [])]) or "fine",
    }
