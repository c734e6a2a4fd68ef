"""``tsad benchmark`` on tiny sets: rows, scores, resuming, what is left out and what is refused."""

from __future__ import annotations

import csv
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from reading_kit import failures_of, series_of
from sources_kit import write
from verbs_kit import call

from tsad import cli
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, SeriesError, SourceError
from tsad.core.intervals import intervals_to_mask, runs_of
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.files.locate import shipped
from tsad.metrics.figures import FIGURES, pooled_figures, series_counts, series_figures
from tsad.metrics.interval import composite_prf
from tsad.metrics.paired import mean_interval, mean_of_means
from tsad.metrics.ranking import oracle_composite_f1, vus_pr
from tsad.metrics.units import Unit, summarise
from tsad.plots import leaderboard_figure
from tsad.sources.tsb_ad import TsbAdSource, is_tsb_ad
from tsad.steps import benchmark
from tsad.steps.leaderboard import COLUMNS, MEASURED, mean_rows, table
from tsad.steps.sets import open_sets

Make = Callable[..., Workbench]
SETTINGS = {"cut": 0, "vus_step": 5, "rotations": 2, "seed": 0}
TSB = "001_Toy_id_1_Facility_tr_50_1st_120.csv"


pytestmark = pytest.mark.usefixtures("stocked")


