"""The Parquet cache in front of a source: a series that was read once is not fetched and validated again.

One file per series, named by the point and by the source's digest of it (options, file, size, time of
change), so a changed file or option is another entry and the old one goes. Each entry holds the hash of its
content and is verified when read; it is written beside its place and moved there, so two processes may share
the folder and ``kill -9`` leaves no half entry. The folder may be deleted at any time.

A damaged entry is fetched again, and the series says so in its notes. A folder that cannot be written is said
once in the log, and series come from the source.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsad.core.errors import CacheError, StorageError
from tsad.core.types import Interval, Series
from tsad.sources.base import Source, digest_of
from tsad.sources.files import PARTIAL, atomic

FORMAT = 1  # goes up when the layout of an entry or the meaning of validation changes
_ENTRY = re.compile(r"[0-9a-f]{16}-[0-9a-f]{24}\.parquet")
_META = b"tsad"
_STALE_PARTIAL = 3600.0  # seconds after which a file that was being written is left over from a kill
log = logging.getLogger(__name__)


def cache_folder(home: Path) -> Path:
    """Where the cache of a store lies."""
    return home / "cache"


class CachedSource(Source):
    """A source with the cache in front of it; reads like the source itself.

    Args:
        source: where series come from.
        folder: where entries lie; made when the first one is written.
        enabled: ``False`` passes everything through.

    Attributes:
        hits, fetched, damaged: entries used, series that came from the source, entries found damaged.
        unwritable: why entries cannot be written, or "".
    """

    def __init__(self, source: Source, folder: Path, enabled: bool = True) -> None:
        super().__init__()
        self.source, self.folder = source, Path(folder)
        self.enabled = enabled and source.cacheable
        self.name, self.cacheable = source.name, source.cacheable
        self.hits = self.fetched = self.damaged = 0
        self.unwritable = ""

    def points(self) -> list[str]:
        return self.source.points()

    def digest(self, point_id: str | None = None) -> str:
        return self.source.digest(point_id)

    def describe(self) -> str:
        return self.source.describe()

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`; neighbours that are not cached are fetched together, as whole series."""
        self.source.failures = self.failures
        if not self.enabled:
            yield from self.source.fetch(point_ids, start, end)
            return
        entries = {point_id: self._path(point_id) for point_id in point_ids}
        for cached, members in groupby(point_ids, key=lambda p: entries[p].exists()):
            names = list(members)
            if not cached:
                yield from self._fetched(names, entries)
                continue
            for point_id in names:
                try:
                    series = load(entries[point_id])
                except CacheError as error:
                    yield from self._again(point_id, entries, error)
                    continue
                self.hits += 1
                yield series

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

    def _fetched(self, point_ids: Sequence[str], entries: dict[str, Path]) -> Iterator[Series]:
        for series in self.source.fetch(point_ids, None, None):
            self.fetched += 1
            if not self.unwritable:
                self._store(series, entries[series.point_id])
            yield series

    def _again(self, point_id: str, entries: dict[str, Path], error: CacheError) -> Iterator[Series]:
        if isinstance(error.__cause__, FileNotFoundError):  # another process has just removed the entry
            yield from self._fetched([point_id], entries)
            return
        self.damaged += 1
        log.warning("%s. It is read again from %s.", error, self.describe())
        for series in self._fetched([point_id], entries):
            yield replace(series, notes={**series.notes, "cache": "entry was damaged: read again"})

    def _store(self, series: Series, path: Path) -> None:
        try:
            save(series, path)
        except StorageError as error:
            self.unwritable = error.found
            log.warning("%s Series are read from %s without the cache.", error, self.describe())
            return
        for older in path.parent.glob(f"{path.name[:16]}-*.parquet"):
            if older.name != path.name:
                _remove(older)

    def _path(self, point_id: str) -> Path:
        owner = digest_of(self.describe(), point_id)[:16]
        return self.folder / f"{owner}-{digest_of(FORMAT, self.source.digest(point_id))[:24]}.parquet"


