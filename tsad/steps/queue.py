"""The review queue of an iteration, kept as an artifact: what was chosen, with its values and proposals."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.types import Choice, ReviewedWindow, ReviewState
from tsad.core.windows import excerpts

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRecord, StepRun


def save_queue(step: StepRun, choices: Sequence[Choice], context: int) -> None:
    """Log the chosen windows, with ``context`` points on either side, under ``queue/`` of the step's run."""
    from dataclasses import replace

    from tsad.training.datasets import save_windows

    views = excerpts([c.window for c in choices], context)
    pending = [
        ReviewedWindow(replace(choice, window=view), (), ReviewState.PENDING)
        for choice, view in zip(choices, views, strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "queue"
        save_windows(pending, folder)
        step.file(folder, "queue")


def load_queue(record: StepRecord) -> list[Choice]:
    """The choices of a finished DETECT step, as they were drawn."""
    from tsad.training.datasets import load_windows

    with tempfile.TemporaryDirectory() as scratch:
        return [reviewed.choice for reviewed in load_windows(record.fetch("queue", Path(scratch)))]
