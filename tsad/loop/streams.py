"""Points whose values come one after the other: what is known of each, and what has changed with the newest values."""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import SeriesError
from tsad.core.names import safe_name
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.times import format_time, parse_time
from tsad.core.types import Detection
from tsad.files.atomic import atomic
from tsad.files.hashing import digest_of_text
from tsad.loop.predicting import PredictedBy, PredictedInterval, proposed_intervals

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion

log = logging.getLogger("tsad")
KEPT_SHARE = 0.75  # of the bound that stays when it is passed: the state is fitted anew then, so not at each point
IN_MEMORY = 1000  # points; others are read again from their files
IDLE = 7 * 24 * 3600.0  # seconds without a value after which a point is forgotten


@dataclass(frozen=True, eq=False)
class IntervalChange(Result):
    """An interval as it was proposed before and as it is now; ``None`` = it was, or is, not."""

    before: PredictedInterval | None
    now: PredictedInterval | None


@dataclass(frozen=True, eq=False)
class PointChanged(Result):
    """What the newest values of a point have changed.

    Attributes:
        points: that are held of it now, of which ``appended`` are new. start, end: the first and the last one's time.
        proposed: intervals that are proposed in them.
        changes: against the answer before, in the order of time.
        state: digest of the state that it was scored under, and why that was fitted now; ``None`` where the detector
            looks at everything afresh.
        too_old: values that lie before all that is held, and are not used.
        scores: of the values of this request, in the order of time.
    """

    loop: str
    point_id: str
    model_version: str
    origin: PredictedBy
    points: int
    appended: int
    start: str
    end: str
    threshold: float
    proposed: int
    changes: tuple[IntervalChange, ...]
    seconds: float
    state: str | None = None
    refitted: str = ""
    too_old: int = 0
    notes: Mapping[str, int | float | str] = field(default_factory=dict)
    scores: tuple[float, ...] | None = None


@dataclass(eq=False)
class _Held:
    """A point's newest values, what was last proposed in them, and the lock that keeps its requests in order."""

    series: Series | None = None
    intervals: tuple[PredictedInterval, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, eq=False)
class _GoingOn:
    """A version where it goes on from what it has made before, for as long as the one that it was made ``of`` lives."""

    of: weakref.ref[LoadedVersion]
    version: LoadedVersion


@dataclass(eq=False)
class PointStreams:
    """The points of all loops. Safe to use from several threads: of one point values are taken in one after the other.

    Values of a time that is held already replace those: a request that is sent again changes nothing.

    Args:
        folder: what is held lies there too, so that it outlives this process; may be deleted at any time.
        most: points in time that are held of each; the oldest go.
        points: such points of all loops; those whose values came longest ago go (:meth:`let_go`).
    """

    folder: Path
    most: int
    points: int = IN_MEMORY
    _held: OrderedDict[tuple[str, str], _Held] = field(default_factory=OrderedDict)
    _versions: dict[str, _GoingOn] = field(default_factory=dict)  # of each loop the one that last answered
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, loop: str, loaded: LoadedVersion, values: Series, scores: bool) -> PointChanged:
        """Take values in and say what has changed.

        Args:
            values: of the point that it names, already valid. scores: whether they are asked for.

        Raises:
            SeriesError: they do not fit what is held: other channels, another kind of time.
            DetectorError: they cannot be scored.
            StorageError: what is held cannot be written.
        """
        held = self._of(loop, values.point_id)
        with held.lock:
            begun = time.monotonic()
            file = self._file(loop, values.point_id)
            if held.series is None:
                held.series, held.intervals = _read(file)
            series, mixed = with_newest(held.series, values, self.most)
            (detection,) = self._going_on(loop, loaded).detections([series])
            now, used = proposed_intervals(detection, series), detection.state
            changes = changes_between(held.intervals, now, series)
            _write(file, series, now)
            held.series, held.intervals = series, now
            kind = series.time_kind
            return PointChanged(
                loop=loop, point_id=series.point_id, model_version=detection.origin.model_version,
                origin=PredictedBy.of(detection.origin), points=len(series), appended=mixed.new,
                start=format_time(int(series.timestamps[0]), kind), end=format_time(int(series.timestamps[-1]), kind),
                threshold=detection.threshold, proposed=len(now), changes=changes, seconds=time.monotonic() - begun,
                state=None if used is None else used.digest, refitted="" if used is None else used.refitted,
                too_old=mixed.too_old, notes=values.notes, scores=_scores_of(detection, series, values, scores),
            )  # fmt: skip

    def forget(self, loop: str, point_id: str) -> bool:
        """Begin a point anew; whether anything was held of it."""
        held = self._of(loop, point_id)
        with held.lock:
            file = self._file(loop, point_id)
            known = held.series is not None or file.exists()
            held.series, held.intervals = None, ()
            file.unlink(missing_ok=True)
            return known

    def let_go(self) -> None:
        """Forget points without a value for long, and beyond so many; of the detectors' states as well.

        Raises:
            OSError: the folder cannot be read, or files in it not deleted.
        """
        gone = {
            file for files in (self.folder.glob("*/*.safetensors"), self.folder.glob("*/states/*.safetensors"))
            for file in _unused(files, self.points)
        }  # fmt: skip
        for file in gone:
            file.unlink(missing_ok=True)
        if gone:
            log.info("%d files of points without new values are forgotten", len(gone))
            with self._lock:
                for key in [key for key, held in self._held.items() if not held.lock.locked()]:
                    if self._file(*key) in gone:
                        del self._held[key]

    def _of(self, loop: str, point_id: str) -> _Held:
        """What is held of a point; those that nobody has asked about for long are in their files alone."""
        with self._lock:
            held = self._held.setdefault((loop, point_id), _Held())
            self._held.move_to_end((loop, point_id))
            for key in [*self._held][: -min(IN_MEMORY, self.points)]:
                if not self._held[key].lock.locked():
                    del self._held[key]
            return held

    def _file(self, loop: str, point_id: str) -> Path:
        name = digest_of_text(f"{loop}|{point_id}")[:32]
        return self.folder / safe_name(loop) / f"{name}.safetensors"

    def _going_on(self, loop: str, loaded: LoadedVersion) -> LoadedVersion:
        """The version where it goes on from what it has made of a point before, kept as long as it is the same."""
        with self._lock:
            known = self._versions.get(loop)
            if known is None or known.of() is not loaded:
                refit_every = float(getattr(loaded.detector.settings, "refit_every", 0.0))
                states = self.folder / safe_name(loop) / "states"
                version = replace(loaded, detector=loaded.detector.continuing(states, refit_every))
                known = self._versions[loop] = _GoingOn(weakref.ref(loaded, partial(self._drop, loop)), version)
            return known.version

    def _drop(self, loop: str, of: weakref.ref[LoadedVersion]) -> None:
        """The version is not in memory any more, nor is what goes on from it. Called any time, so without the lock."""
        known = self._versions.get(loop)
        if known is not None and known.of is of:
            self._versions.pop(loop, None)


