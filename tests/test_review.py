"""What follows from annotations, and the simulated reviewer."""

from __future__ import annotations

import numpy as np
import pytest

from tsad.agreement.deciding import ConsensusRule
from tsad.core.errors import ConfigError, LabelError
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.agreement import resolve
from tsad.review.simulated import SimulatedOptions, SimulatedReviewer

MINUTE = 60_000_000_000
OPTIONS = SimulatedOptions(
    wait=False, poll_seconds=1.0, min_reviewed=0, agreement_iou=0.5, miss_rate=0.0, shift_rate=0.0, shift_points=3,
    spurious_rate=0.0, seed=0, beside=[],
)  # fmt: skip


def simulated(**changes: float) -> SimulatedReviewer:
    return SimulatedReviewer(**{**dict(OPTIONS), **changes})


def span(a: int, b: int, label: str = "Anomaly", score: float = 1.0) -> Interval:
    return Interval(a * MINUTE, b * MINUTE, label, score)


def window(labels: tuple[Interval, ...] | None = None, name: str = "P1", start: int = 0, stop: int = 100) -> Window:
    stamps = np.arange(400, dtype=np.int64) * MINUTE
    return Window(Series(name, stamps, np.zeros((400, 1)), labels=labels), start, stop)


def choice(proposal: tuple[Interval, ...] | None = (), **kwargs) -> Choice:
    proposals = () if proposal is None else (Proposal(proposal, Origin("x", "x:1")),)
    return Choice(window(**kwargs), 0.5, "random", proposals=proposals)


def said(who: str, *intervals: Interval, at: int = 0, skipped: bool = False) -> Annotation:
    return Annotation(who, intervals, at, skipped)


def test_nobody_answered_is_pending_and_all_skipped_is_skipped() -> None:
    assert resolve(choice(), []).state is ReviewState.PENDING
    refused = resolve(choice(), [said("a", skipped=True), said("b", skipped=True)])
    assert refused.state is ReviewState.SKIPPED and not refused.usable


def test_equal_to_the_proposal_is_accepted_whatever_the_exact_edges_and_scores() -> None:
    shown = choice((span(10, 20, score=0.7), span(20, 30, score=0.6)))
    inside = Interval(10 * MINUTE - 30_000_000_000, 29 * MINUTE + 1)  # between points, same points covered
    reviewed = resolve(shown, [said("a", inside)])
    assert reviewed.state is ReviewState.ACCEPTED
    assert reviewed.intervals == (span(10, 30),)
    assert resolve(choice(()), [said("a")]).state is ReviewState.ACCEPTED


def test_one_point_or_another_kind_makes_it_corrected() -> None:
    shown = choice((span(10, 20),))
    assert resolve(shown, [said("a", span(10, 21))]).state is ReviewState.CORRECTED
    assert resolve(shown, [said("a", span(10, 20, "spike"))]).state is ReviewState.CORRECTED
    assert resolve(shown, [said("a")]).state is ReviewState.CORRECTED


def test_gold_windows_have_no_proposal_to_accept() -> None:
    gold = Choice(window(), 1.0, "gold", Purpose.GOLD)
    reviewed = resolve(gold, [said("a")])
    assert reviewed.state is ReviewState.ANNOTATED and reviewed.usable and reviewed.intervals == ()


def test_what_a_store_of_before_calls_rejected_is_a_skipped_window() -> None:
    assert ReviewState("REJECTED") is ReviewState.SKIPPED
    with pytest.raises(ValueError, match="REFUSED"):
        ReviewState("REFUSED")


def test_people_who_disagree_are_a_conflict() -> None:
    far = resolve(choice(), [said("a", span(10, 20)), said("b", span(18, 40))])
    assert far.state is ReviewState.CONFLICT and not far.usable and far.intervals == ()
    assert resolve(choice(), [said("a", span(10, 20)), said("b")], ConsensusRule(iou=0.0)).state is ReviewState.CONFLICT


def test_the_last_answer_of_each_person_counts_and_skips_are_set_aside() -> None:
    answers = [said("a", span(1, 90), at=1), said("b", skipped=True, at=2), said("a", span(10, 20), at=3)]
    reviewed = resolve(choice(), answers)
    assert reviewed.state is ReviewState.CORRECTED and reviewed.intervals == (span(10, 20),)
    assert len(reviewed.annotations) == 3


def test_a_majority_decides_point_by_point_and_the_latest_breaks_a_tie() -> None:
    three = [said("a", span(10, 20), at=1), said("b", span(11, 20), at=2), said("c", span(11, 21, "spike"), at=3)]
    assert resolve(choice(), three).intervals == (span(11, 20, "spike"),)
    two = [said("b", span(11, 20), at=2), said("a", span(10, 20), at=1)]
    assert resolve(choice(), two).intervals == (span(11, 20),)


def test_a_conflict_ends_when_most_are_alike_when_somebody_yields_or_when_the_expert_answers() -> None:
    two = [said("a", span(10, 20), at=1), said("b", at=2)]
    assert resolve(choice(), two).state is ReviewState.CONFLICT
    third = [*two, said("c", span(10, 21), at=3)]
    assert resolve(choice(), third).intervals == (span(10, 21),), "c broke the tie between a and c"
    assert resolve(choice(), [*two, said("a", at=4)]).intervals == ()
    even = [*third, said("d", at=4)]
    assert resolve(choice(), even).state is ReviewState.CONFLICT, "two against two"
    expert = resolve(choice(), even, ConsensusRule(expert="d"))
    assert expert.state is ReviewState.ACCEPTED and expert.intervals == ()
    refused = [*two, said("d", at=5, skipped=True)]
    assert resolve(choice(), refused, ConsensusRule(expert="d")).state is ReviewState.CONFLICT


