"""Labels from a Label Studio export (``source.labels=FILE.json``), put on series as they are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tsad.config.workbench import Workbench
from tsad.core.errors import LabelError, SeriesError
from tsad.core.series import Series
from tsad.core.times import LEAST_EPOCH
from tsad.core.types import NS_PER_SECOND, IntArray, Interval

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class LabelExport:
    """What a Label Studio export says, by point; it speaks for whole series."""

    path: Path
    intervals: Mapping[str, tuple[Interval, ...]]

    def labelled(self, series: Series) -> Series:
        """The series with its labels; as it was where the export says nothing of it.

        Raises:
            LabelError: a label that lies wholly outside the series.
        """
        from tsad.sources.labels import with_labels

        return with_labels(series, self.intervals)

    def check(self, known: set[str]) -> None:
        """Refuse an export that labels none of the series that were read.

        Raises:
            LabelError: naming what it labels.
        """
        named = known & set(self.intervals)
        if not named:
            raise LabelError(
                f"{self.path} labels {', '.join(sorted(self.intervals)[:5]) or 'nothing'}, "
                "none of which the source has",
                "The task's point_id (or its file's name) has to be the series' own.",
            )
        log.info(
            "%s labels %d of %d series; what no task of it covers counts as normal", self.path, len(named), len(known)
        )


def label_export(bench: Workbench) -> LabelExport | None:
    """The export that ``source.labels`` names, its times read as those of the series; ``None`` = it names none.

    Raises:
        LabelError: it cannot be read.
    """
    from tsad.review.label_studio.exports import read_export

    path = bench.label_export
    return None if path is None else LabelExport(path, read_export(path, _clock(bench.source_config)))


def _clock(source: Mapping[str, Any]) -> Callable[[Sequence[Any]], IntArray]:
    """Times as the source's own keys read them, else as ``auto`` does: Label Studio may write them in its own way."""
    from tsad.sources.times import TimeReader

    zone, saving = str(source.get("time_zone") or "UTC"), str(source.get("daylight_saving") or "error")
    own = TimeReader(str(source.get("time_format") or "auto"), zone, "error" if saving == "infer" else saving)

    def read(values: Sequence[Any]) -> IntArray:
        numbers = not isinstance(values[0], str) if values else False
        if numbers and max(abs(float(v)) for v in values) < LEAST_EPOCH:  # an index, of which people may mark parts
            return np.array([round(float(v) * NS_PER_SECOND) for v in values], np.int64)
        column = pa.chunked_array([pa.array([round(v) for v in values] if numbers else list(values))])
        try:
            return own.read(column, "regions", lambda k: k + 1).stamps
        except SeriesError:
            if own.time_format == "auto":
                raise
            return replace(own, time_format="auto").read(column, "regions", lambda k: k + 1).stamps

    return read
