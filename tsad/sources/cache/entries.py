"""One file of the cache: a whole series, or a range of one with the ranges that were fetched for it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsad.core.errors import CacheError
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.files.atomic import atomic
from tsad.files.hashing import digest_of_parts, digest_of_text

FORMAT = 2  # goes up when the layout of an entry or the meaning of validation changes
Fetched = tuple[int, int, float]  # start, end (ns UTC, half-open) and when it was fetched (seconds since 1970)
_META = b"tsad"
_NAME = re.compile(
    r"(?P<point>[0-9a-f]{16})(?:_(?P<start>-?\d{1,19})_(?P<end>-?\d{1,19}))?-(?P<state>[0-9a-f]{24})\.parquet"
)


@dataclass(frozen=True)
class Entry:
    """A file of the cache by its name alone.

    Attributes:
        point: hash of the point's identifier, as :func:`point_key` gives it.
        span: the range it answers for, ns UTC, half-open; ``None`` for a whole series.
    """

    path: Path
    point: str
    span: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Content:
    """What an entry holds: the series (a range without values has no rows), and when its ranges were fetched."""

    series: Series
    fetched: tuple[Fetched, ...]


def point_key(point_id: str) -> str:
    """How a point is named in file names."""
    return digest_of_parts(point_id)[:16]


def entry_of(path: Path) -> Entry | None:
    """What the name of a file says; ``None`` where it is no entry."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    span = None if match["start"] is None else (int(match["start"]), int(match["end"]))
    return Entry(path, match["point"], span)


def whole_name(point_id: str, state: str) -> str:
    """File name of a whole series in the state that its source's digest tells."""
    return f"{point_key(point_id)}-{digest_of_parts(FORMAT, state)[:24]}.parquet"


def save(series: Series, path: Path, fetched: Sequence[Fetched] = ()) -> None:
    """Write a whole series, atomically.

    Raises:
        StorageError: disk full, folder read-only.
    """
    _write(series, path, _about(series, fetched))


def save_piece(content: Content, folder: Path, span: tuple[int, int]) -> Entry:
    """Write what answers for a range; the name tells the range and the content.

    Raises:
        StorageError: disk full, folder read-only.
    """
    about = _about(content.series, content.fetched)
    key = point_key(content.series.point_id)
    entry = Entry(folder / f"{key}_{span[0]}_{span[1]}-{about['content'][:24]}.parquet", key, span)
    _write(content.series, entry.path, about)
    return entry


def load(path: Path) -> Series:
    """Read an entry and verify it.

    Raises:
        CacheError: truncated, changed or of another format.
    """
    return load_content(path).series


def load_content(path: Path) -> Content:
    """As :func:`load`, with the ranges that were fetched."""
    try:
        with pq.ParquetFile(str(path), memory_map=False) as file:  # read_table would take folders named a=b for columns
            table = file.read(use_threads=False)
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
        fetched = tuple((int(a), int(b), float(at)) for a, b, at in meta["fetched"])
        said, content = meta["format"], meta.pop("content")
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CacheError(f"the cache entry {path} is damaged ({str(error).splitlines()[0][:120]})") from error
    if said != FORMAT or content != _hash(series, meta):
        raise CacheError(f"the cache entry {path} is damaged (its content does not have the hash it was saved with)")
    return Content(series, fetched)


def about(path: Path) -> dict[str, Any]:
    """What an entry says of itself, from its footer alone: point_id, rows, channels, time_kind, labels, span, fetched.

    Raises:
        CacheError: it cannot be read.
    """
    try:
        return json.loads((pq.read_schema(str(path)).metadata or {})[_META])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise CacheError(f"the cache entry {path} is damaged ({str(error).splitlines()[0][:120]})") from error


def _about(series: Series, fetched: Sequence[Fetched]) -> dict[str, Any]:
    stamps = series.timestamps
    meta = {
        "format": FORMAT, "point_id": series.point_id, "channels": series.channels, "time_kind": series.time_kind,
        "labels": None if series.labels is None else [[i.start, i.end, i.label, i.score] for i in series.labels],
        "source": series.source, "notes": dict(series.notes), "rows": len(series),
        "span": [int(stamps[0]), int(stamps[-1]) + 1] if len(stamps) else None, "fetched": [list(f) for f in fetched],
    }
    return {**meta, "content": _hash(series, meta)}


def _write(series: Series, path: Path, meta: dict[str, Any]) -> None:
    arrays = [pa.array(series.timestamps), *(pa.array(np.ascontiguousarray(c)) for c in series.values.T)]
    names = ["timestamp", *(f"c{k}" for k in range(len(series.channels)))]
    table = pa.Table.from_arrays(arrays, names).replace_schema_metadata({_META: json.dumps(meta).encode()})
    with atomic(path) as partial:
        pq.write_table(table, str(partial), compression="zstd", use_dictionary=False, write_statistics=False)


def _hash(series: Series, meta: dict[str, Any]) -> str:
    said = json.dumps(meta, sort_keys=True)
    return digest_of_text(f"{series.digest}|{said}")
