"""Figures: what is drawn is what was given, on any series, without warnings."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.core.intervals import mask_to_intervals
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.plots import (
    ScoreCurve,
    canvas,
    comparison_figure,
    decimate,
    kinds_figure,
    metric_history_figure,
    series_figure,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def made(points: int = 300, channels: int = 1, kind: str = "time", point_id: str = "U1.TI1001.PV") -> Series:
    start = 0 if kind == "index" else 1_735_689_600
    stamps = (start + np.arange(points, dtype=np.int64) * (1 if kind == "index" else 60)) * NS_PER_SECOND
    values = np.random.default_rng(0).normal(size=(points, channels))
    return Series(point_id, stamps, values, tuple(f"c{k}" for k in range(channels)), kind)


def intervals(series: Series, *runs: tuple[int, int]) -> tuple[Interval, ...]:
    mask = np.zeros(len(series), bool)
    for a, b in runs:
        mask[a:b] = True
    return mask_to_intervals(mask, series.timestamps)


def png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def test_every_kind_of_interval_has_its_row_and_the_score_its_threshold() -> None:
    series = made()
    figure = series_figure(
        series, intervals(series, (10, 40)), intervals(series, (20, 60), (100, 110)), intervals(series, (10, 45)),
        ScoreCurve(np.linspace(0, 1, 300), 0.7), "tsad-demo-patch:3",
    )  # fmt: skip
    assert png(figure).startswith(b"\x89PNG")
    values, lanes, scores = figure.axes
    assert [t.get_text() for t in lanes.get_yticklabels()] == ["truth", "pre-annotation", "annotation"]
    assert [t.get_text() for t in values.get_legend().get_texts()] == [
        "truth (1)", "pre-annotation (2)", "annotation (1)",
    ]  # fmt: skip
    assert len({bars.get_hatch() for bars in lanes.collections}) == 3
    assert len({tuple(bars.get_facecolor()[0]) for bars in lanes.collections}) == 3
    assert any(np.allclose(line.get_ydata(), 0.7) for line in scores.lines)
    assert "0.7" in scores.texts[0].get_text() and scores.get_ylabel() == "score (0..1)"
    assert scores.get_xlabel() == "time (UTC)"
    assert "U1.TI1001.PV · tsad-demo-patch:3" in figure.get_suptitle()


def test_bars_lie_where_the_intervals_are() -> None:
    series = made(kind="index")
    lanes = series_figure(series, preannotation=(Interval(50 * NS_PER_SECOND, 80 * NS_PER_SECOND),)).axes[1]
    box = lanes.collections[0].get_paths()[0].get_extents()
    assert (box.x0, box.x1) == (50.0, 80.0)
    assert lanes.get_xlabel() == "index"
    # outside the series nothing is drawn, half outside is clipped
    beyond = (Interval(-(10**12), -1), Interval(290 * NS_PER_SECOND, 10**15))
    bars = series_figure(series, truth=beyond).axes[1].collections[0].get_paths()
    assert len(bars) == 1 and bars[0].get_extents().x1 == 300.0


def test_many_channels_are_cut_to_the_six_that_move_most() -> None:
    series = made(points=500, channels=38, kind="index")
    series.values[100:150, 30] += 9
    series.values[:, 2] = np.nan
    figure = series_figure(series, annotation=intervals(series, (100, 150)), title="machine-1-1")
    labels = [axes.get_ylabel() for axes in figure.axes[:-1]]
    assert len(labels) == 6 and "c30" in labels and "c2" not in labels
    assert "6 of 38 channels" in figure.get_suptitle()
    assert [a.get_ylabel() for a in series_figure(series).axes] == [f"c{k}" for k in range(6)]


def test_short_constant_and_missing_series_are_drawn() -> None:
    single, pair, constant = made(1), made(2), made(3, kind="index")
    assert png(series_figure(single, truth=intervals(single, (0, 1)), curve=ScoreCurve(np.zeros(1), 0.5)))
    pair.values[:] = np.nan
    assert png(series_figure(pair, curve=ScoreCurve(np.full(2, np.nan))))
    constant.values[:] = 3.0
    assert png(series_figure(constant))


def test_scores_must_fit() -> None:
    with pytest.raises(ValueError, match="299 scores do not fit"):
        series_figure(made(300), curve=ScoreCurve(np.zeros(299)))


def test_long_series_keep_their_spike_and_their_gaps() -> None:
    series = made(100_000)
    series.values[77_777] = 50.0
    series.values[40_000:50_000] = np.nan
    line = series_figure(series).axes[0].lines[0]
    drawn = np.asarray(line.get_ydata(), float)
    assert len(drawn) < 6_000 and np.nanmax(drawn) == 50.0 and np.isnan(drawn).any()


@given(hnp.arrays(np.float64, st.integers(0, 400), elements=st.sampled_from([0.0, 1.0, -3.0, 7.5, np.nan])))
@settings(max_examples=40, deadline=None)
def test_decimation_keeps_extremes_and_interruptions(y: np.ndarray) -> None:
    x, line = decimate(np.arange(len(y), dtype=float), y, buckets=20)
    known = y[np.isfinite(y)]
    assert len(known) == 0 or (np.nanmin(line), np.nanmax(line)) == (known.min(), known.max())
    runs = int(np.sum(np.diff(np.concatenate(([0], np.isfinite(y).view(np.int8)))) == 1))
    assert np.count_nonzero(np.isnan(line)) == max(0, runs - 1)
    assert np.all(np.diff(x[np.isfinite(x)]) >= 0)
    if 0 < len(known) <= 40:
        assert np.array_equal(line[np.isfinite(line)], known)


def test_single_points_between_gaps_are_seen() -> None:
    series = made(20)
    series.values[::2] = np.nan
    dots = series_figure(series).axes[0].lines[1]
    assert len(dots.get_xdata()) == 10 and dots.get_marker() == "."


def test_chinese_names_are_drawn_or_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    series = made(point_id="水泵1.PV $x$")
    canvas.fonts.cache_clear()
    monkeypatch.setattr(canvas, "CJK_FONTS", ())
    try:
        figure = series_figure(series)
        assert png(figure)
        assert figure.get_suptitle() == r"\u6c34\u6cf51.PV \$x\$"
    finally:
        canvas.fonts.cache_clear()


def rows() -> list[dict[str, object]]:
    names = ("point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
             "composite_recall", "composite_f1")  # fmt: skip
    out: list[dict[str, object]] = []
    for k in range(1, 7):
        row: dict[str, object] = {"iteration": k, "gold_version": "aaaa" if k < 4 else "bbbb", "promoted": k in (2, 5)}
        row |= dict.fromkeys(names, 0.1 * k)
        row |= {"interval_f1_low": 0.1 * k - 0.05, "interval_f1_high": 0.1 * k + 0.05}
        out.append(row)
    return out


def test_iterations_are_joined_on_equal_gold_versions_only() -> None:
    figure = comparison_figure(rows()[::-1])
    assert png(figure)
    f1 = figure.axes[2]
    dashed = [line for line in f1.lines if line.get_linestyle() == "--"]
    assert [np.round(line.get_xdata()).tolist() for line in dashed] == [[1, 2, 3], [4, 5, 6]]
    assert "new gold bbbb" in [t.get_text() for t in f1.texts]
    stars = [line for line in f1.lines if line.get_marker() == "*"]
    assert [np.asarray(line.get_xdata()).tolist() for line in stars] == [[2, 5]]
    assert len(f1.collections) == 12  # six whiskers, a stem and two caps' collection each
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "point", "interval", "composite", "confidence interval", "new champion",
    ]  # fmt: skip


def test_what_is_missing_is_not_drawn() -> None:
    table = rows()[:3]
    table[1]["interval_f1"], table[1]["interval_precision"] = None, float("nan")
    table[2]["interval_f1_low"] = float("nan")
    figure = comparison_figure(table)
    dashed = next(line for line in figure.axes[2].lines if line.get_linestyle() == "--")
    assert np.round(dashed.get_xdata()).tolist() == [1, 3]
    assert comparison_figure([{"iteration": 1, "gold_version": "a"}]).axes[0].lines[:] == []
    assert png(comparison_figure([]))


def test_history_shares_panels_by_ending() -> None:
    figure = metric_history_figure(
        {"train/loss": [(0, 1.0), (1, 0.5)], "validation/loss": [(1, 0.6), (0, 0.9)], "learning_rate": [(0, 1e-3)]}, "t"
    )
    assert png(figure)
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == ["loss", "learning_rate"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[1.0, 0.5], [0.9, 0.6]]
    assert len(metric_history_figure({}).axes) == 1 and len(metric_history_figure({"a": []}).axes) == 1


def test_kinds_are_sorted_by_recall() -> None:
    figure = kinds_figure({"spike": (9, 10), "冻结": (0, 4), "drift": (3, 3), "none": (0, 0)})
    assert png(figure)
    assert [t.get_text() for t in figure.axes[0].texts] == ["0 of 4", "9 of 10", "3 of 3"]
    assert not kinds_figure({}).axes[0].texts
