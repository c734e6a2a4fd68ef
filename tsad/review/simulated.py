"""A reviewer who answers from labels, with configurable mistakes, so that noise can be studied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from tsad.core.errors import LabelError
from tsad.core.option_model import Refusal
from tsad.core.options import ReviewOptions
from tsad.core.reviews import Annotation, Choice, ReviewedWindow
from tsad.core.series import Window
from tsad.core.types import ANOMALY
from tsad.review.agreement import resolve
from tsad.review.base import Reviewer
from tsad.review.positions import Run, intervals_to_labelled_runs, labelled_runs_to_intervals

ANNOTATOR = "simulated"


class SimulatedOptions(ReviewOptions):
    """What :class:`SimulatedReviewer` takes: how often it errs."""

    miss_rate: float = Field(ge=0, le=1)  # share of true intervals overlooked
    shift_rate: float = Field(ge=0, le=1)  # share of true intervals with shifted edges
    shift_points: int = Field(ge=0)  # largest shift of an edge, points
    spurious_rate: float = Field(ge=0, le=1)  # share of normal windows given a false interval
    seed: int

    @model_validator(mode="after")
    def _room_to_shift(self) -> SimulatedOptions:
        if self.shift_rate > 0 and self.shift_points == 0:
            raise Refusal(
                "{shift_rate} is {0} but {shift_points} is 0", "Say by how many points edges may shift.",
                self.shift_rate,
            )  # fmt: skip
        return self


class SimulatedReviewer(Reviewer):
    """Answers every window at once from ``window.series.labels``.

    Mistakes depend on ``seed`` and the window alone: asked again, in any order or company, it gives the same
    answer. Gold windows that it is asked about get the same mistakes: it stands for people.
    """

    needs_labels = True
    options_model = SimulatedOptions
    settings: SimulatedOptions

    def push(self, choices: Sequence[Choice]) -> int:
        """Take the queue; nothing is kept, since the answers follow from the labels.

        Returns:
            How many windows it will answer.

        Raises:
            LabelError: a series has no labels; names the points.
        """
        missing = sorted({c.window.point_id for c in choices if c.window.series.labels is None})
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise LabelError(
                f"The simulated reviewer needs labels, and these series have none: {shown}",
                "Name a label column or a CSV of intervals, or let people review: review=label_studio.",
            )
        return len(choices)

    def pull(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        """Every window answered. Raises LabelError as :meth:`push`."""
        self.push(choices)
        return [resolve(c, [self.annotate(c.window)], self.rule) for c in choices]

    def annotate(self, window: Window) -> Annotation:
        """What it says of one window: the labels clipped to it, with mistakes."""
        rng = np.random.default_rng([self.settings.seed, int(window.window_id, 16)])
        truth = intervals_to_labelled_runs(window, window.series.labels or ())
        runs = [self._shifted(run, len(window), rng) for run in truth if rng.random() >= self.settings.miss_rate]
        if not truth and rng.random() < self.settings.spurious_rate:
            runs.append(self._spurious(len(window), rng))
        intervals = labelled_runs_to_intervals(window, sorted(runs))
        return Annotation(ANNOTATOR, intervals, annotation_id=f"{ANNOTATOR}:{window.window_id}")

    def _shifted(self, run: Run, length: int, rng: np.random.Generator) -> Run:
        reach = self.settings.shift_points
        if rng.random() >= self.settings.shift_rate or reach <= 0:
            return run
        start = int(np.clip(run[0] + rng.integers(-reach, reach + 1), 0, length - 1))
        stop = int(np.clip(run[1] + rng.integers(-reach, reach + 1), 1, length))
        return (start, stop, run[2]) if start < stop else run  # a short one that would vanish stays as it was

    def _spurious(self, length: int, rng: np.random.Generator) -> Run:
        size = int(rng.integers(1, max(2, length // 10 + 1)))
        start = int(rng.integers(0, length - size + 1))
        return (start, start + size, ANOMALY)
