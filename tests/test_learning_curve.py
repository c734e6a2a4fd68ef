"""``tsad learning_curve``: its protocol on two tiny series, and the verb from end to end."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.proposals.fitting import LabelledLook
from tsad.detectors.proposals.proposer import default_proposer, look_at
from tsad.detectors.robust_zscore import RobustZScore
from tsad.detectors.rules.reviewed import ReviewedRule
from tsad.files.locate import shipped
from tsad.metrics.interval import interval_prf
from tsad.plots import learning_curve_figure
from tsad.steps import learning_curve
from tsad.steps.curve_linear import by_linear
from tsad.steps.curve_protocol import Line, Split, Subject, answers, by_calibrator, measured
from tsad.steps.curve_strategies import StrategyDraws, compared, reached

Make = Callable[..., Workbench]


def burst(seed: int, total: int = 2400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values, truth = rng.standard_normal(total), np.zeros(total, bool)
    for at in range(150, total - 20, 300):
        values[at : at + 12] += 9.0
        truth[at : at + 12] = True
    return values, truth


@pytest.fixture(scope="module")
def line() -> Line:
    subjects = []
    for seed in range(2):
        values, truth = burst(seed)
        series = Series(f"s{seed}", np.arange(len(values), dtype=np.int64) * NS_PER_SECOND, values[:, None])
        seen = next(iter(RobustZScore(half=6.0, window=0).examine([series])))
        subjects.append(Subject(LabelledLook(look_at(series, seen), truth), series, seen.scores, seen.rows))
    return Line("toy", subjects)


def test_what_is_reviewed_is_not_scored(line: Line) -> None:
    split, again, other = (Split(line, seed, 300, 50, 2) for seed in (0, 0, 1))
    scored = mask_of_runs(split.blocks, len(line.truth))
    assert not any(scored[a:b].any() for a, b in split.windows)
    assert scored.sum() + (split.windows[:, 1] - split.windows[:, 0]).sum() == 4800
    assert np.array_equal(split.windows, again.windows) and not np.array_equal(split.windows, other.windows)
    assert len({tuple(w) for w in split.windows.tolist()}) == len(split.windows) == 8
    assert len(split.events) == sum(len(runs_of(line.truth[a:b])) for a, b in split.blocks)
    assert np.array_equal(split.along(line.truth), np.concatenate([line.truth[a:b] for a, b in split.blocks]))
    assert split.points == len(split.along(line.scores)) + len(split.blocks)
    assert all(len(turned) >= len(split.events) for turned in split.turned)


def test_answers_are_the_labels_but_for_the_noise(line: Line) -> None:
    split = Split(line, 0, 300, 50, 1)
    reviewed, said = answers(split, 3, 0.0)
    assert reviewed.sum() == sum(b - a for a, b in split.windows[:3])
    assert np.array_equal(said, line.truth & reviewed)
    _, wrong = answers(split, 8, 1.0)
    everything, _ = answers(split, 8, 0.0)
    assert not (wrong & line.truth).any() and wrong.any() and not (wrong & ~everything).any()
    assert np.array_equal(answers(split, 3, 0.5)[1], answers(split, 8, 0.5)[1] & reviewed), "asked again, the same"


def test_figures_of_a_state(line: Line) -> None:
    split, base = Split(line, 0, 300, 50, 2), default_proposer("robust_zscore")
    none, after = (by_calibrator(split, 8, 0.0, base, learn) for learn in (False, True))
    before, learnt = (measured(split, said, 8, 0.0) for said in (none, after))
    assert learnt["interval_f1"] == pytest.approx(interval_prf(split.events, split.clip(after.runs)).f1)
    assert learnt["interval_f1"] > max(0.8, before["interval_f1"])
    assert learnt["oracle_interval_f1"] >= learnt["interval_f1"]
    assert learnt["repeat_rate"] == 0.0 and learnt["event_coverage"] == 1.0 and learnt["auc_pr"] > 0.9
    assert 0 <= learnt["rotated_interval_f1"] < learnt["interval_f1"] and 0 <= learnt["ece"] < 0.5
    assert none.proposer is base and after.seconds > 0 and np.isnan(measured(split, none, 0, 0.0)["repeat_rate"])


def test_the_yardstick_learns_from_the_points_of_reviewed_windows(line: Line) -> None:
    split, figures = Split(line, 0, 300, 50, 1), line.evidence
    rule = ReviewedRule(default=0.5, merge_gap=4, min_length=1, max_length=0, shrinkage=2.0)
    inside = np.concatenate([figures[at] for _, at in line.slices()])
    varying = inside.std(axis=0) > 0
    assert np.allclose(inside.mean(axis=0), 0, atol=1e-3) and np.allclose(inside.std(axis=0)[varying], 1, atol=1e-3)
    none, after = by_linear(split, 0, 0.0, rule), by_linear(split, 8, 0.0, rule)
    assert none.ranking is line.scores, "nothing reviewed: the score as it stands"
    learnt = measured(split, after, 8, 0.0)
    assert learnt["interval_f1"] > 0.8 and learnt["auc_pr"] > 0.8 and after.seconds > 0
    gaps = ~mask_of_runs(np.stack((line.starts, line.stops), axis=1), len(line.truth))
    assert not after.ranking[gaps].any() and after.ranking.max() <= 1


@pytest.fixture
def sets(tmp_path: Path, stocked: None) -> list[str]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        values, truth = burst(len(name) + ord(name[0]), 1200)
        lines = [f"{k},{v:.4f},{int(y)}" for k, (v, y) in enumerate(zip(values, truth, strict=True))]
        (tmp_path / name / "s.csv").write_text("\n".join(["timestamp,value,label", *lines]) + "\n", "utf-8")
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def options(**given: Any) -> dict[str, Any]:
    values = yaml.safe_load((shipped("conf") / "task" / "learning_curve.yaml").read_text("utf-8"))
    return {**values, "reviews": [2], "seeds": 1, "resamples": 20, "rotations": 1, **given}


@pytest.mark.parametrize("leave_out", [False, True])
def test_the_verb_writes_rows_plot_and_run(
    bench: Make, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_out: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fitting = "tsad.detectors.proposals.fitting.synthetic_groups"
    monkeypatch.setattr(fitting, lambda detector: {})  # has a test of its own
    one, out = bench("detector=robust_zscore", "windows.length=128"), tmp_path / "out"
    score = call("learning_curve", one, **options(sets=sets, output=str(out), leave_out=leave_out)).optimised
    with (out / "learning_curve.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == learning_curve.COLUMNS and len(rows) == 4 * 2 * (2 + 1)
    overall = [r for r in rows if r["set"] == "all"]
    changes = learning_curve.since_none(
        [{**r, "interval_f1": float(r["interval_f1"]), "reviewed": int(r["reviewed"])} for r in rows], "calibrator"
    )
    assert [c["set"] for c in changes] == ["one", "two"] and all(c["after 2"].endswith("+- 0.000") for c in changes)
    mine = [float(r["interval_f1"]) for r in rows if r["strategy"] == "calibrator" and r["reviewed"] == "2"]
    assert score == pytest.approx(np.mean(mine[:2]), abs=1e-5) and mine[2] == pytest.approx(score, abs=1e-5)
    assert {r["strategy"] for r in overall} == {"calibrator", "threshold", "linear", "none"}
    assert float(overall[0]["ece_low"]) <= float(overall[0]["ece"]) <= float(overall[0]["ece_high"])
    assert (out / "learning_curve.png").stat().st_size > 1000 and "calibrator" in capsys.readouterr().out
    loop = learning_curve.open_loop(one)
    (run,) = loop.search("attributes.status = 'FINISHED'")
    kept = {a.path for a in loop.store.client.list_artifacts(run.info.run_id)}
    assert {"learning_curve.csv", "learning_curve.png", "learning_curve.json"} <= kept
    assert run.data.params["leave_out"] == str(leave_out) or run.data.params["leave_out"] == str(leave_out).lower()


@pytest.mark.parametrize(
    "wrong", [{"reviews": []}, {"reviews": [-1]}, {"seeds": 0}, {"noise": 1.5},
              {"strategies": []}, {"rotations": 0}, {"resamples": 0}],
)  # fmt: skip
def test_nonsense_is_refused(bench: Make, sets: list[str], tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        call("learning_curve", bench(), **options(sets=sets, output=str(tmp_path / "out")) | wrong)
    assert not (tmp_path / "out").exists()


def test_strategies_draw_windows_batch_after_batch(bench: Make, line: Line) -> None:
    split, base = Split(line, 0, 300, 50, 1), default_proposer("robust_zscore")
    before = split, by_calibrator(split, 0, 0.0, base, learn=True)
    orders = {}
    for name in ("random", "stratified", "diversity", "look_alikes", "top_score", "mix"):
        drawing = StrategyDraws(bench("detector=robust_zscore"), split, bench().strategy_named(name))
        first = drawing.more([], 3, before, 0.0)
        seen = split.reviewing(first)
        assert len(set(first)) == len(seen.windows) == 3 and drawing.more(first, 3, before, 0.0) == first
        every = drawing.more(first, 99, (seen, by_calibrator(seen, 3, 0.0, base, learn=True)), 0.0)
        assert every[:3] == first and sorted(every) == list(range(8)), "none is left out"
        orders[name] = tuple(every)
    assert len(set(orders.values())) > 1
    scored = mask_of_runs(split.blocks, len(line.truth))
    assert not any(scored[a:b].any() for a, b in split.reviewing(range(8)).windows)


def test_what_a_strategy_is_worth_is_told_against_random() -> None:
    curves = {"random": (0.0, 0.4, 0.8), "mix": (0.1, 0.7, 0.8)}
    rows = [
        {"strategy": name, "seed": seed, "reviewed": count, "interval_f1": value + 0.01 * seed, "set": s}
        for name, values in curves.items() for count, value in zip((0, 10, 20), values, strict=True)
        for seed in range(3) for s in ("a", "b")
    ]  # fmt: skip
    first, second = compared(rows, ["random", "mix"])
    assert first["gain at 10"] == "-" and second["gain at 10"] == "+0.300 [+0.300, +0.300]"
    target = 0.9 * 0.81
    assert first["windows to 90%"] == pytest.approx(10 + 10 * (target - 0.41) / 0.4)
    assert second["windows to 90%"] == pytest.approx(10 + 10 * (target - 0.71) / 0.1)
    assert reached([0, 5], np.array([0.9, 0.1]), 0.5) == 0 and np.isnan(reached([0, 5], np.zeros(2), 0.5))


def test_the_verb_compares_sampling_strategies(
    bench: Make, sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, out = bench("detector=robust_zscore", "windows.length=128"), tmp_path / "out"
    given = options(sets=sets, output=str(out), strategies=["random", "stratified"], reviews=[2, 4], seeds=2)
    result = call("learning_curve", one, **given)
    assert [row["strategy"] for row in result.compared] == ["random", "stratified"]
    assert "[" in result.compared[1]["gain at 4"] and "windows to 90%" in capsys.readouterr().out
    assert (out / "learning_curve.png").stat().st_size > 1000
    for wrong, said in (("best", "no sampling strategy 'best'"), ("disagreement", "knows no votes")):
        with pytest.raises(ConfigError, match=said):
            call("learning_curve", one, **{**given, "strategies": [wrong]})


def test_a_curve_is_drawn_where_it_is_known() -> None:
    rows = [{"set": s, "strategy": "calibrator", "seed": k, "reviewed": n, "interval_f1": 0.1 * k + n / 100,
             "composite_f1": None if n else 0.2, "oracle_interval_f1": float("nan")}
            for s in ("a", "水") for k in range(2) for n in (0, 25)]  # fmt: skip
    figure = learning_curve_figure(rows)
    top, below = figure.axes[0], figure.axes[2]
    assert len(figure.axes) == 4 and np.allclose(top.lines[0].get_ydata(), [0.05, 0.3])
    assert list(below.lines[0].get_xdata()) == [0] and learning_curve_figure([]).axes