def toy(seed: int, n: int = 240, channels: int = 1, at: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a stretch of 8 points that is 12 deviations higher in the last channel: values [n, C], labels [n]."""
    values = np.random.default_rng(seed).standard_normal((n, channels))
    labels = np.zeros(n, int)
    labels[at : at + 8] = 1
    values[at : at + 8, -1] += 12.0
    return values, labels


def plain_file(path: Path, seed: int, *, label: bool = True, abnormal: bool = True) -> Path:
    values, labels = toy(seed)
    head = "timestamp,value" + (",label" if label else "")
    rows = [
        f"2020-01-01T{k // 60:02d}:{k % 60:02d}:00,{v[0]}" + (f",{int(y) if abnormal else 0}" if label else "")
        for k, (v, y) in enumerate(zip(values, labels, strict=True))
    ]
    return write(path, "\n".join([head, *rows]) + "\n")


def tsb_file(path: Path, seed: int, channels: int = 1) -> Path:
    values, labels = toy(seed, channels=channels)
    names = ["Data"] if channels == 1 else [f"sensor {k}" for k in range(channels)]
    rows = [",".join([*(f"{x}" for x in v), str(y)]) for v, y in zip(values, labels, strict=True)]
    return write(path, "\n".join([",".join([*names, "Label"]), *rows]) + "\n")


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Two sets: plain CSVs, two of which do not count, and TSB-AD's files."""
    for k in range(3):
        plain_file(tmp_path / "plain" / f"p{k}.csv", k)
    plain_file(tmp_path / "plain" / "quiet.csv", 3, abnormal=False)
    plain_file(tmp_path / "plain" / "bare.csv", 4, label=False)
    tsb_file(tmp_path / "tsb" / TSB, 5)
    tsb_file(tmp_path / "tsb" / "002_Toy_id_2_Sensor_tr_50_1st_120.csv", 6, channels=3)
    return [str(tmp_path / "plain"), str(tmp_path / "tsb")]


def options(**given: Any) -> dict[str, Any]:
    """The task's own keys as its YAML has them."""
    values = yaml.safe_load((shipped("conf") / "task" / "benchmark.yaml").read_text("utf-8"))
    return {**values, "resamples": 50, **given}


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_leaderboard_from_two_sets(
    bench: Make, sets: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = tmp_path / "out", bench()
    logging.getLogger("tsad").propagate = True
    with caplog.at_level(logging.INFO, "tsad"):
        score = call(
            "benchmark", one, **options(sets=sets, detectors=["robust_zscore", "poly"], output=str(out))
        ).optimised
    assert "quiet (nothing abnormal)" in caplog.text and "bare (no labels)" in caplog.text
    assert "robust_zscore" in capsys.readouterr().out
    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * 5 + 2 * 3 + 2 * 3
    assert {r["series"] for r in rows if r["set"] == "plain"} == {"p0", "p1", "p2", "mean", "pooled"}
    pooled = [r for r in rows if r["series"] == "pooled"]
    assert all(0 <= float(r["composite_f1"]) <= 1 and r["rotated_interval_f1"] and not r["vus_pr"] for r in pooled)
    rows = [r for r in rows if r["series"] != "pooled"]
    means = {(r["set"], r["detector"]): r for r in rows if r["series"] == "mean"}
    assert set(means) == {(s, d) for s in ("plain", "tsb", "mean") for d in ("robust_zscore", "poly")}
    mean = means["mean", "poly"]
    each = [np.mean([float(r["vus_pr"]) for r in rows if (r["set"], r["detector"]) == (s, "poly") and r["points"]
                     and r["series"] != "mean"]) for s in ("plain", "tsb")]  # fmt: skip
    assert float(mean["vus_pr"]) == pytest.approx(np.mean(each), abs=1e-4) and score == pytest.approx(np.mean(each))
    assert float(mean["vus_pr_low"]) <= float(mean["vus_pr"]) <= float(mean["vus_pr_high"])
    assert means["plain", "robust_zscore"]["interval_f1"] and float(means["plain", "robust_zscore"]["auc_pr"]) > 0.9
    for row in rows:
        assert float(row["points_per_second"]) > 0 and float(row["peak_mb"]) >= 0
        assert all(0 <= float(row[f]) <= 1 for f in MEASURED) and row["chosen_on"] == "no"
    loop = benchmark.open_loop(one)
    runs = loop.search("attributes.status = 'FINISHED'")
    (parent,) = [r for r in runs if r.data.tags["tsad.step"] == "BENCHMARK"]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {r.data.tags["tsad.detector"] for r in children} == {"robust_zscore", "poly"}
    assert parent.data.metrics["poly/vus_pr"] == pytest.approx(score, abs=1e-6)
    kept = {a.path for a in loop.store.client.list_artifacts(parent.info.run_id)}
    assert {"leaderboard.csv", "leaderboard.png", "leaderboard.json", "left_out.json"} <= kept


def test_the_sets_that_something_was_chosen_on_say_so(bench: Make, sets: list[str], tmp_path: Path) -> None:
    shutil.copytree(sets[0], tmp_path / "development" / "NAB")
    opened = open_sets(bench(), [sets[0], str(tmp_path / "development" / "NAB"), "long_shapes"], 0)
    assert [one.chosen_on for one in opened] == ["no", "yes", "yes"]


def test_tsb_ads_protocol_takes_the_period_of_the_first_channel_for_the_widest_buffer() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack((np.sin(np.arange(2000) * 2 * np.pi / 30), rng.standard_normal(2000)))
    values[5, 0] = np.nan
    truth = np.zeros(2000, bool)
    truth[900:930] = True
    scores = rng.random(2000) + 0.8 * truth
    series = Series("a", np.arange(2000, dtype=np.int64) * NS_PER_SECOND, values)
    assert benchmark.tsb_ad_vus_pr(series, truth, scores, 5) == pytest.approx(vus_pr(truth, scores, 30))
    values[:, 0] = np.sin(np.arange(2000) * 2 * np.pi / 150)
    assert benchmark.tsb_ad_vus_pr(series, truth, scores, 5) == pytest.approx(vus_pr(truth, scores, 150, step=5))


def test_scores_lie_beside_with_their_times(bench: Make, sets: list[str], tmp_path: Path) -> None:
    one = bench()
    detector = one.detector_named("robust_zscore")
    benchmark._one_detector(one.context, "mine", detector, open_sets(one, sets, 0), tmp_path / "out", SETTINGS)
    place = tmp_path / "out" / "scores" / "mine"
    table_ = pq.read_table(place / "plain" / "p0.parquet")
    assert table_.column_names == ["timestamp", "score"] and str(table_.schema.field("timestamp").type).endswith("UTC]")
    series = next(iter(series_of(one.csv_at(Path(sets[0])), ["p0"])))
    assert np.array_equal(table_["score"].to_numpy(), detector.score([series])[0])
    index = pq.read_table(place / "tsb" / f"{TSB[:-4]}.parquet")["timestamp"]
    assert index.to_pylist() == list(range(240))


def test_what_is_there_is_not_computed_again(
    bench: Make, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    propose = benchmark._proposed
    monkeypatch.setattr(benchmark, "_proposed", lambda d, s: scored.append(s.point_id) or propose(d, s))
    one, half = bench(), bench("detector=robust_zscore", "detector.half=3.0").make_detector()
    plain = one.detector_named("robust_zscore")

    def rows(detector: Any = plain, **other: int) -> list[dict[str, Any]]:
        found = open_sets(one, sets[:1], 0)
        settings = {**SETTINGS, **other}
        return benchmark._one_detector(one.context, "robust_zscore", detector, found, tmp_path / "out", settings)

    first = rows()
    assert sorted(scored) == ["p0", "p1", "p2"]
    assert rows() == first and len(scored) == 3
    (tmp_path / "out" / "scores" / "robust_zscore" / "plain" / "p1.parquet").write_bytes(b"half a file")
    plain_file(Path(sets[0]) / "p2.csv", 99)
    rows()
    assert sorted(scored[3:]) == ["p1", "p2"]
    rows(half)
    assert len(scored) == 8, "another option of the detector is another score"
    rows(half, vus_step=1)
    rows(half, vus_step=1)
    assert len(scored) == 11, "so is another way of measuring"
    monkeypatch.setattr("tsad.detectors.proposals.proposer.defaults_digest", lambda name: "others")
    rows(half, vus_step=1)
    assert len(scored) == 14, "and other default weights propose other intervals"


def test_a_cut_keeps_the_head(bench: Make, sets: list[str], tmp_path: Path) -> None:
    (one,) = open_sets(bench(), sets[:1], 150)
    assert all(len(series) == len(truth) == 150 for series, truth in one.read())
    (none,) = open_sets(bench(), sets[:1], 100)
    assert list(none.read()) == [] and none.left_out["p0"] == "nothing abnormal in its first 100"
    mild = options(detectors=["robust_zscore"], output=str(tmp_path / "out"), cut=100)
    with pytest.raises(SourceError, match="nothing abnormal in any series"):
        call("benchmark", bench(), **mild | {"sets": sets[:1]})
    for k in range(3):
        (Path(sets[0]) / f"p{k}.csv").unlink()
    (bare,) = open_sets(bench(), sets[:1], 0)
    with pytest.raises(SourceError, match=r"set plain has no series with an anomaly.*bare: no labels"):
        list(bare.read())


def test_a_set_whose_heads_are_normal_is_left_out(bench: Make, sets: list[str], tmp_path: Path) -> None:
    shutil.copytree(sets[0], tmp_path / "late")
    for k in range(3):
        values, labels = toy(k, at=200)
        lines = [f"2020-01-01T{k // 60:02d}:{k % 60:02d}:00,{v[0]},{y}" for k, (v, y) in
                 enumerate(zip(values, labels, strict=True))]  # fmt: skip
        write(tmp_path / "late" / f"p{k}.csv", "\n".join(["timestamp,value,label", *lines]) + "\n")
    both = options(sets=[sets[0], str(tmp_path / "late")], detectors=["robust_zscore"], output=str(tmp_path / "out"))
    call("benchmark", bench(), **both | {"cut": 150})
    assert {row["set"] for row in rows_of(tmp_path / "out")} == {"plain", "mean"}


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"detectors": ["robust_zscore", "ploy"]}, ConfigError, "no detector 'ploy'. Did you mean poly"),
        ({"detectors": []}, ConfigError, "detectors is"), ({"vus_step": 0}, ConfigError, "vus_step is 0"),
        ({"resamples": 0}, ConfigError, "resamples is 0"), ({"rotations": 0}, ConfigError, "rotations is 0"),
        ({"cut": -1}, ConfigError, "cut is -1"), ({"sets": []}, ConfigError, "sets="),
        ({"sets": ["/nowhere/NAB"]}, SourceError, "there is no folder /nowhere/NAB"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_any_work(
    bench: Make, sets: list[str], tmp_path: Path, wrong: dict, kind: type, words: str
) -> None:
    with pytest.raises(kind, match=words.replace(".", r"\.")):
        call("benchmark", bench(), **options(sets=sets, detectors=["poly"], output=str(tmp_path / "out")) | wrong)
    assert not (tmp_path / "out").exists()


def test_sets_are_told_apart_by_name(bench: Make, sets: list[str], tmp_path: Path) -> None:
    shutil.copytree(sets[0], tmp_path / "other" / "plain")
    with pytest.raises(ConfigError, match="two of them are called plain"):
        open_sets(bench(), [sets[0], str(tmp_path / "other" / "plain")], 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no file"):
        open_sets(bench(), [str(tmp_path / "empty")], 0)


def test_a_made_set_stands_beside_folders_and_a_folder_of_its_name_goes_first(
    bench: Make, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, made = open_sets(bench(), [sets[0], "long_shapes"], 4000)
    assert (plain.name, made.name) == ("plain", "long_shapes")
    assert len(made.source.points()) == 30 and made.source.name == "long_shapes"
    shutil.copytree(sets[0], tmp_path / "here" / "long_shapes")
    monkeypatch.chdir(tmp_path / "here")
    (folder,) = open_sets(bench(), ["long_shapes"], 0)
    assert folder.source.points() == plain.source.points()


def test_an_unreadable_file_is_left_out_by_name(bench: Make, sets: list[str]) -> None:
    write(Path(sets[0]) / "torn.csv", "timestamp,value,label\n2020-01-01,abc,0\n2020-01-02,2,0\n")
    (one,) = open_sets(bench(), sets[:1], 0)
    assert len(list(one.read())) == 3 and "abc" in one.left_out["torn"] and len(one) == 6


def test_the_command_line_reaches_it(
    sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inside Hydra's own run, where detectors are composed by name once more."""
    words = ["benchmark", f"sets=[{sets[1]}]", "detectors=[poly,robust_zscore]", f"output={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["tsad", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0, capsys.readouterr().err
    assert len(rows_of(tmp_path / "out")) == 2 * 2 + 2 * 2 + 2 * 2


# --- detectors by name, sources by folder -----------------------------------------------------------------------


def test_the_configured_detector_keeps_its_overrides(bench: Make) -> None:
    one = bench("detector=poly", "detector.window=33")
    assert one.detector_named("poly").options()["window"] == 33
    assert one.detector_named("robust_zscore").options() == {"half": 6.0, "window": 0}
    assert bench("detector=robust_zscore").detector_named("poly").options()["window"] != 33


def test_of_two_files_for_one_class_the_nearer_is_the_configured_one(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = yaml.safe_load((shipped("conf") / "detector" / "poly.yaml").read_text("utf-8")) | {"window": 48, "degree": 2}
    write(tmp_path / "conf" / "detector" / "poly_slow.yaml", yaml.safe_dump(mine))
    monkeypatch.chdir(tmp_path)
    one = bench("detector=poly_slow", "detector.half=9.0")
    assert one.detector_named("poly_slow").options()["half"] == 9.0
    assert one.detector_named("poly").options()["half"] == 6.0


def test_a_set_is_read_as_the_configured_csv_source(bench: Make, sets: list[str]) -> None:
    naive = bench().csv_at(Path(sets[0]))
    shifted = bench("source.time_zone=Asia/Shanghai").csv_at(Path(sets[0]))
    (a,), (b,) = list(series_of(naive, ["p0"])), list(series_of(shifted, ["p0"]))
    assert int(a.timestamps[0] - b.timestamps[0]) == 8 * 3600 * 10**9
    assert bench("source=synthetic").csv_at(Path(sets[0])).describe() == naive.describe()


def test_tsb_ad_files(bench: Make, sets: list[str], tmp_path: Path) -> None:
    source = bench("source=tsb_ad", f"source.root={sets[1]}").make_source()
    one, two = list(series_of(source))
    assert one.point_id == TSB[:-4] and one.time_kind == "index" and one.channels == ("Data",)
    assert two.values.shape == (240, 3) and two.channels == ("sensor 0", "sensor 1", "sensor 2")
    assert np.array_equal(runs_of(intervals_to_mask(one.labels or (), one.timestamps)), [[120, 128]])
    assert is_tsb_ad(Path(sets[1]) / TSB) and not is_tsb_ad(Path(sets[0]) / "p0.csv")
    assert is_tsb_ad(write(tmp_path / "any.csv", "Data,Label\n1,0\n2,0\n"))
    write(tmp_path / "odd" / "a.csv", "Data,Lab\n1,0\n2,0\n")
    write(tmp_path / "odd" / "b.csv", "Data,Label\n1,0\n2,0\n")
    odd = TsbAdSource(root=str(tmp_path / "odd"), glob=["*.csv"])
    assert [s.point_id for s in series_of(odd)] == ["b"] and isinstance(failures_of(odd)["a"], SeriesError)
    assert odd.digest() != odd.digest("b") and "odd" in odd.describe()


# --- figures and their means ---------------------------------------------------------------------------------------


def test_figures_are_those_of_the_metrics_room() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros(400, bool)
    truth[50:60] = truth[200:230] = truth[390:] = True
    scores = np.round(0.6 * truth + 0.5 * rng.random(400), 2)
    predicted = runs_of(scores > 0.6)
    found = series_figures(truth, scores, predicted, vus_step=1, rotations=3, seed=0)
    assert tuple(found) == FIGURES
    expected = summarise([Unit("s", truth, scores > 0.6, scores)])
    for name in set(FIGURES) & set(expected):
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name
    assert len(set(FIGURES) & set(expected)) >= 7
    brute = max(composite_prf(runs_of(truth), runs_of(scores >= cut), 400).f1 for cut in np.unique(scores))
    assert found["oracle_composite_f1"] == pytest.approx(brute) == pytest.approx(oracle_composite_f1(truth, scores))
    assert found["rotated_interval_f1"] <= found["interval_f1"] and np.isnan(oracle_composite_f1(truth * 0, scores))


def test_pooled_figures_are_those_of_one_long_series() -> None:
    rng = np.random.default_rng(1)
    truths, said = ([np.repeat(rng.random(30) < share, 10) for _ in range(4)] for share in (0.1, 0.15))
    truths[0][:] = False
    rows = [series_counts(t, runs_of(p), rotations=2, seed=0) for t, p in zip(truths, said, strict=True)]
    units = [Unit(str(k), t, p) for k, (t, p) in enumerate(zip(truths, said, strict=True))]
    expected, found = summarise(units), pooled_figures(rows)
    assert found["interval_f1"] == pytest.approx(expected["interval_f1"])
    assert found["composite_f1"] == pytest.approx(expected["composite_f1"])
    assert 0 <= found["rotated_interval_f1"] <= 1 and 0 <= found["rotated_composite_f1"] <= 1


def test_means_and_their_intervals() -> None:
    a, b = np.array([0.2, 0.4, np.nan, 0.6]), np.array([0.9])
    assert mean_of_means([a, b]) == pytest.approx((0.4 + 0.9) / 2) and np.isnan(mean_of_means([a[2:3]]))
    low, high = mean_interval([a, b], resamples=500, seed=0)
    assert 0.5 < low < 0.65 < high < 0.8
    assert (low, high) == mean_interval([a, b], resamples=500, seed=0)
    assert np.isnan(mean_interval([b], resamples=10, seed=0)).all()
    wide = mean_interval([np.linspace(0, 1, 5)], resamples=2000, seed=0)
    narrow = mean_interval([np.linspace(0, 1, 50)], resamples=2000, seed=0)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_the_best_comes_first_and_bars_show_it() -> None:
    costs = {"points": 100, "points_per_second": 50.0, "peak_mb": 1.0}
    rows = [
        {"set": s, "detector": d, "series": f"{s}{k}", "chosen_on": "yes" if s == "A" else "no",
         **dict.fromkeys(MEASURED, v + 0.01 * k), **costs}
        for d, v in (("poor", 0.2), ("good", 0.7)) for s in ("A", "B") for k in range(3)
    ]  # fmt: skip
    means = mean_rows(rows, resamples=20, seed=0)
    assert [(r["set"], r["detector"]) for r in table(means)] == [
        (s, d) for s in ("A", "B", "mean") for d in ("good", "poor")
    ]
    assert {(r["set"], r["chosen on"]) for r in table(means)} == {("A", "yes"), ("B", "no"), ("mean", "partly")}
    last = means[-1]
    assert last["points"] == 600 and last["points_per_second"] == 50 and last["vus_pr"] == pytest.approx(0.71)
    axes = leaderboard_figure(means).axes[0]
    assert len(axes.patches) == 6 and axes.patches[5].get_height() == pytest.approx(0.71)
