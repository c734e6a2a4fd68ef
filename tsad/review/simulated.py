"""A reviewer who answers from labels, with configurable mistakes, so that noise can be studied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.errors import ConfigError, LabelError
from tsad.core.options import ReviewOptions
from tsad.core.reviews import Annotation, Choice, ReviewedWindow
from tsad.core.series import Window
from tsad.core.types import ANOMALY
from tsad.review.agreement import resolve
from tsad.review.positions import Run, intervals_to_labelled_runs, labelled_runs_to_intervals

ANNOTATOR = "simulated"


class SimulatedReviewer:
    """Answers every window at once from ``window.series.labels``.

    Mistakes depend on ``options.seed`` and the window alone: asked again, in any order or company, it gives the same
    answer. Gold windows that it is asked about get the same mistakes: it stands for people.
    """

    def __init__(self, options: ReviewOptions) -> None:
        for key in ("miss_rate", "shift_rate", "spurious_rate"):
            if not 0.0 <= getattr(options, key) <= 1.0:
                raise ConfigError(f"review.{key}={getattr(options, key)} is not a share in 0..1", "Use 0 for none.")
        self.options = options

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
        return [resolve(c, [self.annotate(c.window)], self.options.agreement_iou) for c in choices]

    def annotate(self, window: Window) -> Annotation:
        """What it says of one window: the labels clipped to it, with mistakes."""
        rng = np.random.default_rng([self.options.seed, int(window.window_id, 16)])
        truth = intervals_to_labelled_runs(window, window.series.labels or ())
        runs = [self._shifted(run, len(window), rng) for run in truth if rng.random() >= self.options.miss_rate]
        if not truth and rng.random() < self.options.spurious_rate:
            runs.append(self._spurious(len(window), rng))
        intervals = labelled_runs_to_intervals(window, sorted(runs))
        return Annotation(ANNOTATOR, intervals, annotation_id=f"{ANNOTATOR}:{window.window_id}")

    def _shifted(self, run: Run, length: int, rng: np.random.Generator) -> Run:
        reach = self.options.shift_points
        if rng.random() >= self.options.shift_rate or reach <= 0:
            return run
        start = int(np.clip(run[0] + rng.integers(-reach, reach + 1), 0, length - 1))
        stop = int(np.clip(run[1] + rng.integers(-reach, reach + 1), 1, length))
        return (start, stop, run[2]) if start < stop else run  # a short one that would vanish stays as it was

    def _spurious(self, length: int, rng: np.random.Generator) -> Run:
        size = int(rng.integers(1, max(2, length // 10 + 1)))
        start = int(rng.integers(0, length - size + 1))
        return (start, start + size, ANOMALY)
