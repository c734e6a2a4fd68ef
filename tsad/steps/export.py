"""``tsad export``: reviewed data as a CSV of intervals or as Label Studio JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tsad.core.errors import ConfigError, DatasetError
from tsad.core.times import format_time
from tsad.core.types import DatasetVersion
from tsad.steps.common import open_loop, say
from tsad.steps.datasets import fetch, latest_training
from tsad.steps.workbench import Workbench

FORMATS = ("csv", "label_studio")


def run(bench: Workbench, *, output: str, format: str = "csv", dataset: str = "latest") -> None:
    """Write a dataset version to a file.

    Args:
        output: the file to write.
        format: ``csv`` (point_id, start, end, label; half-open, UTC) or ``label_studio`` (tasks with annotations).
        dataset: hash of a dataset version, training or gold; ``latest`` = the newest training one.

    Raises:
        ConfigError: a format that does not exist.
        DatasetError: no such dataset version.
    """
    if format not in FORMATS:
        raise ConfigError(f"format={format} is not one of {', '.join(FORMATS)}", "Choose one of them.")
    loop = open_loop(bench)
    version = latest_training(loop) if dataset == "latest" else fetch(loop, dataset)
    if version is None:
        raise DatasetError(f"loop {loop.name} has no dataset version", "Run tsad iterate first: people review windows.")
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = _write_csv(version, path) if format == "csv" else _write_label_studio(bench, version, path)
    say(f"wrote {rows} {'intervals' if format == 'csv' else 'tasks'} of dataset version {version.version} to {path}")


def _write_csv(version: DatasetVersion, path: Path) -> int:
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["point_id", "start", "end", "label"])
        for reviewed in version.windows:
            kind = reviewed.window.series.time_kind
            for interval in reviewed.intervals:
                start, end = format_time(interval.start, kind), format_time(interval.end, kind)
                writer.writerow([reviewed.window.point_id, start, end, interval.label])
                rows += 1
    return rows


def _write_label_studio(bench: Workbench, version: DatasetVersion, path: Path) -> int:
    from tsad.review.exports import to_label_studio

    tasks = to_label_studio(version.windows, bench.review)
    path.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    return len(tasks)
