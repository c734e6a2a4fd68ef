"""The review queue of an iteration, kept as an artifact of its DETECT step."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.advice import give_up
from tsad.core.errors import DatasetError, LabelError
from tsad.core.reviews import Choice
from tsad.core.series import Series, Window
from tsad.core.types import Interval
from tsad.core.windows import excerpts
from tsad.loop.common import read_series
from tsad.loop.reading import Reading

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRecord, StepRun

LABELS = "labels.json"  # beside the queue: what a reviewer who needs labels answers from


def keep_queue(step: StepRun, choices: Sequence[Choice], context: int, *, labelled: bool) -> None:
    """Log the chosen windows, with ``context`` points on either side, under ``queue/`` of the step's run.

    Args:
        labelled: keep the labels of their series with them, for a reviewer who answers from labels.
    """
    from tsad.training.queues import save_queue

    views = excerpts([c.window for c in choices], context)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "queue"
        save_queue([replace(c, window=view) for c, view in zip(choices, views, strict=True)], folder)
        if labelled:
            rows = [_labels_row(view, choice) for view, choice in zip(views, choices, strict=True)]
            (folder / LABELS).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        step.file(folder, "queue")


def queue_of(bench: Workbench, record: StepRecord) -> list[Choice]:
    """The choices of a finished DETECT step, as they were drawn."""
    return queue_with_reading(bench, record)[0]


def queue_with_reading(bench: Workbench, record: StepRecord) -> tuple[list[Choice], Reading | None]:
    """The choices, and what was read for them: nothing, but for the queue of an older tsad.

    A reviewer who answers from labels, which such a queue does not carry, has them read from the source again.
    """
    from tsad.training.queues import load_queue

    with tempfile.TemporaryDirectory() as scratch:
        folder = record.fetch("queue", Path(scratch))
        choices, labels = load_queue(folder), folder / LABELS
        if not bench.reviewer.needs_labels:
            return choices, None
        if labels.is_file():
            return _with_labels(choices, labels), None
    reading = read_series(bench, sorted({c.window.point_id for c in choices}))
    return _reread(reading.series, choices), reading


def _labels_row(view: Window, choice: Choice) -> dict[str, Any]:
    """Labels of a window's excerpt, ns UTC, and the step of the whole series, which its points end by."""
    labels = view.series.labels
    return {
        "window_id": view.window_id, "step": choice.window.series.step,
        "labels": None if labels is None else [[i.start, i.end, i.label, i.score] for i in labels],
    }  # fmt: skip


def _with_labels(choices: Sequence[Choice], path: Path) -> list[Choice]:
    """The choices over excerpts that carry labels; windows that shared an excerpt still do."""
    try:
        rows = {row["window_id"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
        series: dict[int, Series] = {}
        for choice in choices:
            excerpt, row = choice.window.series, rows[choice.window.window_id]
            labels = None if row["labels"] is None else tuple(Interval(*item) for item in row["labels"])
            series.setdefault(id(excerpt), replace(excerpt, labels=labels, whole_step=int(row["step"])))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"the labels of the review queue cannot be read ({type(error).__name__}: {error})",
            give_up(),
        ) from error
    windows = [Window(series[id(c.window.series)], c.window.start, c.window.stop) for c in choices]
    return [replace(choice, window=window) for choice, window in zip(choices, windows, strict=True)]


def _reread(read: Sequence[Series], choices: Sequence[Choice]) -> list[Choice]:
    """The choices over series as they have just been read."""
    series = {s.point_id: s for s in read}
    placed = []
    for choice in choices:
        stamps, whole = choice.window.timestamps, series.get(choice.window.point_id)
        start = int(np.searchsorted(whole.timestamps, stamps[0])) if whole is not None else 0
        if whole is None or not np.array_equal(whole.timestamps[start : start + len(stamps)], stamps):
            raise LabelError(
                f"{choice.window.point_id} has changed at its source since window {choice.window.window_id} was drawn",
                give_up(),
            )
        placed.append(replace(choice, window=Window(whole, start, start + len(stamps))))
    return placed
