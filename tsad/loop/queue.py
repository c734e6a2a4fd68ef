"""The review queue of an iteration, kept as an artifact of its DETECT step."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import LabelError
from tsad.core.reviews import Choice
from tsad.core.series import Series, Window
from tsad.core.windows import excerpts
from tsad.loop.common import read_series
from tsad.loop.reading import Reading

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRecord, StepRun


def keep_queue(step: StepRun, choices: Sequence[Choice], context: int) -> None:
    """Log the chosen windows, with ``context`` points on either side, under ``queue/`` of the step's run."""
    from tsad.training.queues import save_queue

    views = excerpts([c.window for c in choices], context)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "queue"
        save_queue([replace(c, window=view) for c, view in zip(choices, views, strict=True)], folder)
        step.file(folder, "queue")


def queue_of(bench: Workbench, record: StepRecord) -> list[Choice]:
    """The choices of a finished DETECT step, as they were drawn."""
    return queue_with_reading(bench, record)[0]


def queue_with_reading(bench: Workbench, record: StepRecord) -> tuple[list[Choice], Reading | None]:
    """The choices, and what was read for them.

    A reviewer that answers from labels, which no artifact carries, has them read from the source again.
    """
    from tsad.training.queues import load_queue

    with tempfile.TemporaryDirectory() as scratch:
        choices = load_queue(record.fetch("queue", Path(scratch)))
    if not bench.reviewer.needs_labels:
        return choices, None
    reading = read_series(bench, sorted({c.window.point_id for c in choices}))
    return _labelled(reading.series, choices), reading


def _labelled(read: Sequence[Series], choices: Sequence[Choice]) -> list[Choice]:
    series = {s.point_id: s for s in read}
    found = []
    for choice in choices:
        stamps, one = choice.window.timestamps, series.get(choice.window.point_id)
        start = int(np.searchsorted(one.timestamps, stamps[0])) if one is not None else 0
        if one is None or not np.array_equal(one.timestamps[start : start + len(stamps)], stamps):
            raise LabelError(
                f"{choice.window.point_id} has changed at its source since window {choice.window.window_id} was drawn",
                "Start the iteration afresh with tsad iterate new=true.",
            )
        found.append(replace(choice, window=Window(one, start, start + len(stamps))))
    return found
