"""Reading a source of whole series through the cache: what its digest names is there, or it is fetched and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from tsad.core.errors import CacheError, SourceUnavailableError, StorageError
from tsad.core.reading import Level, Part, ReadFailure, SeriesRead
from tsad.sources.base import from_source
from tsad.sources.cache.entries import Content, Entry, point_key, save, whole_name
from tsad.sources.cache.folder import remove, scan
from tsad.sources.cache.session import CacheSession


class WholeReader:
    """One read: neighbours that are not cached are fetched together, as whole series."""

    def __init__(self, session: CacheSession) -> None:
        self.session = session

    def read(self, point_ids: Sequence[str]) -> Iterator[SeriesRead | ReadFailure]:
        """Valid series in the order asked; failures by name."""
        session = self.session
        if not session.online:
            yield from self._offline(point_ids)
            return
        try:
            paths = {p: session.place / whole_name(p, session.source.digest(p)) for p in point_ids}
        except SourceUnavailableError as error:
            session.cannot_reach(error)
            yield from self._offline(point_ids)
            return
        there = {e.path for entries in scan(session.place).values() for e in entries}
        for cached, members in groupby(point_ids, key=lambda p: paths[p] in there or paths[p] in session.memory):
            if cached:
                for point_id in members:
                    yield from self._cached(point_id, paths)
            else:
                yield from self._fetched(list(members), paths)

    def _cached(self, point_id: str, paths: dict[str, Path]) -> Iterator[SeriesRead | ReadFailure]:
        try:
            content, level = self.session.load(Entry(paths[point_id], point_key(point_id), None))
        except CacheError as error:
            damaged = not isinstance(error.__cause__, FileNotFoundError)
            for item in self._fetched([point_id], paths):
                if damaged and isinstance(item, SeriesRead):
                    notes = {**item.series.notes, "cache": "entry was damaged: read again"}
                    item = replace(item, series=replace(item.series, notes=notes))
                yield item
            return
        yield self._hit(content, level)

    def _hit(self, content: Content, level: Level) -> SeriesRead:
        self.session.hits += 1
        series = content.series
        at = content.fetched[0][2] if content.fetched else 0.0
        span = int(series.timestamps[0]), int(series.timestamps[-1]) + 1
        return SeriesRead(series, (Part(*span, level, at, series.time_kind),))

    def _fetched(self, point_ids: Sequence[str], paths: dict[str, Path]) -> Iterator[SeriesRead | ReadFailure]:
        for item in self.session.source.fetch(point_ids, None, None):
            if isinstance(item, ReadFailure):
                yield item
                continue
            self.session.fetched += 1
            read = from_source(item)
            (part,) = read.parts
            self._store(Content(item, ((part.start, part.end, part.fetched_at),)), paths[item.point_id])
            yield read

    def _store(self, content: Content, path: Path) -> None:
        session = self.session
        session.memory.put(path, content)
        if session.unwritable:
            return
        try:
            save(content.series, path, content.fetched)
        except StorageError as error:
            session.stopped_writing(error)
            return
        for older in path.parent.glob(f"{path.name[:16]}-*.parquet"):
            if older.name != path.name:
                remove(older)
                session.memory.drop(older)

    def _offline(self, point_ids: Sequence[str]) -> Iterator[SeriesRead | ReadFailure]:
        """The newest entry of each point, whatever the state of the source."""
        entries = scan(self.session.place)
        for point_id in point_ids:
            for entry in reversed(entries.get(point_key(point_id), [])):
                try:
                    content, level = self.session.load(entry)
                except CacheError:
                    continue
                yield self._hit(content, level)
                break
            else:
                yield ReadFailure(point_id, self.session.nothing_of(point_id))
