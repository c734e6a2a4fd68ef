"""``tsad ingest``: read the source's series through validation into the cache, and say what was found."""

from __future__ import annotations

from typing import Any

from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, Series
from tsad.steps.common import say, show
from tsad.steps.workbench import Workbench

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def run(bench: Workbench, *, points: list[str] | None = None) -> None:
    """Print a row per series; a point that fails is named with its reason, and the rest go on.

    Args:
        points: identifiers or shell patterns (``U1.*``); ``None`` = all of the source.

    Raises:
        SourceError: nothing could be read.
        CacheError: the cache folder cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    from tsad.sources.cache import CachedSource, cache_folder, usage

    source = bench.make_source()
    if isinstance(source, CachedSource):
        source.require_writable()
    names = source.select(points)
    progress = track(source.read(names), "reading", total=len(names), console=Console(stderr=True), transient=True)
    rows = [_row(series) for series in progress]
    show(rows, source.describe())
    show([{"left out": p, "why": str(error)} for p, error in source.failures.items()], "not ingested")
    left_out = f", {len(source.failures)} left out" if source.failures else ""
    say(f"{len(rows)} series, {sum(r['points'] for r in rows)} points{left_out}")
    if isinstance(source, CachedSource):
        used = usage(cache_folder(bench.home))
        say(
            f"cache: {source.hits} were there, {source.fetched} read from the source; "
            f"{used.entries} entries, {used.bytes / 1e6:.1f} MB in {cache_folder(bench.home)}"
        )


def _row(series: Series) -> dict[str, Any]:
    kind = series.time_kind
    return {
        "point": series.point_id,
        "points": len(series),
        "channels": len(series.channels),
        "span": " to ".join(format_time(int(t), kind).partition("T")[0] for t in series.timestamps[[0, -1]]),
        "step": str(series.step // NS_PER_SECOND) if kind == "index" else _duration(series.step),
        "mended or noted": ", ".join(f"{v} {k.replace('_', ' ')}" for k, v in series.notes.items()),
        "labels": None if series.labels is None else len(series.labels),
    }


def _duration(span: int) -> str:
    """ns as the largest unit that gives a whole number."""
    for unit, seconds in _UNITS:
        if span % (seconds * NS_PER_SECOND) == 0:
            return f"{span // (seconds * NS_PER_SECOND)} {unit}"
    return f"{span / NS_PER_SECOND:g} s"
