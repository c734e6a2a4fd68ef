"""Batch actions on a review queue, each a run of its own that says who did what when, and the audits of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tsad.agreement.consensus import alike
from tsad.core.errors import LoopError
from tsad.core.results import Result
from tsad.core.reviews import Annotation, Purpose, ReviewedWindow, ReviewState
from tsad.core.times import format_time
from tsad.core.types import Interval
from tsad.loop.reviews import Reviews
from tsad.metrics.calibration import wilson
from tsad.review.batch import WindowFilter, audited, is_of_batch

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore, StepRun

REVIEW = "REVIEW"  # name of the runs
BatchAction = Literal["accept", "reject", "return"]


@dataclass(frozen=True, eq=False)
class BatchDone(Result):
    """What a batch action did.

    Attributes:
        by: id of the annotator in whose name; at: ISO 8601, UTC; run: of MLflow.
        text: the action in words, as its annotations bear it.
        selected: ids of the windows it is about. audits: those of them that people judge instead.
        answered: answers made now, or taken back: 0 where it was done before.
        asked: audits that people are told about now.
        like: the window whose look-alikes it is about; "" = they were chosen otherwise.
    """

    action: BatchAction
    text: str
    by: str
    at: str
    run: str
    iteration: int
    selected: tuple[str, ...]
    audits: tuple[str, ...] = ()
    answered: int = 0
    asked: int = 0
    like: str = ""


@dataclass(frozen=True, eq=False)
class AuditFigures(Result):
    """How often an action would have been wrong, by what people said of the windows that were kept for them.

    Attributes:
        audits: windows kept; judged: of them, by people so far; errors: where their answer and the action's are not
            alike (as for a conflict).
        like: the window whose look-alikes were answered; "" = all other actions together.
        rate, low, high: errors among the judged with its 95% interval (Wilson); NaN before any is judged.
    """

    action: BatchAction
    audits: int
    judged: int
    errors: int
    rate: float
    low: float
    high: float
    like: str = ""

    @property
    def name(self) -> str:
        """The action, and whose look-alikes it was about."""
        return f"{self.action} like {self.like}" if self.like else self.action


@dataclass(frozen=True)
class BatchOrder:
    """What is asked for.

    Attributes:
        bound: confidence from which a window is accepted, or below which it is rejected; ``None`` for ``return`` and,
            with ``like``, for no bound.
        audit: share of the windows that people judge instead, 0..1.
        among: which windows it may be about at all.
        like: the window whose look-alikes ``among`` names; "" = they are chosen otherwise.
    """

    action: BatchAction
    among: WindowFilter
    bound: float | None = None
    audit: float = 0.0
    like: str = ""

    @property
    def words(self) -> str:
        """The action in words."""
        side = {"accept": "above", "reject": "below"}.get(self.action)
        bounded = f"{self.action} {side} {self.bound:g}" if side and self.bound is not None else self.action
        return f"{bounded} like {self.like}" if self.like else bounded


def carry_out(reviews: Reviews, order: BatchOrder) -> BatchDone:
    """Do it in the newest queue and keep a run of it; done again it changes nothing.

    Blind windows are never accepted or rejected: only people score the model. What people have answered stays.

    Raises:
        LoopError: the queue has become a dataset version already.
        ReviewError: this reviewer takes no batch actions; Label Studio unreachable, token refused, project gone.
    """
    if reviews.collected:
        raise LoopError(
            f"the reviews of iteration {reviews.iteration.number} have become a dataset version",
            "Batch actions are for the queue that waits; tsad iterate draws the next one.",
        )
    by = reviews.reviewer.user()
    with reviews.loop.adding(REVIEW, {"tsad.kind": "run", "tsad.batch": order.words, "tsad.by": by}) as step:
        done = _returned(reviews, order, step, by) if order.action == "return" else _answered(reviews, order, step, by)
        step.params({"action": done.action, "text": done.text, "iteration": done.iteration, "audit": order.audit})
        step.metrics({"selected": len(done.selected), "audits": len(done.audits), "answered": done.answered})
        step.result(done.to_json())
    return done


def _answered(reviews: Reviews, order: BatchOrder, step: StepRun, by: str) -> BatchDone:
    selected = [r for r in reviews.current if _is_meant(r, order)]
    # The window whose answer is given to the others audits nothing.
    kept = audited([r.window.window_id for r in selected if r.window.window_id != order.like], order.audit)
    at = _now()
    text = f"{order.words}, by {by} at {at}, run {step.run_id}"
    answers = [
        (r.choice, answer_of(order.action, r)) for r in selected
        if r.window.window_id not in kept and r.state is ReviewState.PENDING and not r.annotations
    ]  # fmt: skip
    asked = reviews.reviewer.ask([r.choice for r in selected if r.window.window_id in kept])
    made = reviews.reviewer.answer(answers, text)
    return BatchDone(
        order.action, text, by, at, step.run_id, reviews.iteration.number,
        tuple(r.window.window_id for r in selected), tuple(sorted(kept)), made, asked, order.like,
    )  # fmt: skip


def _returned(reviews: Reviews, order: BatchOrder, step: StepRun, by: str) -> BatchDone:
    """Answers taken back, those of a batch action alone where one is named; they are kept in the run."""
    selected, batch = [r for r in reviews.current if order.among.passes(r)], order.among.batch
    given = [
        replace(r, annotations=tuple(a for a in r.annotations if batch is None or is_of_batch(a, batch)))
        for r in selected if r.annotations
    ]  # fmt: skip
    if batch is not None and len(actions := {a.batch for r in given for a in r.annotations}) > 1:
        raise LoopError(f"{len(actions)} batch actions have a run that begins with {batch}", "Give more digits.")
    step.json([_record(r.window.window_id, a) for r in given for a in r.annotations], "returned.json")
    at = _now()
    text = f"return, by {by} at {at}, run {step.run_id}"
    taken = reviews.reviewer.take_back(given)
    names = tuple(r.window.window_id for r in selected)
    return BatchDone(order.action, text, by, at, step.run_id, reviews.iteration.number, names, (), taken)


def _is_meant(reviewed: ReviewedWindow, order: BatchOrder) -> bool:
    """Whether an action that answers is about the window, whatever has become of it."""
    choice = reviewed.choice
    if choice.purpose is Purpose.GOLD or not order.among.passes(reviewed):
        return False
    if order.bound is None and not order.like:
        return False
    if order.action == "accept":
        return bool(choice.proposal) and (order.bound is None or choice.confidence >= order.bound)
    return order.bound is None or choice.confidence < order.bound


def answer_of(action: BatchAction, reviewed: ReviewedWindow) -> tuple[Interval, ...]:
    """What the action says of a window: what is proposed, or that nothing is abnormal."""
    return (reviewed.choice.proposal or ()) if action == "accept" else ()


def audits_of(loop: LoopStore, reviewed: Sequence[ReviewedWindow], iou: float) -> tuple[AuditFigures, ...]:
    """Errors of accepting and of rejecting, over all batch actions of the loop; a window counts once for each.

    The look-alikes of a window have a row of their own.
    """
    kept: dict[tuple[str, BatchAction], set[str]] = {}
    for record in loop.finished_runs(REVIEW):
        done = BatchDone.from_json(record.result)
        if done.audits:
            kept.setdefault((done.like, done.action), set()).update(done.audits)
    by_window = {r.window.window_id: r for r in reviewed}
    return tuple(
        replace(_figures(action, names, by_window, iou), like=like) for (like, action), names in sorted(kept.items())
    )


def audits_kept(loop: LoopStore) -> set[str]:
    """Ids of all windows that batch actions have left to people."""
    return {name for record in loop.finished_runs(REVIEW) for name in BatchDone.from_json(record.result).audits}


def _figures(
    action: BatchAction, names: set[str], by_window: Mapping[str, ReviewedWindow], iou: float
) -> AuditFigures:
    judged = [r for n in names if (r := by_window.get(n)) and r.usable and any(not a.batch for a in r.annotations)]
    errors = sum(not alike([r.intervals, answer_of(action, r)], iou) for r in judged)
    if not judged:
        return AuditFigures(action, len(names), 0, 0, math.nan, math.nan, math.nan)
    rate = errors / len(judged)
    return AuditFigures(action, len(names), len(judged), errors, rate, *wilson(rate, len(judged)))


def _record(window: str, answer: Annotation) -> Mapping[str, object]:
    spans = [[i.start, i.end, i.label] for i in answer.intervals]
    return {
        "window": window, "annotator": answer.annotator, "submitted_at": answer.submitted_at, "skipped": answer.skipped,
        "intervals": spans, "note": answer.note, "batch": answer.batch,
    }  # fmt: skip


def _now() -> str:
    return format_time(time.time_ns() // 10**9 * 10**9)