def test_of_answers_that_agree_the_mode_says_what_counts() -> None:
    three = [said("a", span(10, 20), at=1), said("b", span(11, 21), at=2), said("e", span(12, 20), at=3)]
    by_mode = {
        "majority": span(11, 20), "union": span(10, 21), "intersection": span(12, 20), "expert": span(12, 20),
    }  # fmt: skip
    for mode, truth in by_mode.items():
        rule = ConsensusRule(0.5, mode, "e")  # type: ignore[arg-type]
        assert resolve(choice(), three, rule).intervals == (truth,), mode
    without = ConsensusRule(0.5, "expert", "nobody here")
    assert resolve(choice(), three, without).intervals == (span(11, 20),), "the expert has not answered yet"
    far = ConsensusRule(0.5, "expert", "e")
    assert resolve(choice(), [said("a", span(50, 60)), said("e", span(1, 2))], far).intervals == (span(1, 2),)


def test_a_window_for_two_waits_for_the_second() -> None:
    alone = [said("a", span(10, 20))]
    waiting = resolve(choice(), alone, people=2)
    assert waiting.state is ReviewState.PENDING and len(waiting.annotations) == 1
    assert resolve(choice(), alone, ConsensusRule(expert="a"), people=2).usable, "the expert alone will do"
    assert resolve(choice(), [*alone, said("a", at=2)], people=2).state is ReviewState.PENDING, "one person twice"
    assert resolve(choice(), [*alone, said("b", skipped=True)], people=2).usable, "who cannot tell has answered"


def test_what_a_batch_action_answered_gives_way_to_a_person() -> None:
    batch = Annotation("a", (span(10, 20),), 5, batch="accept above 0.9")
    assert resolve(choice((span(10, 20),)), [batch], people=2).state is ReviewState.ACCEPTED
    corrected = resolve(choice((span(10, 20),)), [said("b", at=1), batch])
    assert corrected.state is ReviewState.CORRECTED and corrected.intervals == ()
    assert resolve(choice(), [batch, said("b", skipped=True, at=9)]).intervals == (span(10, 20),)


def test_the_last_interval_ends_with_its_last_point_before_a_gap() -> None:
    stamps = np.array([0, 1, 2, 3, 100, 101, 102], np.int64) * MINUTE
    w = Window(Series("G", stamps, np.zeros((7, 1))), 0, 4)
    reviewed = resolve(Choice(w, 1.0, "random"), [said("a", span(2, 50))])
    assert reviewed.intervals == (span(2, 4),)


def test_simulated_answers_are_the_labels_clipped_to_the_window() -> None:
    labels = (span(5, 15, "spike"), span(90, 120, "level shift"), span(300, 310))
    reviewed = SimulatedReviewer(OPTIONS).pull([choice((), labels=labels)])[0]
    assert reviewed.intervals == (span(5, 15, "spike"), span(90, 100, "level shift"))
    assert reviewed.annotations[0].annotator == "simulated"


def test_simulated_needs_labels_and_names_the_points() -> None:
    reviewer = SimulatedReviewer(OPTIONS)
    with pytest.raises(LabelError, match="P9"):
        reviewer.push([choice(labels=(), name="P1"), choice(labels=None, name="P9")])
    assert reviewer.push([choice(labels=())]) == 1


def many(labels: tuple[Interval, ...], count: int = 600) -> list[Choice]:
    return [choice((), labels=labels, name=f"P{k}") for k in range(count)]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_mistakes_come_at_their_rates(rate: float) -> None:
    labels = (span(40, 60),)
    missed = simulated(miss_rate=rate).pull(many(labels))
    assert np.mean([not r.intervals for r in missed]) == pytest.approx(rate, abs=0.06)
    spurious = simulated(spurious_rate=rate).pull(many(()))
    assert np.mean([bool(r.intervals) for r in spurious]) == pytest.approx(rate, abs=0.06)
    shifted = simulated(shift_rate=rate, shift_points=3).pull(many(labels))
    moved = [r.intervals[0] for r in shifted if r.intervals != labels]
    assert len(moved) / 600 == pytest.approx(rate * 48 / 49, abs=0.06)
    assert all(abs(i.start - 40 * MINUTE) <= 3 * MINUTE and abs(i.end - 60 * MINUTE) <= 3 * MINUTE for i in moved)


def test_the_same_window_gets_the_same_answer_in_any_order() -> None:
    reviewer = simulated(miss_rate=0.5, shift_rate=0.5)
    choices = many((span(10, 20), span(40, 60)), 40)
    first = {r.window.window_id: r.intervals for r in reviewer.pull(choices)}
    again = {r.window.window_id: r.intervals for r in SimulatedReviewer(reviewer.settings).pull(choices[::-1])}
    assert first == again
    other = simulated(miss_rate=0.5, shift_rate=0.5, seed=1).pull(choices)
    assert {r.window.window_id: r.intervals for r in other} != first


def test_rates_outside_the_unit_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="miss_rate"):
        simulated(miss_rate=1.5)
