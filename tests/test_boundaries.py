"""Where proposals begin and end, against a slow matching and margins worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_proposals import examined, judged, wave

from tsad.detectors.proposals.boundaries import (
    USUAL,
    WAIT,
    Margins,
    best_pairs,
    drawn_inside,
    learned_margins,
    widened,
)
from tsad.detectors.proposals.choose import Rated
from tsad.detectors.proposals.proposer import Proposer, corrected, default_proposer, look_at, to_state


def test_margins_stay_disjoint_short_and_inside() -> None:
    runs = np.array([[1, 3], [10, 30], [34, 40], [90, 99]])
    assert widened(runs, Margins(0, 0), 100).tolist() == runs.tolist()
    assert widened(runs, Margins(5, 5), 100).tolist() == [[0, 5], [6, 32], [32, 45], [85, 100]]
    assert widened(runs, Margins(-50, -1), 100).tolist() == [[2, 3], [20, 29], [37, 39], [94, 98]]
    assert widened(runs[:0], Margins(5, 5), 100).shape == (0, 2)
    barred = np.array([[0, 1], [32, 34], [41, 44]])
    assert widened(runs, Margins(5, 5), 100, barred).tolist() == [[1, 5], [6, 32], [34, 41], [85, 100]]
    rng = np.random.default_rng(0)
    for margins in (Margins(*rng.integers(-20, 40, 2)) for _ in range(50)):
        edges = np.sort(rng.choice(500, 40, replace=False)).reshape(-1, 2)
        out = widened(edges, margins, 500)
        assert np.all(out[:, 0] < out[:, 1]) and np.all(out[1:, 0] >= out[:-1, 1])
        assert out.min() >= 0 and out.max() <= 500


def test_pairs_are_those_that_share_most() -> None:
    proposed = np.array([[0, 10], [12, 40], [60, 70]])
    drawn = np.array([[8, 30], [35, 50], [80, 90]])
    pairs = best_pairs(proposed, drawn)
    assert pairs.proposed.tolist() == [[12, 40]] and pairs.drawn.tolist() == [[8, 30]]
    assert pairs.shared == pytest.approx([18 / 32]) and pairs.errors.tolist() == [[4, 10]]
    both = best_pairs(np.array([[5, 9], [12, 40]]), np.array([[8, 13], [14, 30]]))
    assert sorted(both.shared.tolist()) == pytest.approx(sorted([1 / 8, 16 / 28]))
    assert len(best_pairs(proposed[:0], drawn).shared) == len(best_pairs(proposed, drawn[:0]).errors) == 0


def test_a_boundary_counts_where_both_sides_were_seen() -> None:
    truth, reviewed = np.zeros((2, 60), bool)
    reviewed[:20] = reviewed[30:50] = True
    truth[5:9] = truth[18:25] = truth[30:33] = truth[40:45] = truth[47:50] = True
    assert drawn_inside(truth, reviewed).tolist() == [[5, 9], [40, 45]]
    assert drawn_inside(truth, np.ones(60, bool)).tolist() == [[5, 9], [18, 25], [30, 33], [40, 45], [47, 50]]
    ends = np.ones(4, bool)
    assert len(drawn_inside(ends, ends)) == 0


def test_margins_are_learned_against_the_usual_ones() -> None:
    assert learned_margins([], USUAL) == USUAL == learned_margins([np.zeros((0, 2), np.int64)], USUAL)
    errors = [np.array([[10, -4]]), np.array([[12, -6], [50, 0]])]
    weight = 3 / (3 + WAIT)
    assert learned_margins(errors, USUAL) == (round(weight * 12 + (1 - weight) * 1), round(weight * 4))


def test_reviews_move_the_boundaries_of_what_is_proposed() -> None:
    """People draw 12 points more on either side than what is high: after many such answers so does the proposer."""
    series, truth = wave(16_000, at=tuple(range(400, 15_800, 700)))
    wide = np.convolve(truth, np.ones(25), mode="same") > 0
    base = default_proposer("robust_zscore")
    after = corrected(base, [judged(series, wide, 12_000)])
    assert base.margins == USUAL and min(after.margins) >= 4
    look, late = look_at(series, examined(series)), np.arange(16_000) >= 12_000
    rated = after.rate(look)
    drawn = drawn_inside(wide, late)
    shared = [best_pairs(replace(after, margins=m).proposals(rated, 16_000)[0], drawn).shared.mean()
              for m in (USUAL, after.margins)]  # fmt: skip
    assert shared[1] > shared[0] + 0.05
    again = Proposer.from_artifact(state=json.loads(json.dumps(to_state(after))))
    assert again.margins == after.margins and again.intervals(series, look) == after.intervals(series, look)
    state = {key: value for key, value in to_state(after).items() if key != "margins"}
    assert Proposer.from_artifact(state=state).margins == (0, 0), "the first edition had none"
    runs, p = after.proposals(Rated(rated.runs, rated.probability), 16_000, threshold=2.0)
    assert len(runs) == len(p) == 0
