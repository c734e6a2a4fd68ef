"""``tsad review``: how reviews stand, windows by their state, and batch actions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tsad.config.composing import override_key
from tsad.config.workbench import Workbench
from tsad.core.option_model import Options, Refusal
from tsad.core.reviews import ReviewState
from tsad.core.types import EmbeddingName
from tsad.loop.review_batch import AuditFigures, BatchDone, BatchOrder, carry_out
from tsad.loop.review_cluster import Likeness, answer_given, cluster_of
from tsad.loop.review_page import keep_page
from tsad.loop.reviewing import ReviewStanding, WindowStanding, standing_of
from tsad.loop.reviews import reviews_of
from tsad.review.batch import WindowFilter
from tsad.verbs.console import Console

MOST_WINDOWS = 40  # listed for people; -o json has all
DIGITS = 8  # of a window's id
SPARE = ("strategy", "version", "kinds", "people")


WindowId = Annotated[str, Field(pattern=r"^[0-9a-f]{4,16}$")]


class ReviewKeys(Options):
    """Own keys of ``tsad review``."""

    action: Literal["show", "accept", "reject", "same", "return"]
    above: float | None = Field(ge=0, le=1)
    below: float | None = Field(ge=0, le=1)
    audit: float = Field(ge=0, le=1)
    like: str | None
    within: float = Field(ge=0, le=2)
    embedding: EmbeddingName
    batch: Annotated[str, Field(pattern=r"^[0-9a-f]{4,32}$")] | None
    window: list[WindowId] | WindowId | None
    state: Literal["pending", "accepted", "corrected", "annotated", "skipped", "conflict"] | None
    score_above: float | None
    score_below: float | None
    version: str | None
    point: str | None
    kind: str | None
    page: bool

    @model_validator(mode="after")
    def _bounded(self) -> ReviewKeys:
        needed = {"accept": "above", "reject": "below"}.get(self.action, "")
        for key in ("above", "below"):
            given = getattr(self, key) is not None
            if given != (key == needed) and (given or not self.like):
                verb, example = ("needs", f"e.g. {key}=0.9") if key == needed else ("does not take", "Leave it out")
                raise Refusal(f"{{action}}={self.action} {verb} {{{key}}}", f"{example}; see tsad review --help.")
        answers = bool(needed) or self.action == "same"
        if self.audit and not answers:
            raise Refusal(
                "{audit}={0} with {action}={1}", "It goes with accept, reject and same.", self.audit, self.action
            )
        if self.like and self.window:
            raise Refusal("{window} and {like} both say which windows", "Leave one of them out.")
        if self.action == "same" and not self.like:
            raise Refusal("{action}=same needs {like}", "Name the window whose answer is given to those like it.")
        if answers and self.like and not self.audit:
            raise Refusal(
                "{action}={0} of all that look like {like} without an audit",
                "Keep a share of them for people, e.g. audit=0.2: the error rate is not known otherwise.", self.action,
            )  # fmt: skip
        if self.action == "return" and self.filter.plain and not self.like:
            raise Refusal(
                "{action}=return of all windows",
                "Say which: {batch}=RUN of the action that answered them, {window}=ID, or {state}, {point}, ...",
            )
        return self

    @property
    def filter(self) -> WindowFilter:
        """Which windows are meant, by the verb's own keys."""
        names = (self.window,) if isinstance(self.window, str) else tuple(self.window or ()) or None
        return WindowFilter(
            ReviewState(self.state.upper()) if self.state else None, self.score_above, self.score_below, None,
            self.version, self.point, self.kind, names, self.batch,
        )  # fmt: skip


keys_model = ReviewKeys


def run(bench: Workbench, keys: ReviewKeys, console: Console) -> ReviewStanding:
    """Show how the loop's reviews stand, after the action where one is asked for.

    Raises:
        LoopError: no iteration has a queue, or (with an action) the queue has become a dataset version.
        ReviewError: Label Studio unreachable, token refused, project gone; a reviewer that takes no batch actions.
    """
    reviews, done, meant = reviews_of(bench), None, keys.filter
    if "detector" in map(override_key, bench.overrides):  # the group, typed: what that detector proposed
        meant = replace(meant, detector=bench.detector_kind.name)
    like = ""
    if keys.like:
        cluster = cluster_of(reviews, Likeness(keys.like, keys.within, keys.embedding))
        like, meant = cluster.of, replace(meant, window=cluster.windows)
        if cluster.mixed:
            bench.context.progress.note(
                f"{len(cluster.mixed)} windows show something else beside what looks like it: not among them"
            )
    if keys.action != "show":
        action = answer_given(reviews, like) if keys.action == "same" else keys.action
        bound = keys.above if action == "accept" else keys.below
        done = carry_out(reviews, BatchOrder(action, meant, bound, keys.audit, like))
        reviews = reviews_of(bench)
    standing = standing_of(reviews, WindowFilter() if done else meant, done)
    if keys.page:
        keep_page(reviews.iteration.recorder, standing)
    listed = not meant.plain and done is None
    return console.answer(standing, lambda result, out: _present(result, out, listed))


