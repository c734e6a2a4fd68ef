"""``tsad review``: how reviews stand, windows by their state, and batch actions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tsad.config.composing import override_key
from tsad.config.workbench import Workbench
from tsad.loop.review_batch import AuditFigures, BatchDone
from tsad.loop.review_order import ReviewWords, reviewed_as
from tsad.loop.review_page import keep_page
from tsad.loop.reviewing import ReviewStanding, WindowStanding
from tsad.verbs.console import Console

MOST_WINDOWS = 40  # listed for people; -o json has all
DIGITS = 8  # of a window's id
SPARE = ("strategy", "version", "kinds", "people")


class ReviewKeys(ReviewWords):
    """Own keys of ``tsad review``."""

    page: bool


keys_model = ReviewKeys


def run(bench: Workbench, keys: ReviewKeys, console: Console) -> ReviewStanding:
    """Show how the loop's reviews stand, after the action where one is asked for.

    Raises:
        LoopError: no iteration has a queue, or (with an action) the queue has become a dataset version.
        ReviewError: Label Studio unreachable, token refused, project gone; a reviewer that takes no batch actions.
    """
    # The group, typed: what that detector proposed.
    typed = "detector" in map(override_key, bench.overrides)
    reviews, standing = reviewed_as(bench, keys, bench.detector_kind.name if typed else None)
    if keys.page:
        keep_page(reviews.iteration.recorder, standing)
    listed = standing.batch is None and (typed or bool(keys.like) or not keys.filter.plain)
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
