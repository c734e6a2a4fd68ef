"""Series of the configured source, read, labelled, checked and made shorter for whoever works on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from tsad.config.workbench import Workbench
from tsad.core.errors import LabelError, SeriesError, SourceError
from tsad.core.reading import SeriesStream
from tsad.core.series import Series
from tsad.core.types import Interval
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
    exported = _exported(bench.label_export)
    known: set[str] = set()
    refused: list[SeriesError] = []
    kept = []
    stream = SeriesStream(source.read(point_ids))
    total = len(source.points() if point_ids is None else point_ids)
    # One after the other: the long ones need not all be held.
    for read in bench.context.each(stream, "reading series", total):
        known.add(read.point_id)
        series = _labelled(read.series, exported)
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
    _check_labelled(bench.label_export, exported, known)
    return Reading([shorter.series for shorter in kept], source, stream.summary, kept)


def _refusal(bench: Workbench, series: Series) -> SeriesError | None:
    """Why ``quality`` keeps the series out; nobody looks unless something could."""
    from tsad.sources.quality import assess, refusing

    return assess(series, bench.quality).refusal() if refusing(bench.quality) else None


def _exported(export: Path | None) -> dict[str, tuple[Interval, ...]]:
    """What a Label Studio export says, by point; nothing where there is none."""
    from tsad.review.exports import read_export

    return {} if export is None else read_export(export)


def _labelled(series: Series, said: Mapping[str, tuple[Interval, ...]]) -> Series:
    """The series with the labels of a Label Studio export; it speaks for whole series."""
    from tsad.sources.labels import with_labels

    return with_labels(series, said) if said else series


def _check_labelled(export: Path | None, said: Mapping[str, object], known: set[str]) -> None:
    if export is None:
        return
    named = known & set(said)
    if not named:
        raise LabelError(
            f"{export} labels {', '.join(sorted(said)[:5]) or 'nothing'}, none of which the source has",
            "The task's point_id (or its file's name) has to be the series' own.",
        )
    log.info("%s labels %d of %d series; what no task of it covers counts as normal", export, len(named), len(known))