def _present(standing: ReviewStanding, console: Console, listed: bool) -> None:
    if standing.batch is not None:
        _present_batch(standing.batch, console)
    where = f" at {standing.url}" if standing.url else ""
    console.say(f"loop {standing.loop}, iteration {standing.iteration}{where}")
    console.say(f"  {standing.progress}" if standing.progress else "  its reviews have become a dataset version")
    console.table(list(_acceptance(standing)), "what became of proposals", ("corrected", "rejected"))
    console.table(list(_people(standing)), f"people{_minutes(standing.minutes)}")
    console.table(list(_agreement(standing)), "agreement on windows that two or more judged")
    if len(standing.agreement.pairs) > 1:
        console.table(_matrix(standing), "interval F1 of each two people")
    console.table([_audit(a) for a in standing.audits], "audits of batch actions")
    if listed:
        console.table([_window(w) for w in standing.windows[:MOST_WINDOWS]], "windows", SPARE)
        left = len(standing.windows) - MOST_WINDOWS
        more = f", {left} of them not listed (-o json has all)" if left > 0 else ""
        console.say(f"{len(standing.windows)} windows{more}")
    for row in (w for w in standing.windows if w.problem):
        console.say(f"window {row.window} of {row.point_id}: {row.problem}")


def _present_batch(done: BatchDone, console: Console) -> None:
    if done.action == "return":
        console.say(f"{done.text}: {done.answered} answers to {len(done.selected)} windows taken back")
        return
    console.say(
        f"{done.text}: {len(done.selected)} windows meant, {done.answered} answered now, {len(done.audits)} for people "
        f"to audit ({done.asked} of them asked for now)"
    )


def _acceptance(standing: ReviewStanding) -> Iterator[Mapping[str, Any]]:
    for row in standing.acceptance:
        yield {
            "version": row.version, "kind": row.kind, "proposed": row.proposed, "accepted": row.accepted,
            "corrected": row.corrected, "rejected": row.rejected, "share": row.share,
            "95%": f"{row.low:.2f} to {row.high:.2f}",
        }  # fmt: skip


def _people(standing: ReviewStanding) -> Iterator[Mapping[str, Any]]:
    for row in standing.people:
        with_others = standing.agreement.people.get(row.person)
        yield {
            "person": row.person, "judged": row.judged, "cannot tell": row.skipped, "minutes per window": row.minutes,
            "F1 with others": with_others.interval_f1 if with_others else None,
        }  # fmt: skip


def _agreement(standing: ReviewStanding) -> Iterator[Mapping[str, Any]]:
    if standing.agreement.overall.windows:
        for name, of in {"all": standing.agreement.overall, **standing.agreement.kinds}.items():
            yield {
                "kind": name, "windows": of.windows, "interval F1": of.interval_f1, "IoU": of.iou,
                "Fleiss kappa": of.kappa, "Krippendorff alpha": of.alpha,
            }  # fmt: skip


def _matrix(standing: ReviewStanding) -> Sequence[Mapping[str, Any]]:
    """A row and a column per person."""
    both = {(p.first, p.second): p.interval_f1 for p in standing.agreement.pairs}
    people = sorted({person for pair in both for person in pair})
    return [{"person": a, **{b: both.get((a, b), both.get((b, a))) for b in people}} for a in people]


def _audit(row: AuditFigures) -> Mapping[str, Any]:
    known = not math.isnan(row.low)
    return {
        "action": row.name, "audits": row.audits, "judged": row.judged, "errors": row.errors,
        "error rate": row.rate, "95%": f"{row.low:.2f} to {row.high:.2f}" if known else "-",
    }  # fmt: skip


def _window(row: WindowStanding) -> Mapping[str, Any]:
    return {
        "window": row.window[:DIGITS], "point": row.point_id, "start": row.start, "state": row.state.lower(),
        "confidence": row.confidence, "kinds": ", ".join(row.kinds), "people": ", ".join(row.people),
        "version": row.version, "strategy": row.strategy,
    }  # fmt: skip


def _minutes(minutes: float) -> str:
    return "" if math.isnan(minutes) else f", {minutes:.1f} minutes per window"
