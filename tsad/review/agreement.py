"""What follows from the annotations of one window: its state and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsad.agreement.deciding import BY_MAJORITY, ConsensusRule, combined, counting
from tsad.agreement.latest import latest
from tsad.agreement.modes import ConsensusMode
from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.reviews import Annotation, Choice, ReviewedWindow, ReviewState
from tsad.core.series import Window
from tsad.core.types import ANOMALY, Interval
from tsad.review.positions import Run, intervals_to_labelled_runs, labelled_runs_to_intervals


def resolve(
    choice: Choice, annotations: Sequence[Annotation], rule: ConsensusRule = BY_MAJORITY, people: int = 1
) -> ReviewedWindow:
    """Decide how a window stands.

    - ``PENDING``: fewer people than ``people`` have answered. ``SKIPPED``: everybody who answered skipped.
    - ``CONFLICT``: people disagree, and neither the expert nor more than half of them settle it (see
      :func:`tsad.agreement.deciding.counting`). Two disagree where one says normal and the other does not, or where the
      time they mark has an IoU below the rule's. A different kind over the same time is no conflict.
    - ``ACCEPTED``: the truth covers the very points of the proposal, with the same kinds. ``CORRECTED``: anything else.
      ``ANNOTATED``: no proposal was shown (gold windows).

    Only the latest answer of each annotator counts; a skip beside a judgement is set aside, as is what a batch action
    answered. The rule says what counts of those that agree; the latest of them gives the kinds. Intervals are snapped
    to the points they cover (an edge between two points means nothing else).

    Args:
        people: who have to answer; the expert alone will do, and so does a batch action.
    """
    answers = latest(annotations)
    enough = len(answers) >= people or any(a.batch or a.annotator == (rule.expert or None) for a in answers)
    if not answers or not enough:
        return ReviewedWindow(choice, tuple(annotations), ReviewState.PENDING)
    if all(a.skipped for a in answers):
        return ReviewedWindow(choice, tuple(annotations), ReviewState.SKIPPED)
    snapped = [replace(a, intervals=_snapped(choice.window, a.intervals)) for a in annotations]
    counted = counting(snapped, rule)
    if not counted:
        return ReviewedWindow(choice, tuple(annotations), ReviewState.CONFLICT)
    runs = [intervals_to_labelled_runs(choice.window, a.intervals) for a in counted]
    truth = runs[0] if all(r == runs[0] for r in runs) else _combined(choice.window, runs, rule.mode)
    state = _judged(choice, truth)
    return ReviewedWindow(choice, tuple(annotations), state, labelled_runs_to_intervals(choice.window, truth))


def _snapped(window: Window, intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    return labelled_runs_to_intervals(window, intervals_to_labelled_runs(window, intervals))


def _judged(choice: Choice, truth: list[Run]) -> ReviewState:
    """How the truth stands to what was proposed."""
    if choice.proposal is None:
        return ReviewState.ANNOTATED
    same = truth == intervals_to_labelled_runs(choice.window, choice.proposal)
    return ReviewState.ACCEPTED if same else ReviewState.CORRECTED


def _combined(window: Window, answers: Sequence[list[Run]], mode: ConsensusMode) -> list[Run]:
    """What answers that agree come to; kinds from the last one who names any."""
    masks = [mask_of_runs([(a, b) for a, b, _ in runs], len(window)) for runs in answers]
    runs: list[Run] = []
    for a, b in runs_of(combined(masks, mode)):
        kind = next((k for r in reversed(answers) for s, e, k in r if s < b and a < e), ANOMALY)
        runs.append((int(a), int(b), kind))
    return runs
