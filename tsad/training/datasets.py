"""Dataset versions: immutable sets of reviewed windows with their values, named by their content.

On disk a version is a folder of three files: ``manifest.json`` (format, version, purpose, counts, SHA-256 of
the other two), ``windows.json`` (one record per reviewed window) and ``series.parquet`` (one row per excerpt).
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsad.core.errors import DatasetError
from tsad.core.intervals import intervals_to_mask
from tsad.core.reviews import DatasetVersion, Purpose, ReviewedWindow
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray
from tsad.core.windows import excerpts
from tsad.files import atomic
from tsad.files.hashing import digest_of_file
from tsad.files.series_table import series_of, series_table
from tsad.training import records

FORMAT = 1
MANIFEST, WINDOWS, SERIES = "manifest.json", "windows.json", "series.parquet"
_ROW_GROUP = 256  # excerpts per Parquet row group


def build(
    reviewed: Sequence[ReviewedWindow], purpose: Purpose, context: int, meta: Mapping[str, Any] | None = None
) -> DatasetVersion:
    """A dataset version of the usable windows among ``reviewed`` (ACCEPTED, CORRECTED or ANNOTATED).

    A window given twice, or overlapping another of its series, counts once: the later in the order given wins.
    The version's windows refer to excerpts of their series (``context`` points on either side). The excerpts
    carry no labels: what nobody reviewed must not reach training.
    """
    kept = _settle([r for r in reviewed if r.usable])
    placed = excerpts([r.window for r in kept], context)
    bare: dict[int, Series] = {}
    windows: list[ReviewedWindow] = []
    for one, window in zip(kept, placed, strict=True):
        series = bare.setdefault(id(window.series), dataclasses.replace(window.series, labels=None))
        choice = dataclasses.replace(
            one.choice, window=Window(series, window.start, window.stop), purpose=Purpose(purpose)
        )
        windows.append(dataclasses.replace(one, choice=choice))
    return _version(windows, Purpose(purpose), {**(meta or {}), "context": context})


def merge(parent: DatasetVersion, new: DatasetVersion) -> DatasetVersion:
    """``parent`` with the windows of ``new`` added; ``new`` wins.

    A window of the parent that ``new`` reviews again, or that shares a point in time with a window of ``new`` on
    the same series, is left out entirely: two answers for one point would contradict each other. ``meta`` is
    that of ``new``.

    Raises:
        DatasetError: one is a gold set and the other a training set.
    """
    if parent.purpose != new.purpose:
        raise DatasetError(
            f"Dataset versions {parent.digest} ({parent.purpose}) and {new.digest} ({new.purpose}) cannot be merged",
            "Gold windows never train: merge versions of one purpose.",
        )
    return _version(_settle([*parent.windows, *new.windows]), new.purpose, new.meta)


def masks(version: DatasetVersion) -> list[BoolArray]:
    """Which points of each window people call abnormal; [L] bool each, in the order of the windows."""
    return [intervals_to_mask(r.intervals, r.window.timestamps) for r in version.windows]


def content_hash(windows: Iterable[ReviewedWindow], purpose: Purpose) -> str:
    """Name of a set of windows: 16 hex digits of a SHA-256, the same on every machine.

    It covers the purpose and, window after window, identity, channels, time kind, state, inclusion probability
    and strategy (estimates depend on them), intervals (start, end, label), timestamps and values. It leaves out
    context points, annotators and their ids, proposals and ``meta``: the same truth about the same points is the
    same version, whoever said it. Every NaN counts as the same NaN, and -0.0 as 0.0.
    """
    sha = hashlib.sha256(f"tsad dataset {Purpose(purpose).value}".encode())
    for one in windows:
        window, choice = one.window, one.choice
        head = [
            window.window_id, window.point_id, list(window.values.shape), window.series.channels,
            window.series.time_kind, one.state.value, float(choice.probability), choice.strategy,
            [(i.start, i.end, i.label) for i in one.intervals],
        ]  # fmt: skip
        sha.update(json.dumps(head).encode())
        sha.update(window.timestamps.astype("<i8").tobytes())
        values = window.values + 0.0
        values[np.isnan(values)] = np.nan
        sha.update(values.astype("<f8").tobytes())
    return sha.hexdigest()[:16]


def save(version: DatasetVersion, folder: Path) -> None:
    """Write a version to ``folder``, whole or not at all; an older content of the folder is replaced.

    Raises:
        StorageError: disk full, read-only folder.
        DatasetError: ``meta`` holds something that JSON cannot.
    """
    import pyarrow.parquet as pq

    pieces: dict[int, int] = {}  # id of an excerpt -> its row
    unique: list[Series] = []
    for one in version.windows:
        if id(one.window.series) not in pieces:
            pieces[id(one.window.series)] = len(unique)
            unique.append(one.window.series)
    rows = [records.window_record(r, pieces[id(r.window.series)]) for r in version.windows]
    try:
        meta = json.loads(json.dumps(dict(version.meta)))
    except TypeError as error:
        raise DatasetError(f"meta of dataset version {version.digest}: {error}", "Keep to JSON values.") from error
    with atomic.new_folder(Path(folder)) as fresh:
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (fresh / WINDOWS).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        pq.write_table(
            series_table(unique), fresh / SERIES, row_group_size=_ROW_GROUP, compression="zstd",
            use_dictionary=False, write_statistics=False,
        )  # fmt: skip
        manifest = {
            "format": FORMAT, "version": version.digest, "purpose": version.purpose.value,
            "windows": len(rows), "positive": sum(bool(r.intervals) for r in version.windows),
            "series": len({r.window.point_id for r in version.windows}), "excerpts": len(unique),
            "points": sum(len(r.window) for r in version.windows), "meta": meta,
            "sha256": {name: _digest(fresh / name) for name in (WINDOWS, SERIES)},
        }  # fmt: skip
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path) -> DatasetVersion:
    """Read a version back, verified: the files by their SHA-256, the content by the hash that names it.

    Raises:
        DatasetError: the folder is missing, damaged, or written by a newer tsad.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    manifest = _manifest(folder)
    for name, expected in manifest["sha256"].items():
        if _digest(folder / name) != expected:
            raise _damaged(folder / name, "its bytes are not those that were saved")
    try:
        purpose = Purpose(manifest["purpose"])
        series = series_of(pq.read_table(folder / SERIES, partitioning=None))
        rows = json.loads((folder / WINDOWS).read_text(encoding="utf-8"))
        windows = [records.window_of(row, series, purpose) for row in rows]
    except (KeyError, IndexError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if content_hash(windows, purpose) != manifest["version"]:
        raise _damaged(folder / WINDOWS, f"its content is not that of version {manifest['version']}")
    return DatasetVersion(manifest["version"], tuple(windows), purpose, manifest["meta"])


def _version(windows: Iterable[ReviewedWindow], purpose: Purpose, meta: Mapping[str, Any]) -> DatasetVersion:
    ordered = sorted(windows, key=lambda r: (r.window.point_id, int(r.window.timestamps[0])))
    return DatasetVersion(content_hash(ordered, purpose), tuple(ordered), purpose, dict(meta))


def _settle(reviewed: Sequence[ReviewedWindow]) -> list[ReviewedWindow]:
    """Disjoint windows per series; from the last to the first, each stays if it overlaps none that stayed."""
    taken: dict[str, list[tuple[int, int]]] = {}  # point -> sorted (first, last) timestamps, disjoint
    kept = []
    for one in reversed(reviewed):
        stamps = one.window.timestamps
        first, last = int(stamps[0]), int(stamps[-1])
        spans = taken.setdefault(one.window.point_id, [])
        at = bisect.bisect_left(spans, (first, last))
        if (at < len(spans) and spans[at][0] <= last) or (at > 0 and first <= spans[at - 1][1]):
            continue
        spans.insert(at, (first, last))
        kept.append(one)
    return kept[::-1]


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{folder} is no dataset version: {MANIFEST} is missing", "Name the folder that datasets.save wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(manifest, dict) or not {"format", "version", "purpose", "sha256", "meta"} <= manifest.keys():
        raise _damaged(path, "keys are missing")
    if manifest["format"] != FORMAT:
        raise DatasetError(
            f"{path} has format {manifest['format']}; this tsad reads format {FORMAT}", "Upgrade tsad."
        )
    return manifest


def _digest(path: Path) -> str:
    try:
        return digest_of_file(path)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _damaged(path: Path, why: str) -> DatasetError:
    return DatasetError(
        f"Dataset version is damaged: {path} ({why})",
        "Fetch it again from its MLflow run, or build it anew from the reviews.",
    )
