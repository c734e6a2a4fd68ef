"""Labelled sets for measuring: folders of CSV files with a label column or of TSB-AD's files, and made sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tsad.config.composing import options_of
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, SourceError
from tsad.core.intervals import intervals_to_mask
from tsad.core.reading import SeriesStream
from tsad.core.series import Series
from tsad.core.types import BoolArray
from tsad.sources.base import Source

# Sets that options, default weights or the network's recipe were chosen on: figures there are optimistic.
CHOSEN_ON = frozenset(("AIOPS_KPI", "MSCMD", "NAB", "SMD", "long_shapes"))


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """One set of labelled series.

    Attributes:
        name: the folder's, or the source's (``long_shapes``).
        left_out: after reading, why a series does not count: unreadable, unlabelled, nothing abnormal in it.
    """

    name: str
    source: Source
    cut: int
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source.points())

    @property
    def chosen_on(self) -> str:
        """``yes`` where something was chosen on this set, else ``no``."""
        return "yes" if self.name in CHOSEN_ON else "no"

    def read(self) -> Iterator[tuple[Series, BoolArray]]:
        """Series that hold an anomaly, with their labels by point [T], one at a time; the others are kept by name.

        Raises:
            SourceError: no series holds an anomaly at its whole length.
        """
        self.left_out.clear()
        whole = False
        stream = SeriesStream(self.source.read())
        for series in (read.series for read in stream):
            whole = whole or bool(series.labels)
            series = series.slice(0, self.cut) if 0 < self.cut < len(series) else series
            truth = intervals_to_mask(series.labels or (), series.timestamps)
            if truth.any():
                yield series, truth
            elif series.labels is None:
                self.left_out[series.point_id] = "no labels"
            else:
                self.left_out[series.point_id] = "nothing abnormal" + (f" in its first {self.cut}" if self.cut else "")
        self.left_out.update({point: str(error) for point, error in stream.summary.failures.items()})
        if not whole:
            said = "; ".join(f"{point}: {why}" for point, why in list(self.left_out.items())[:3])
            raise SourceError(f"set {self.name} has no series with an anomaly ({said})", "Check labels, and cut.")

    def labelled(self) -> Iterator[tuple[Series, BoolArray]]:
        """All series that somebody has labelled, also those with nothing abnormal, whole, with labels by point [T].

        Raises:
            SourceError: no series holds an anomaly.
        """
        self.left_out.clear()
        events = 0
        stream = SeriesStream(self.source.read())
        for series in (read.series for read in stream):
            if series.labels is None:
                self.left_out[series.point_id] = "no labels"
                continue
            events += len(series.labels)
            yield series, intervals_to_mask(series.labels, series.timestamps)
        self.left_out.update({point: str(error) for point, error in stream.summary.failures.items()})
        if not events:
            raise SourceError(f"set {self.name} has no series with an anomaly", "Check its labels.")


def open_sets(bench: Workbench, sets: Sequence[str], cut: int) -> list[LabelledSet]:
    """The sets, looked at but not read yet.

    Args:
        sets: folders, or names of files in ``conf/source`` (``long_shapes``); a folder of that name goes first.
        cut: points of each series that count, from its beginning; 0 = all.

    Raises:
        SourceError: a folder that does not exist or holds no CSV file.
        ConfigError: none given, two of one name, or ``cut`` below 0.
    """
    if not sets or cut < 0:
        raise ConfigError(f"sets={list(sets)}, cut={cut}", "Give sets=[FOLDER,...] and cut=0 (all) or more points.")
    opened: dict[str, LabelledSet] = {}
    for text in sets:
        place = Path(text).expanduser()
        name = place.absolute().name
        if name in opened:
            raise ConfigError(f"sets: two of them are called {name}", "Rename a folder: figures are told apart by it.")
        if place.is_dir():
            source = _source(bench, place)
        elif text in options_of("source"):
            source = bench.source_named(text)
        else:
            remedy = "Name folders of labelled CSV files, or a source of conf/source such as long_shapes."
            raise SourceError(f"sets: there is no folder {place.absolute()}", remedy)
        opened[name] = LabelledSet(name, source, cut)
        source.points()
    return list(opened.values())


def _source(bench: Workbench, place: Path) -> Source:
    """TSB-AD's reader where the folder's first file is in that format, else the CSV source."""
    from tsad.sources.tsb_ad import TsbAdSource, is_tsb_ad

    files = sorted(p for pattern in ("*.csv", "*.csv.gz") for p in place.rglob(pattern) if not p.name.startswith("."))
    if files and is_tsb_ad(files[0]):
        return TsbAdSource(root=str(place), glob=["*.csv", "*.csv.gz"])
    return bench.csv_at(place)
