"""agreement: what all annotators say counts, what only some say is disputed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.agreement.consensus import consensus
from tsad.agreement.deciding import ConsensusRule, combined, counting
from tsad.agreement.latest import judged, latest
from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.reviews import Annotation, Labelling
from tsad.core.types import IntArray, Interval


def said(who: str, *spans: tuple[int, int], kind: str = "Anomaly", when: int = 1) -> Annotation:
    return Annotation(who, tuple(Interval(a, b, kind) for a, b in spans), when)


def one(*annotations: Annotation, agreement: float = 1.0) -> Labelling:
    return consensus({"p": annotations}, agreement)["p"]


def test_one_annotator_is_believed() -> None:
    found = one(said("ann", (5, 9), (20, 30)))
    assert found.intervals == (Interval(5, 9), Interval(20, 30)) and found.disputed == ()
    assert one(said("ann")) == Labelling(()) and consensus({}) == {}


def test_what_all_mark_is_a_label_and_the_rest_is_disputed() -> None:
    found = one(said("ann", (0, 10), (50, 60)), said("bob", (5, 15)))
    assert found.intervals == (Interval(5, 10),)
    assert found.disputed == (Interval(0, 5), Interval(10, 15), Interval(50, 60))
    assert one(said("ann", (0, 10)), said("bob", (0, 10))) == Labelling((Interval(0, 10),))
    nothing = one(said("ann", (0, 10)), said("bob"))
    assert nothing.intervals == () and nothing.disputed == (Interval(0, 10),)
    three = one(said("ann", (0, 9)), said("bob", (3, 9)), said("eve", (6, 9)))
    assert three.intervals == (Interval(6, 9),) and three.disputed == (Interval(0, 6),)


def test_only_the_newest_submission_counts_and_skipping_says_nothing() -> None:
    found = latest([said("ann", (0, 1), when=3), said("ann", (5, 9), when=2), said("bob", (5, 9), when=0)])
    assert {a.annotator: a.intervals for a in found} == {"ann": (Interval(0, 1),), "bob": (Interval(5, 9),)}
    assert [a.annotator for a in found] == ["bob", "ann"], "in the order of submission"
    skipped = Annotation("bob", (), 9, skipped=True)
    assert one(said("ann", (0, 10)), skipped) == Labelling((Interval(0, 10),))


def test_of_equal_times_the_later_answer_counts_and_a_refusal_replaces_what_she_said_before() -> None:
    first, second = said("ann", (0, 1), when=1), said("ann", (5, 9), when=1)
    assert latest([first, second]) == [second] and latest([second, first]) == [first]
    assert one(first, second) == Labelling((Interval(5, 9),))
    refusal = Annotation("ann", (), 2, skipped=True)
    assert latest([first, refusal]) == [refusal] and judged([first, refusal]) == []
    assert one(first, refusal, said("bob", (3, 4))) == Labelling((Interval(3, 4),))


def test_the_kind_is_that_of_most() -> None:
    found = one(said("ann", (0, 10), kind="b"), said("bob", (0, 10), kind="a"), said("eve", (0, 10), kind="b"))
    assert found.intervals == (Interval(0, 10, "b"),) and found.disputed == ()
    assert one(said("ann", (0, 10), kind="b"), said("bob", (0, 10), kind="a")).intervals[0].label == "a"
    mixed = Annotation("ann", (Interval(0, 5, "a"), Interval(5, 10, "b")), 1)
    assert one(mixed, mixed).intervals == (Interval(0, 5, "a"), Interval(5, 10, "b"))
    assert one(mixed).intervals == (Interval(0, 5, "a"), Interval(5, 10, "b"))


def test_edges_that_nearly_agree_are_no_dispute_where_that_is_asked_for() -> None:
    pair = said("ann", (0, 10), (50, 60)), said("bob", (1, 10), (58, 70))
    assert one(*pair).disputed == (Interval(0, 1), Interval(50, 58), Interval(60, 70))
    found = one(*pair, agreement=0.5)
    assert found.intervals == (Interval(1, 10), Interval(58, 60))
    assert found.disputed == (Interval(50, 58), Interval(60, 70))  # IoU 2/20: they do not mean the same
    alone = one(said("ann", (0, 10)), said("bob"), agreement=0.5)
    assert alone.disputed == (Interval(0, 10),)


def test_the_largest_group_counts_and_of_equal_ones_the_one_that_agrees_most() -> None:
    rule = ConsensusRule(iou=0.6)
    chain = [said("a", (0, 10), when=1), said("b", (2, 12), when=2), said("c", (4, 14), when=3)]
    assert [a.annotator for a in counting(chain, rule)] == ["b", "c"], "b agrees with either alike: the latest"
    closer = [said("a", (0, 10), when=1), said("b", (1, 11), when=2), said("c", (3, 13), when=3)]
    assert [a.annotator for a in counting(closer, rule)] == ["a", "b"]
    five = [*chain[:1], *(said(f"n{k}", when=k) for k in range(3)), said("m", (90, 99), when=9)]
    assert [a.annotator for a in counting(five, rule)] == ["n0", "n1", "n2"]
    assert [a.annotator for a in counting(five[:3], rule)] == ["n0", "n1"], "two of three say normal"
    assert counting([said("a", (0, 1)), said("b")], rule) == [] and counting([], rule) == []


def test_modes_point_by_point() -> None:
    masks = [np.array(m, dtype=bool) for m in ([1, 1, 0, 0], [1, 0, 1, 0])]
    assert combined(masks, "union").tolist() == [True, True, True, False]
    assert combined(masks, "intersection").tolist() == [True, False, False, False]
    assert combined(masks, "majority").tolist() == combined(masks, "expert").tolist() == [True, False, True, False]


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15)).map(lambda s: (s[0], s[0] + s[1])), max_size=4)


@given(st.lists(spans, min_size=1, max_size=4))
def test_every_instant_is_judged_by_all_some_or_none(marks: list[list[tuple[int, int]]]) -> None:
    stamps: IntArray = np.arange(60, dtype=np.int64)
    people = [said(f"p{k}", *m) for k, m in enumerate(marks)]
    found = one(*people)
    votes = sum(intervals_to_mask(p.intervals, stamps).astype(int) for p in people)
    assert np.array_equal(intervals_to_mask(found.intervals, stamps), votes == len(people))
    assert np.array_equal(intervals_to_mask(found.disputed, stamps), (votes > 0) & (votes < len(people)))
    for kind in (found.intervals, found.disputed):
        assert all(a.end <= b.start for a, b in pairwise(kind))
        assert clip(kind, 0, 100) == kind
