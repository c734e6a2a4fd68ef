"""Series of the configured source, read, labelled, checked and made shorter for whoever works on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tsad.config.workbench import Workbench
from tsad.core.errors import SeriesError, SourceError
from tsad.core.reading import SeriesStream
from tsad.core.series import Series
from tsad.loop.exported import label_export
from tsad.loop.reading import Reading

log = logging.getLogger("tsad")


def load_series(bench: Workbench, point_ids: Sequence[str] | None = None) -> list[Series]:
    """The series of :func:`read_series` alone."""
    return read_series(bench, point_ids).series


def read_series(bench: Workbench, point_ids: Sequence[str] | None = None) -> Reading:
    """All (or the named) series of the configured source, validated and labelled, without those that ``quality``
    refuses, made shorter by ``downsample``; what is left out is named in the log.

    Raises:
        SourceError: nothing could be read, or every series is refused.
        LabelError: a Label Studio export (``source.labels=FILE.json``) that labels none of them.
    """
    from tsad.sources.downsample import downsample

    source = bench.make_source()
    export = label_export(bench)
    known: set[str] = set()
    refused: list[SeriesError] = []
    kept = []
    stream = SeriesStream(source.read(point_ids))
    total = len(source.points() if point_ids is None else point_ids)
    # One after the other: the long ones need not all be held.
    for read in bench.context.each(stream, "reading series", total):
        known.add(read.point_id)
        series = read.series if export is None else export.labelled(read.series)
        error = _refusal(bench, series)
        if error is None:
            kept.append(downsample(series, bench.downsample))
        else:
            refused.append(error)
    for point_id, failure in stream.summary.failures.items():
        log.warning("left out %s: %s", point_id, failure)
    for error in refused:
        log.warning("left out: %s", error)
    if refused and not kept:
        raise SourceError(f"{source.describe()} gave no series that may be used: {refused[0].found}", refused[0].remedy)
    if not kept:
        raise SourceError(f"{source.describe()} gave no series", "Check source.root and source.glob.")
    if export is not None:
        export.check(known)
    return Reading([shorter.series for shorter in kept], source, stream.summary, kept)


def _refusal(bench: Workbench, series: Series) -> SeriesError | None:
    """Why ``quality`` keeps the series out; nobody looks unless something could."""
    from tsad.sources.quality import assess, refusing

    return assess(series, bench.quality).refusal() if refusing(bench.quality) else None