@dataclass(frozen=True)
class Mixed:
    """How many values of a request were new, and how many too old to be used."""

    new: int
    too_old: int


def with_newest(held: Series | None, values: Series, most: int) -> tuple[Series, Mixed]:
    """What is held with the newest values behind it, or in the place of those of the same time.

    Args:
        most: points; where there are more, the newest three quarters of so many stay.

    Raises:
        SeriesError: the values are of other channels, or of another kind of time.
    """
    if held is None:
        series = values.slice(max(0, len(values) - most), len(values))
        return series, Mixed(len(series), len(values) - len(series))
    if (held.channels, held.time_kind) != (values.channels, values.time_kind):
        found = f"{values.point_id} has the channels {', '.join(held.channels)} by {held.time_kind}"
        remedy = "Send values of the same, or DELETE the point to begin anew."
        raise SeriesError(f"{found}, and these are {', '.join(values.channels)} by {values.time_kind}", remedy)
    first = int(np.searchsorted(values.timestamps, held.timestamps[0]))
    new = int((~np.isin(values.timestamps[first:], held.timestamps)).sum())
    old = ~np.isin(held.timestamps, values.timestamps[first:])
    stamps = np.concatenate((held.timestamps[old], values.timestamps[first:]))
    order = np.argsort(stamps, kind="stable")
    rows = np.concatenate((held.values[old], values.values[first:]))[order]
    begin = len(order) - int(most * KEPT_SHARE) if len(order) > most else 0
    series = Series(values.point_id, stamps[order][begin:], rows[begin:], values.channels, values.time_kind)
    return series, Mixed(new, first)


def changes_between(
    before: Sequence[PredictedInterval], now: Sequence[PredictedInterval], series: Series
) -> tuple[IntervalChange, ...]:
    """What differs between two answers about a point, in the order of time; intervals are matched by their start.

    Args:
        series: what is held now; what lies before it has not changed, but is forgotten.
    """
    kind, first = series.time_kind, int(series.timestamps[0])
    known = {i.start: i for i in before if parse_time(i.end, kind) > first}
    fresh = {i.start: i for i in now}
    starts = sorted({*known, *fresh}, key=lambda text: parse_time(text, kind))
    pairs = [(known.get(start), fresh.get(start)) for start in starts]
    return tuple(IntervalChange(a, b) for a, b in pairs if a != b)


def _scores_of(detection: Detection, series: Series, values: Series, wanted: bool) -> tuple[float, ...] | None:
    """Scores of the values of this request."""
    if not wanted or detection.scores is None:
        return None
    return tuple(detection.scores[np.isin(series.timestamps, values.timestamps)].tolist())


def _unused(files: Iterable[Path], most: int) -> list[Path]:
    """Files that were not written for long, and the oldest where there are too many."""
    written = list[tuple[float, Path]]()
    for file in files:
        with suppress(FileNotFoundError):
            written.append((file.stat().st_mtime, file))
    written.sort(reverse=True)
    old = time.time() - IDLE
    return [file for place, (at, file) in enumerate(written) if place >= most or at < old]


def _read(file: Path) -> tuple[Series | None, tuple[PredictedInterval, ...]]:
    """What is held of a point, and what was last proposed in it; what cannot be read is as if it were not there."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return None, ()
    try:
        with safe_open(file, framework="numpy") as opened:
            about: dict[str, Any] = json.loads((opened.metadata() or {})["tsad"])
            stamps, rows = opened.get_tensor("timestamps"), opened.get_tensor("values")
        series = Series(about["point_id"], stamps, rows, tuple(about["channels"]), about["time_kind"])
        return series, tuple(PredictedInterval.from_json(i) for i in about["intervals"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%s): its point begins anew", file, error)
        return None, ()


def _write(file: Path, series: Series, intervals: Sequence[PredictedInterval]) -> None:
    from safetensors.numpy import save_file

    about = {
        "point_id": series.point_id, "channels": list(series.channels), "time_kind": series.time_kind,
        "intervals": [i.to_json() for i in intervals],
    }  # fmt: skip
    arrays = {"timestamps": np.ascontiguousarray(series.timestamps), "values": np.ascontiguousarray(series.values)}
    with atomic(file) as draft:
        save_file(arrays, draft, {"tsad": json.dumps(about)})