def save(series: Series, path: Path) -> None:
    """Write an entry, atomically.

    Raises:
        StorageError: disk full, folder read-only.
    """
    meta = {
        "format": FORMAT, "point_id": series.point_id, "channels": series.channels, "time_kind": series.time_kind,
        "labels": None if series.labels is None else [[i.start, i.end, i.label, i.score] for i in series.labels],
        "source": series.source, "notes": dict(series.notes), "rows": len(series),
    }
    meta["content"] = _content(series, meta)
    arrays = [pa.array(series.timestamps), *(pa.array(np.ascontiguousarray(c)) for c in series.values.T)]
    names = ["timestamp", *(f"c{k}" for k in range(len(series.channels)))]
    table = pa.Table.from_arrays(arrays, names).replace_schema_metadata({_META: json.dumps(meta).encode()})
    with atomic(path) as partial:
        pq.write_table(table, str(partial), compression="zstd", use_dictionary=False, write_statistics=False)


def load(path: Path) -> Series:
    """Read an entry and verify it.

    Raises:
        CacheError: truncated, changed or of another format.
    """
    try:
        table = pq.read_table(str(path), memory_map=False, use_threads=False)
        meta: dict[str, Any] = json.loads((table.schema.metadata or {})[_META])
        stamps = table.column(0).to_numpy()
        values = np.empty((table.num_rows, table.num_columns - 1))
        for k in range(values.shape[1]):
            values[:, k] = table.column(k + 1).to_numpy()
        labels = meta["labels"]
        series = Series(
            meta["point_id"], stamps, values, tuple(meta["channels"]), meta["time_kind"],
            None if labels is None else tuple(Interval(*item) for item in labels), meta["source"], meta["notes"],
        )
        content = meta.pop("content")
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CacheError(f"the cache entry {path} is damaged ({str(error).splitlines()[0][:120]})") from error
    if meta.get("format") != FORMAT or content != _content(series, meta):
        raise CacheError(f"the cache entry {path} is damaged (its content does not have the hash it was saved with)")
    return series


@dataclass(frozen=True)
class Freed:
    """What was, or would be, removed."""

    entries: int
    bytes: int


def usage(folder: Path) -> Freed:
    """Number and size of the entries in a cache folder, half-written ones included."""
    sizes = [size for path in _ours(folder) if (size := _size(path)) is not None]
    return Freed(len(sizes), sum(sizes))


def clean(folder: Path, *, older_than_days: float = 0.0, dry_run: bool = False) -> Freed:
    """Remove entries that have not been written for so many days (0 = all); nothing else in the folder is touched.

    Raises:
        CacheError: an entry that cannot be removed.
    """
    limit = time.time() - older_than_days * 86_400
    count = total = 0
    for path in _ours(folder):
        size = _size(path)
        if size is None or (older_than_days > 0 and path.stat().st_mtime > limit):
            continue
        if path.name.endswith(PARTIAL) and path.stat().st_mtime > time.time() - _STALE_PARTIAL:
            continue  # another process is writing it
        if not dry_run:
            _remove(path, strict=True)
        count, total = count + 1, total + size
    return Freed(count, total)


def _ours(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if _ENTRY.fullmatch(p.name) or p.name.endswith(PARTIAL))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has just removed it
        return None


def _remove(path: Path, strict: bool = False) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if strict:
            raise CacheError(f"{path} cannot be removed ({error.strerror})", "Check its permissions.") from error
        log.debug("%s stays for now: %s", path, error)  # Windows: somebody is reading it


def _content(series: Series, meta: dict[str, Any]) -> str:
    said = json.dumps({k: v for k, v in meta.items() if k != "content"}, sort_keys=True)
    return hashlib.sha256(f"{series.digest}|{said}".encode()).hexdigest()
