"""The folder of the cache as a whole: what it holds, what it uses, and making room in it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsad.core.errors import CacheError, StorageError
from tsad.core.types import TimeKind
from tsad.files.atomic import PARTIAL, STALE_PARTIAL, atomic
from tsad.files.locate import answers_folder
from tsad.sources.cache.entries import Entry, about, entry_of

SOURCE, LABELS = "source.json", "labels.json"  # of a source's folder: its points; labels kept beside its series
STATES, STATE = "states", ".safetensors"  # folder of what passes over series left (detector.refit_every), and its files
_ROOM = 0.9  # of the limit: what a full cache is brought down to
log = logging.getLogger(__name__)


def cache_folder(home: Path) -> Path:
    """Where the cache of a store lies."""
    return home / "cache"


def states_folder(home: Path) -> Path:
    """Where detectors keep what they go on from; a part of the cache, freed and bounded with it."""
    return cache_folder(home) / STATES


@dataclass(frozen=True)
class Freed:
    """What is there, or was, or would be, removed."""

    entries: int
    bytes: int


@dataclass(frozen=True)
class Kept:
    """What the cache holds of one point.

    Attributes:
        source: the source's description, e.g. ``csv:/data/plant``.
        start, end: ns UTC, half-open: from the first to after the last value held.
        labels: number of labelled intervals; ``None`` where nobody has labelled it.
        bytes: on disk.
        fetched_at: when its newest part was fetched, seconds since 1970.
        paths: its files.
    """

    source: str
    point_id: str
    start: int
    end: int
    time_kind: TimeKind
    points: int
    channels: int
    labels: int | None
    bytes: int
    fetched_at: float
    paths: tuple[Path, ...] = ()


def scan(folder: Path) -> dict[str, list[Entry]]:
    """Entries of one source's folder by the key of their point, newest file last; a missing folder is empty."""
    found: dict[str, list[Entry]] = {}
    dated: list[tuple[int, str]] = []
    try:
        items = list(os.scandir(folder))
    except OSError:
        return found
    for item in items:
        with suppress(FileNotFoundError):  # another process has just removed it
            dated.append((item.stat().st_mtime_ns, item.path))
    for _, path in sorted(dated):
        entry = entry_of(Path(path))
        if entry is not None:
            found.setdefault(entry.point, []).append(entry)
    return found


def listing(folder: Path) -> list[Kept]:
    """What the cache holds, a row per source and point, by source and name; damaged entries do not count."""
    found: list[Kept] = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []:
        said = read_json(place / SOURCE)
        for entries in scan(place).values():
            kept = _kept(str(said.get("source", place.name)), entries)
            if kept is not None:
                found.append(kept)
    return sorted(found, key=lambda kept: (kept.source, kept.point_id))


def forget(kept: Iterable[Kept]) -> Freed:
    """Remove what the cache holds of these points; it can be read from its source again.

    Raises:
        CacheError: a file that cannot be removed.
    """
    count = total = 0
    for path in [path for one in kept for path in one.paths]:
        size = _size(path)
        if size is not None:
            remove(path, strict=True)
            count, total = count + 1, total + size
    return Freed(count, total)


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
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process has just removed it
            continue
        if older_than_days > 0 and stat.st_mtime > limit:
            continue
        if path.name.endswith(PARTIAL) and stat.st_mtime > time.time() - STALE_PARTIAL:
            continue  # another process is writing it
        if not dry_run:
            remove(path, strict=True)
        count, total = count + 1, total + stat.st_size
    if not dry_run and folder.is_dir():
        _remove_empty(folder)
    return Freed(count, total)


def shrink(folder: Path, limit: int) -> Freed:
    """Where entries take more than ``limit`` bytes, remove those read least recently until they take 90% of it."""
    sized: list[tuple[float, int, Path]] = []
    for path in _ours(folder):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if not path.name.endswith(PARTIAL):
            sized.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    surplus = sum(size for _, size, _ in sized) - limit
    count = total = 0
    if surplus > 0:
        surplus += int(limit * (1 - _ROOM))
        for _, size, path in sorted(sized):
            if total >= surplus:
                break
            remove(path)
            count, total = count + 1, total + size
        log.info("the cache held more than cache.max_gb: %d entries, %.1f MB removed", count, total / 1e6)
    return Freed(count, total)


def touch(path: Path) -> None:
    """Note that an entry was read now, for :func:`shrink`; mounts without access times are no reason to fail."""
    try:
        os.utime(path, (time.time(), path.stat().st_mtime))
    except OSError as error:
        log.debug("%s: %s", path, error)


def remove(path: Path, strict: bool = False) -> None:
    """Remove a file; one that is gone or (unless ``strict``) cannot be removed is no error.

    Raises:
        CacheError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if strict:
            raise CacheError(f"{path} cannot be removed ({error.strerror})", "Check its permissions.") from error
        log.debug("%s stays for now: %s", path, error)  # Windows: somebody is reading it


def read_json(path: Path) -> dict[str, Any]:
    """A small file of the cache; empty where there is none or it is damaged, since it can be made again."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a small file, atomically; a cache that cannot be written has said so already."""
    try:
        with atomic(path) as partial:
            partial.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    except StorageError as error:
        log.debug("%s", error)


def _kept(source: str, entries: Sequence[Entry]) -> Kept | None:
    said: list[dict[str, Any]] = []
    for entry in entries:
        try:
            said.append(about(entry.path))
        except CacheError as error:
            log.debug("%s", error)
    filled = [one for one in said if one.get("span")]
    if not filled:
        return None
    newest = filled[-1]
    sizes = [_size(entry.path) or 0 for entry in entries]
    times = [float(fetched[2]) for one in filled for fetched in one.get("fetched", [])]
    return Kept(
        source, newest["point_id"], min(one["span"][0] for one in filled), max(one["span"][1] for one in filled),
        newest["time_kind"], sum(one["rows"] for one in filled), len(newest["channels"]),
        None if newest["labels"] is None else len(newest["labels"]), sum(sizes), max(times, default=0.0),
        tuple(entry.path for entry in entries),
    )


def _ours(folder: Path) -> Iterator[Path]:
    """Files of the cache: entries, in folders of sources or (the former layout) without, half-written ones, states,
    what was read of Label Studio's tasks."""
    if not folder.is_dir():
        return
    answers = answers_folder(folder.parent)
    for path in sorted(folder.rglob("*")):
        other = path.parent == answers or (path.suffix == STATE and path.parent.name == STATES)
        if other or path.name.endswith(PARTIAL) or (path.suffix == ".parquet" and entry_of(path) is not None):
            yield path


def _remove_empty(folder: Path) -> None:
    """Folders of sources of which nothing is left."""
    for place in [p for p in folder.iterdir() if p.is_dir()]:
        if all(path.name in (SOURCE, LABELS) for path in place.iterdir()):
            for name in (SOURCE, LABELS):
                remove(place / name)
            try:
                place.rmdir()
            except OSError as error:  # another process has just written into it
                log.debug("%s stays: %s", place, error)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has just removed it
        return None
