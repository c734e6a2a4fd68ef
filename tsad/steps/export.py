"""Reviewed data as a CSV of intervals, as Label Studio JSON, or as rows for other trainers."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.intervals import merge_kinds
from tsad.core.names import cell
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion, ReviewedWindow
from tsad.core.times import format_time
from tsad.files.atomic import atomic, storage
from tsad.files.hashing import digest_of_file, digest_of_text
from tsad.loop.datasets import fetch, latest_training
from tsad.loop.opening import open_loop
from tsad.steps.training_rows import ROWS, Written, write_rows

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore

@dataclass(frozen=True, eq=False)
class Exported(Result):
    """A written file of a dataset version.

    Attributes:
        rows: intervals (``csv``), tasks (``label_studio``), or questions with their answers.
        files: how many were written, with what lies ``beside`` it: a folder of pictures, ``dataset_info.json``.
        export: name of the record that ``tsad data`` lists.
    """

    path: str
    format: str
    dataset: str
    rows: int
    files: int = 1
    beside: tuple[str, ...] = ()
    export: str = ""


def export_dataset(bench: Workbench, output: str, format: str, dataset: str) -> Exported:
    """Write a dataset version to a file, and record that in the loop: ``tsad data`` lists it.

    Args:
        output: the file to write.
        format: ``csv`` (point_id, start, end, label; half-open, UTC), ``label_studio`` (tasks with annotations), or
            rows of another trainer: ``chatts``, ``llamafactory``, ``qwen_vl``, ``swift``.
        dataset: hash of a dataset version, training or gold; ``latest`` = the newest training one.

    Raises:
        DatasetError: no such dataset version. StorageError: disk full, read-only folder; see also
            ``training_rows.write_rows``.
    """
    loop = open_loop(bench)
    version = latest_training(loop) if dataset == "latest" else fetch(loop, dataset)
    if version is None:
        raise DatasetError(f"loop {loop.name} has no dataset version", "Run tsad iterate first: people review windows.")
    path = Path(output)
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if format in ROWS:
        written = write_rows(bench, version, path, format)
    else:
        with atomic(path) as draft:
            rows = _write_csv(version, draft) if format == "csv" else _write_label_studio(bench, version, draft)
        written = Written(rows, (), 1, path.stat().st_size)
    name = _record(loop, path, format, version, written)
    return Exported(str(path), format, version.digest, written.rows, written.files, written.beside, name)


def _record(loop: LoopStore, path: Path, format: str, version: DatasetVersion, written: Written) -> str:
    """Keep what was written where; the same content at the same place is one export. Its name."""
    from tsad.tracking.assets import EXPORT, keep

    record, place, digest = loop.find_dataset(version.digest), str(path.absolute()), digest_of_file(path)
    about = {
        "path": place, "format": format, "dataset": version.digest, "rows": written.rows, "bytes": written.bytes,
        "sha256": digest, "source": record.source if record else "",
    }  # fmt: skip
    return keep(loop, EXPORT, digest_of_text(f"{place}|{digest}")[:12], about).name


def _write_csv(version: DatasetVersion, path: Path) -> int:
    """An interval that the border of two windows cuts is one row; how many rows."""
    rows = 0
    points: dict[str, list[ReviewedWindow]] = {}
    for reviewed in version.windows:
        points.setdefault(reviewed.window.point_id, []).append(reviewed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["point_id", "start", "end", "label"])
        for point_id, windows in points.items():
            kind = windows[0].window.series.time_kind
            for interval in merge_kinds(i for w in windows for i in w.intervals):
                start, end = format_time(interval.start, kind), format_time(interval.end, kind)
                writer.writerow([cell(point_id), start, end, cell(interval.label)])
                rows += 1
    return rows


def _write_label_studio(bench: Workbench, version: DatasetVersion, path: Path) -> int:
    from tsad.review.label_studio.exports import to_label_studio

    tasks = to_label_studio(version.windows, bench.label_studio())
    path.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    return len(tasks)
