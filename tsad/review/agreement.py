"""What follows from the annotations of one window: its state and its truth."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.agreement.consensus import alike, majority
from tsad.agreement.latest import judged, latest
from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.reviews import Annotation, Choice, ReviewedWindow, ReviewState
from tsad.core.series import Window
from tsad.core.types import ANOMALY
from tsad.review.positions import Run, intervals_to_labelled_runs, labelled_runs_to_intervals


def resolve(choice: Choice, annotations: Sequence[Annotation], iou: float = 0.5) -> ReviewedWindow:
    """Decide how a window stands.

    - ``PENDING``: nobody has answered. ``SKIPPED``: everybody who answered skipped.
    - ``CONFLICT``: two people disagree: one says normal and the other does not, or the time they mark has an IoU
      below ``iou``. A different kind over the same time is no conflict.
    - ``ACCEPTED``: the truth covers the very points of the proposal, with the same kinds. ``CORRECTED``: anything else.
      ``ANNOTATED``: no proposal was shown (gold windows).

    Only the latest answer of each annotator counts; a skip beside a judgement is set aside. Where several agree, a
    point is abnormal if more than half say so; a tie follows the latest answer, which also gives the kinds. Intervals
    are snapped to the points they cover (an edge between two points means nothing else).

    Args:
        iou: least IoU in time at which two answers agree, 0..1.
    """
    answers = latest(annotations)
    if not answers:
        return ReviewedWindow(choice, tuple(annotations), ReviewState.PENDING)
    judgements = judged(annotations)
    if not judgements:
        return ReviewedWindow(choice, tuple(annotations), ReviewState.SKIPPED)
    runs = [intervals_to_labelled_runs(choice.window, a.intervals) for a in judgements]
    if not alike([labelled_runs_to_intervals(choice.window, r) for r in runs], iou):
        return ReviewedWindow(choice, tuple(annotations), ReviewState.CONFLICT)
    truth = runs[0] if all(r == runs[0] for r in runs) else _majority(choice.window, runs)
    state = _judged(choice, truth)
    return ReviewedWindow(choice, tuple(annotations), state, labelled_runs_to_intervals(choice.window, truth))


def _judged(choice: Choice, truth: list[Run]) -> ReviewState:
    """How the truth stands to what was proposed."""
    if choice.proposal is None:
        return ReviewState.ANNOTATED
    same = truth == intervals_to_labelled_runs(choice.window, choice.proposal)
    return ReviewState.ACCEPTED if same else ReviewState.CORRECTED


def _majority(window: Window, answers: Sequence[list[Run]]) -> list[Run]:
    """Point by point: what more than half say, ties as the last one says; kinds from the last one who names any."""
    masks = [mask_of_runs([(a, b) for a, b, _ in runs], len(window)) for runs in answers]
    runs: list[Run] = []
    for a, b in runs_of(majority(masks)):
        kind = next((k for r in reversed(answers) for s, e, k in r if s < b and a < e), ANOMALY)
        runs.append((int(a), int(b), kind))
    return runs
