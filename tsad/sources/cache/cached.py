"""A source with the cache in front of it: memory, then disk, then the source; the cache alone when that is gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from tsad.core.errors import CacheError, ConfigError, OfflineError, SourceUnavailableError, StorageError
from tsad.core.series import Series
from tsad.core.types import Detection, Interval
from tsad.files.atomic import atomic
from tsad.sources.base import Labelling, Source
from tsad.sources.cache.entries import Content, Entry, load_content, point_key, save, whole_name
from tsad.sources.cache.folder import LABELS, SOURCE, read_json, remove, scan, shrink, touch, write_json
from tsad.sources.cache.provenance import Level, Part
from tsad.sources.cache.ranged import RangedReader
from tsad.sources.cache.working_set import WorkingSet

OFFLINE = ("allow", "refuse", "only")
log = logging.getLogger(__name__)


class CachedSource(Source):
    """Reads like the source itself, and remembers where each range came from.

    A range that is cached is not fetched again; a gap is fetched alone. A damaged entry is fetched again, and the
    series says so in its notes. A folder that cannot be written is said once in the log, and series come from the
    source.

    Args:
        source: where series come from.
        folder: where the cache lies; made when the first entry is written.
        enabled: ``False`` passes everything through.
        offline: ``allow`` = the cache answers while the source cannot be reached; ``refuse`` = that is an error;
            ``only`` = the source is never asked.
        late_seconds: ranged sources: values may arrive this much after their timestamp; what was fetched earlier than
            that is fetched again.
        max_bytes: of the folder; 0 = unbounded.
        memory: the working set, shared by the sources of a process; ``None`` = none.

    Attributes:
        hits, fetched, damaged: series that the cache gave alone, series that the source was asked for, damaged entries.
        unwritable: why entries cannot be written, or "".
        unreachable: why the source could not be asked, or "".
        provenance: after a read, where the ranges of each series came from.

    Raises:
        ConfigError: an unknown ``offline``.
    """

    def __init__(
        self, source: Source, folder: Path, enabled: bool = True, *, offline: str = "allow", late_seconds: float = 0.0,
        max_bytes: int = 0, memory: WorkingSet | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if offline not in OFFLINE:
            raise ConfigError(f"cache.offline={offline!r} is not known", f"Take {', '.join(OFFLINE)}.")
        self.source, self.folder = source, Path(folder)
        self.place = self.folder / source.identity()[:16]
        self.enabled = enabled and source.cacheable
        self.name, self.cacheable, self.rules = source.name, source.cacheable, source.rules
        self.write_back, self.span = source.write_back, source.span
        self.ranged = source.ranged and not self.enabled  # from the cache they come whole
        self.offline, self.late_seconds, self.max_bytes = offline, late_seconds, max_bytes
        self.memory = WorkingSet() if memory is None else memory
        self.hits = self.fetched = self.damaged = 0
        self.unwritable = self.unreachable = ""
        self.provenance: dict[str, tuple[Part, ...]] = {}

    def points(self) -> list[str]:
        """See :meth:`Source.points`; the last list that the source gave while it cannot be asked.

        Raises:
            OfflineError: ``offline=only``, and the cache has never seen this source.
        """
        if not self.enabled:
            return self.source.points()
        if self.online:
            try:
                found = self.source.points()
            except SourceUnavailableError as error:
                self.cannot_reach(error)
            else:
                self._keep_points(found)
                return found
        known = read_json(self.place / SOURCE).get("points")
        if not known:
            why = self.unreachable or "cache.offline=only"
            raise OfflineError(
                f"the cache knows nothing of {self.describe()} ({why})", "Run tsad ingest while it can be reached."
            )
        return [str(point) for point in known]

    def digest(self, point_id: str | None = None) -> str:
        return self.source.digest(point_id)

    def describe(self) -> str:
        return self.source.describe()

    def identity(self) -> str:
        return self.source.identity()

    def extents(self, point_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See :meth:`Source.extents`; what the cache covers while a ranged source cannot be asked."""
        if not self.source.ranged:
            return super().extents(point_ids)
        if self.online:
            try:
                return self.source.extents(point_ids)
            except SourceUnavailableError as error:
                self.cannot_reach(error)
        return RangedReader(self).covered(point_ids)

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`; those it gave last while it cannot be asked."""
        if not self.enabled:
            return self.source.annotations(point_ids)
        if self.online:
            try:
                said = self.source.annotations(point_ids)
            except SourceUnavailableError as error:
                self.cannot_reach(error)
            else:
                if said is not None:
                    self._keep_labels(point_ids, said)
                return said
        kept = {point: _labelling(one) for point, one in read_json(self.place / LABELS).items()}
        return {p: kept[p] for p in point_ids if p in kept} or None

    def write(self, series: Series, detection: Detection) -> int:
        return self.source.write(series, detection)

    def close(self) -> None:
        self.source.close()

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`; valid series, also where the source itself gives pieces."""
        self.provenance = {}
        self.source.failures = self.failures
        if not self.enabled:
            for series in self.source.fetch(point_ids, start, end):
                self.note(series, "source", time.time())
                yield series
        elif self.source.ranged:
            yield from RangedReader(self).read(point_ids, start, end)
        else:
            yield from self._whole(point_ids)
        self._make_room()

    def require_writable(self) -> None:
        """Say now, not after hours, that entries cannot be written.

        Raises:
            CacheError: the folder cannot be made or written.
        """
        if not self.enabled:
            return
        try:
            with atomic(self.folder / ".writable") as partial:
                partial.write_bytes(b"")
            (self.folder / ".writable").unlink(missing_ok=True)
        except StorageError as error:
            raise CacheError(f"the cache cannot be written: {error.found}", error.remedy) from error

    # -- what the ranged reader shares ----------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Whether the source may be asked, as far as known."""
        return not self.enabled or (self.offline != "only" and not self.unreachable)

    def cannot_reach(self, error: SourceUnavailableError) -> None:
        """From here on the cache answers alone, where it may.

        Raises:
            SourceUnavailableError: ``offline=refuse``, or there is no cache.
        """
        if not self.enabled or self.offline == "refuse":
            raise error
        if not self.unreachable:
            log.warning("%s. The cache answers in its place.", error.found.rstrip("."))
        self.unreachable = error.found

    def note(self, series: Series, level: Level, at: float) -> None:
        """Remember that a whole series came from one level."""
        span = int(series.timestamps[0]), int(series.timestamps[-1]) + 1
        self.provenance[series.point_id] = (Part(*span, level, at, series.time_kind),)

    def load(self, entry: Entry) -> tuple[Content, Level]:
        """What an entry holds, and whether memory or the disk had it.

        Raises:
            CacheError: damaged, or gone; a damaged one is removed.
        """
        kept = self.memory.get(entry.path)
        if kept is not None:
            return kept, "memory"
        try:
            content = load_content(entry.path)
        except CacheError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # another process has just removed it
                self.damaged += 1
                log.warning("%s. It is read again from %s.", error, self.describe())
                remove(entry.path)
            raise
        touch(entry.path)
        self.memory.put(entry.path, content)
        return content, "cache"

    def stopped_writing(self, error: StorageError) -> None:
        """Say once that series are read without the cache from here on."""
        if not self.unwritable:
            log.warning("%s Series are read from %s without the cache.", error, self.describe())
        self.unwritable = error.found

    # -- whole series ---------------------------------------------------------------------------------

    def _whole(self, point_ids: Sequence[str]) -> Iterator[Series]:
        """Neighbours that are not cached are fetched together, as whole series."""
        if not self.online:
            yield from self._whole_offline(point_ids)
            return
        try:
            paths = {p: self.place / whole_name(p, self.source.digest(p)) for p in point_ids}
        except SourceUnavailableError as error:
            self.cannot_reach(error)
            yield from self._whole_offline(point_ids)
            return
        there = {e.path for entries in scan(self.place).values() for e in entries}
        for cached, members in groupby(point_ids, key=lambda p: paths[p] in there or paths[p] in self.memory):
            names = list(members)
            if not cached:
                yield from self._fetched(names, paths)
                continue
            for point_id in names:
                try:
                    content, level = self.load(Entry(paths[point_id], point_key(point_id), None))
                except CacheError as error:
                    damaged = not isinstance(error.__cause__, FileNotFoundError)
                    for series in self._fetched([point_id], paths):
                        notes = {**series.notes, "cache": "entry was damaged: read again"}
                        yield replace(series, notes=notes) if damaged else series
                    continue
                yield self._hit(content, level)

    def _hit(self, content: Content, level: Level) -> Series:
        self.hits += 1
        self.note(content.series, level, content.fetched[0][2] if content.fetched else 0.0)
        return content.series

    def _fetched(self, point_ids: Sequence[str], paths: dict[str, Path]) -> Iterator[Series]:
        for series in self.source.fetch(point_ids, None, None):
            self.fetched += 1
            now = time.time()
            content = Content(series, ((int(series.timestamps[0]), int(series.timestamps[-1]) + 1, now),))
            self._store(content, paths[series.point_id])
            self.note(series, "source", now)
            yield series

    def _store(self, content: Content, path: Path) -> None:
        self.memory.put(path, content)
        if self.unwritable:
            return
        try:
            save(content.series, path, content.fetched)
        except StorageError as error:
            self.stopped_writing(error)
            return
        for older in path.parent.glob(f"{path.name[:16]}-*.parquet"):
            if older.name != path.name:
                remove(older)
                self.memory.drop(older)

    def _whole_offline(self, point_ids: Sequence[str]) -> Iterator[Series]:
        """The newest entry of each point, whatever the state of the source."""
        entries = scan(self.place)
        for point_id in point_ids:
            for entry in reversed(entries.get(point_key(point_id), [])):
                try:
                    content, level = self.load(entry)
                except CacheError:
                    continue
                yield self._hit(content, level)
                break
            else:
                self.failures[point_id] = self.nothing_of(point_id)

    def nothing_of(self, point_id: str) -> OfflineError:
        """What a point is left out for that the cache alone cannot give."""
        why = self.unreachable or "cache.offline=only"
        return OfflineError(
            f"the cache holds nothing of {point_id!r} in the range asked for, and its source is not asked ({why})",
            "Run tsad ingest while the source can be reached.",
        )

    # -- the folder -----------------------------------------------------------------------------------

    def _keep_points(self, found: Sequence[str]) -> None:
        said = read_json(self.place / SOURCE)
        if (said.get("points"), said.get("source")) != (list(found), self.describe()) and not self.unwritable:
            write_json(self.place / SOURCE, {"source": self.describe(), "points": list(found)})

    def _keep_labels(self, asked: Sequence[str], said: dict[str, Labelling]) -> None:
        kept = read_json(self.place / LABELS)
        now = {p: v for p, v in kept.items() if p not in set(asked)}
        now |= {point: asdict(one) for point, one in said.items()}
        if now != kept and not self.unwritable:
            write_json(self.place / LABELS, now)

    def _make_room(self) -> None:
        if self.enabled and self.max_bytes and self.fetched:
            shrink(self.folder, self.max_bytes)


def _labelling(said: dict[str, list[dict[str, object]]]) -> Labelling:
    intervals, disputed = (tuple(Interval(**item) for item in said[k]) for k in ("intervals", "disputed"))  # type: ignore[arg-type]
    return Labelling(intervals, disputed)
