"""review.figures and review.batch: what became of proposals, who answers how fast, which windows are meant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tsad.agreement.measures import agreement_of
from tsad.core.reviews import Annotation, Choice, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.metrics.calibration import wilson
from tsad.review.agreement import resolve
from tsad.review.batch import WindowFilter, audited, kinds_of
from tsad.review.figures import acceptance_of, judgements_of, minutes_of, people_of

SERIES = Series("P1", np.arange(400, dtype=np.int64) * 60, np.zeros((400, 1)))


def span(a: int, b: int, label: str = "Anomaly", score: float = 1.0) -> Interval:
    return Interval(a * 60, b * 60, label, score)


def window(number: int, *proposed: Interval, version: str = "m:1", **more: tuple[Interval, ...]) -> Choice:
    proposals = [Proposal(proposed, Origin("patch", version))]
    proposals += [Proposal(p, Origin(name, f"{name}:7")) for name, p in more.items()]
    return Choice(Window(SERIES, 100 * number, 100 * number + 100), 0.5, "mix", proposals=tuple(proposals), score=0.3)


def said(who: str, *intervals: Interval, skipped: bool = False, seconds: float = 0.0, batch: str = "") -> Annotation:
    return Annotation(who, intervals, skipped=skipped, seconds=seconds, batch=batch)


def test_what_became_of_proposals_by_version_and_kind() -> None:
    reviewed = [
        resolve(window(0, span(10, 20), span(40, 50, "spike")), [said("a", span(10, 20), span(45, 60, "spike"))]),
        resolve(window(1, span(110, 120)), [said("a")]),
        resolve(window(2, span(210, 220), version="m:2", poly=(span(230, 231),)), [said("a", span(210, 220))]),
        resolve(window(3, span(310, 320)), []),
    ]
    rows = {(r.version, r.kind): r for r in acceptance_of(reviewed)}
    counts = {key: (r.proposed, r.accepted, r.corrected, r.rejected) for key, r in rows.items()}
    assert counts == {
        ("m:1", "Anomaly"): (2, 1, 0, 1), ("m:1", "spike"): (1, 0, 1, 0), ("m:2", "Anomaly"): (1, 1, 0, 0),
        ("poly:7", "Anomaly"): (1, 0, 0, 1),
    }  # fmt: skip
    half = rows["m:1", "Anomaly"]
    assert (half.share, half.low, half.high) == (0.5, *wilson(0.5, 2))
    assert acceptance_of([]) == ()


def test_people_and_their_minutes() -> None:
    reviewed = [
        resolve(window(0), [said("a", seconds=30), said("b", skipped=True, seconds=600)]),
        resolve(window(1), [said("a", seconds=90), said("c", batch="accept above 0.9")]),
        resolve(window(2), [said("a", seconds=60), said("b")]),
    ]
    people = {p.person: p for p in people_of(reviewed)}
    assert set(people) == {"a", "b"}, "a batch action is no person"
    assert (people["a"].judged, people["a"].skipped, people["a"].minutes) == (3, 0, 1.0)
    assert (people["b"].judged, people["b"].skipped, people["b"].minutes) == (1, 1, 10.0)
    assert math.isnan(minutes_of([0.0])) and math.isnan(minutes_of([]))
    shared = judgements_of(reviewed)
    assert {k: sorted(v) for k, v in shared.items()} == {
        reviewed[0].window.window_id: ["a"], reviewed[1].window.window_id: ["a"],
        reviewed[2].window.window_id: ["a", "b"],
    }  # fmt: skip
    assert agreement_of(shared).overall.windows == 1


def test_a_filter_passes_what_all_its_parts_name() -> None:
    sure = resolve(window(0, span(10, 20, "spike", 0.95)), [said("a", span(10, 20, "dip"))])
    plain = resolve(window(1, version="tsad-x-patch:12"), [])
    assert kinds_of(sure) == ("dip", "spike") and sure.choice.confidence == 0.95 and plain.choice.confidence == 0.3
    both: list[ReviewedWindow] = [sure, plain]

    def passing(**parts: object) -> list[ReviewedWindow]:
        made = WindowFilter(**parts)  # type: ignore[arg-type]
        assert not made.plain or not parts
        return [r for r in both if made.passes(r)]

    assert passing() == both
    assert passing(state=ReviewState.PENDING) == [plain] and passing(kind="dip") == [sure]
    assert passing(score_above=0.95) == [sure] and passing(score_below=0.95) == [plain]
    assert passing(point="P*") == both and passing(point="Q*") == []
    assert passing(detector="patch") == both and passing(version="12") == [plain] and passing(version="m:1") == [sure]
    assert passing(detector="poly") == []
    assert passing(window=(plain.window.window_id,)) == [plain]
    assert passing(kind="dip", state=ReviewState.PENDING) == []
    blind = replace(plain, choice=replace(plain.choice, proposals=()))
    assert not WindowFilter(detector="patch").passes(blind)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 1.0])
def test_audits_are_a_share_by_chance_and_stay_what_they_are(share: float) -> None:
    names = [f"{k:016x}" for k in range(2000)]
    chosen = audited(names, share)
    assert len(chosen) == pytest.approx(2000 * share, abs=4 * math.sqrt(2000 * share * (1 - share)) + 1e-9)
    assert audited(names[::-1], share) == chosen and chosen <= audited(names, min(1.0, share + 0.1))
    part = audited(names[:500], share)
    assert part <= chosen or len(part) == 1
    assert len(audited(names[:3], share)) >= (share > 0) and audited([], share) == frozenset()
