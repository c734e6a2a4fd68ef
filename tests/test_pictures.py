"""What EVALUATE draws and tabulates of two versions on the gold set."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsad.core.intervals import mask_to_intervals
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.loop.pictures import draw_evaluation, picture_name
from tsad.loop.scoring import GoldStretch
from tsad.metrics.ranking import auc_pr, precision_recall
from tsad.metrics.units import Unit
from tsad.plots import versions_figure
from tsad.plots.evaluation import Curve, precision_recall_figure, reliability_figure

START = 1_767_225_600  # 2026-01-01 00:00:00 UTC, seconds


class Kept:
    """A step that keeps what it is given."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.tables: dict[str, list[Any]] = {}

    def figure(self, figure: Any, path: str) -> None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=40)
        assert buffer.getvalue().startswith(b"\x89PNG")
        self.figures[path] = figure

    def table(self, rows: Any, path: str) -> None:
        self.tables[path] = list(rows)


def stretch(point_id: str, truth: slice, *proposed: slice, candidates: bool = True, scored: bool = True) -> GoldStretch:
    """300 minutes of a series, what is true of it, and what a version proposes."""
    stamps = (START + 60 * np.arange(300, dtype=np.int64)) * NS_PER_SECOND
    series = Series(point_id, stamps, np.random.default_rng(0).normal(size=(300, 1)))
    true, predicted = np.zeros(300, bool), np.zeros(300, bool)
    true[truth] = True
    for part in proposed:
        predicted[part] = True
    intervals = mask_to_intervals(predicted, stamps)
    unit = Unit(point_id, true, predicted, np.linspace(0, 1, 300) if scored else None)
    considered = tuple(Interval(i.start, i.end, score=0.75) for i in intervals) if candidates else ()
    return GoldStretch(unit, series, tuple(mask_to_intervals(true, stamps)), tuple(intervals), considered)


def test_two_versions_are_drawn_side_by_side() -> None:
    step: Any = Kept()
    champion = [stretch("U1/a b", slice(50, 60), slice(50, 60)), stretch("b", slice(200, 210), slice(20, 30))]
    challenger = [
        stretch("U1/a b", slice(50, 60), slice(50, 60), slice(100, 140)), stretch("b", slice(200, 210), slice(200, 210))
    ]  # fmt: skip
    draw_evaluation(step, {"champion": champion, "challenger": challenger})
    first = next(path for path in step.figures if path.startswith("disagreements/01"))
    assert Path(first).name == f"01_{picture_name(champion[0].series, (START + 6000) * NS_PER_SECOND)}"
    assert first.endswith("_2026-01-01T014000Z.png") and "U1" in first
    assert [(row["point_id"], row["points"], row["proposed by"], row["truth"]) for row in step.tables[
        "disagreements.json"
    ]] == [
        ("U1/a b", 40, "challenger", "normal"), ("b", 10, "challenger", "anomaly"), ("b", 10, "champion", "normal"),
    ]  # fmt: skip
    assert step.figures.keys() - {row["picture"] for row in step.tables["disagreements.json"]} == {
        "precision_recall.png", "calibration.png",
    }  # fmt: skip
    rows = {(row["point_id"], row["version"]): row["interval_f1"] for row in step.tables["series.json"]}
    assert rows == {
        ("U1/a b", "champion"): 1.0, ("U1/a b", "challenger"): pytest.approx(2 / 3), ("b", "champion"): 0.0,
        ("b", "challenger"): 1.0,
    }  # fmt: skip
    shares = {row["version"]: (row["cases"], row["share"]) for row in step.tables["calibration.json"]}
    assert shares == {"champion": (2, 0.5), "challenger": (3, pytest.approx(2 / 3))}


def test_at_most_ten_disagreements_are_drawn() -> None:
    step: Any = Kept()
    many = [slice(k * 20, k * 20 + 1 + k) for k in range(15)]
    draw_evaluation(step, {"1": [stretch("a", slice(0, 0))], "2": [stretch("a", slice(0, 0), *many)]})
    assert [row["points"] for row in step.tables["disagreements.json"]] == list(range(15, 5, -1))
    assert "precision_recall.png" not in step.figures, "nothing is true"


def test_one_version_without_scores_or_candidates() -> None:
    step: Any = Kept()
    draw_evaluation(step, {"champion": [stretch("a", slice(5, 9), candidates=False, scored=False)]})
    assert step.figures == {} and list(step.tables) == ["series.json"]


def test_the_curve_is_that_of_its_area() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.random(500) < 0.2, rng.random(500).round(1)
    recall, precision = precision_recall(truth, scores)
    assert np.sum(np.diff(recall, prepend=0.0) * precision) == pytest.approx(auc_pr(truth, scores))
    assert len(recall) == len(np.unique(scores)) and recall[-1] == 1.0 and precision[-1] == pytest.approx(truth.mean())
    assert [len(part) for part in precision_recall(np.zeros(3, bool), np.zeros(3))] == [0, 0]


def test_what_is_drawn_is_what_was_given() -> None:
    step: Any = Kept()
    series = stretch("水泵", slice(0, 0)).series
    figure = versions_figure(series, (), {"champion": (), "challenger": ()}, "two that agree")
    step.figure(figure, "a.png")
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == ["truth", "champion", "challenger"]
    curve = Curve(np.array([0.5, 1.0]), np.array([1.0, 0.5]), (0.5, 1.0))
    figure = precision_recall_figure({"champion v1": curve}, 0.1)
    step.figure(figure, "b.png")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.5, 1.0]
    row = {"cases": 4, "probability": 0.4, "share": 0.5, "share_low": 0.2, "share_high": 0.8}
    figure = reliability_figure({"champion v1": [row]})
    step.figure(figure, "c.png")
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["champion v1 (4 candidates)"]
