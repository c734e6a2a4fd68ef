"""The loop on a small simulated plant, in this process: states, gate, resuming, frozen config, rollback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import LabelError, LoopError, RegistryError, ReviewError, TrackingError
from tsad.core.reviews import Purpose
from tsad.loop import evaluate, train
from tsad.loop.champion import registry_of
from tsad.loop.common import load_series
from tsad.loop.datasets import fetch
from tsad.loop.detect import DETECT
from tsad.loop.gold import find_gold
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.runner import finished
from tsad.sources.base import Source
from tsad.tracking.store import open_store

SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.9",
)  # fmt: skip
Make = Callable[..., Workbench]


pytestmark = pytest.mark.usefixtures("stocked")


@pytest.fixture
def small(bench: Make) -> Make:
    return lambda *overrides: bench(*SMALL, *overrides)


def test_an_iteration_from_series_to_gate(
    small: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # names whole
    one = small()
    reads, read = [], Source.read

    def counted(source: Source, *asked: Any, **more: Any) -> Any:
        reads.append(asked)
        return read(source, *asked, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Source, "read", counted)
        score = iterate(one).optimised
    assert len(reads) == 1, "DETECT reads the source; the simulated reviewer answers from what is kept with the queue"
    loop = open_loop(one)
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("COMPLETED", "FINISHED")
    assert loop.open_iteration() is None
    kept = {r.purpose: r for r in loop.datasets()}
    assert set(kept) == {"train", "gold"}
    assert kept["train"].windows == 8
    decision = finished(iteration, PROMOTE)
    assert decision is not None
    assert score == decision.scores["interval_f1"]
    assert decision.reason
    champion = registry_of(one, loop).alias("champion")
    assert champion is not None and champion.version == decision.champion
    gold = find_gold(loop)
    assert gold is not None and all(r.choice.purpose == Purpose.GOLD for r in gold.windows)

    out = tmp_path / "out"
    call("detect", one, output=str(out))
    assert len(list((out / "scores").glob("*.csv"))) == len(list((out / "intervals").glob("*.csv"))) == 8
    assert call("evaluate", one, versions=["1", "champion"], output=str(out)).optimised is not None
    scores = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["champion"]
    (row,) = evaluate.table({"champion": scores}, {"champion": 1})
    for metric in ("interval_f1", "composite_f1"):  # each stands beside what it gives against rotated labels
        assert 0.0 <= row[f"rotated_{metric}"] <= 1.0
        assert list(row).index(f"rotated_{metric}") == list(row).index(metric) + 1
    call("report", one, output=str(out))
    assert (out / "iterations.png").stat().st_size > 5000
    for form in ("csv", "label_studio"):
        call("export", one, output=str(out / form), format=form)
        assert (out / form).read_text(encoding="utf-8")
    call("data", one)
    capsys.readouterr()
    call("status", one)
    shown = " ".join(capsys.readouterr().out.split())  # long lines are wrapped at words
    assert "tsad-demo-robust_zscore:" in shown and "COMPLETED" in shown and "MB" in shown
    call("iterate", one)  # the loop has reached its end: nothing more is done
    assert len(loop.iterations()) == 1
    assert "to go on: tsad iterate loop.name=demo loop.iterations=2" in " ".join(capsys.readouterr().out.split())


def test_a_fresh_loop_takes_the_next_name(small: Make) -> None:
    iterate(small("loop.fresh=true"))
    iterate(small("loop.fresh=true"))
    one = small()
    assert open_store(one.tracking, one.home).loops() == ["demo", "demo-2"]


def test_a_failed_iteration_goes_on_where_it_failed(small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise TrackingError("the store is gone", "Bring it back.")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "gold_stretches", down)
        with pytest.raises(TrackingError, match="store is gone"):
            iterate(small())
    loop = open_loop(small())
    (failed,) = loop.iterations()
    assert (failed.state, failed.reason) == ("FAILED", "the store is gone. Bring it back.")
    first = failed.finished(DETECT.name)
    iterate(small())
    (done,) = loop.iterations()
    assert done.state == "COMPLETED" and done.run_id == failed.run_id
    again = done.finished(DETECT.name)
    assert first is not None and again is not None and first.run_id == again.run_id


def test_an_open_iteration_keeps_its_config(small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise TrackingError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", stop)
        with pytest.raises(TrackingError):
            iterate(small())
    with pytest.raises(LoopError, match=r"sampling\.windows=6 \(frozen: 8\)"):
        iterate(small("sampling.windows=6"))
    iterate(small("sampling.windows=6"), new=True)
    loop = open_loop(small())
    (done,) = loop.iterations()
    dataset = finished(done, DATASET)
    assert dataset is not None and sum(dataset.states.values()) == 6
    assert dataset.windows == 8 + 6  # what people reviewed stays, though its iteration was abandoned


def test_the_champion_can_be_forced_and_rolled_back(small: Make) -> None:
    one = small("gold.min_intervals=10000")
    iterate(one)
    loop = open_loop(one)
    registry = registry_of(one, loop)
    decision = finished(loop.iterations()[0], PROMOTE)
    assert decision is not None and not decision.promoted
    assert decision.reason.startswith("not enough evidence")
    with pytest.raises(RegistryError, match="previous"):
        call("rollback", one)
    refused = call("promote", one, version="challenger", force=False)
    assert not refused.promoted and refused.evidence is not None and refused.evidence.more_intervals > 0
    assert refused.evidence.available > refused.evidence.windows
    assert call("promote", one, version="challenger", force=True).evidence is None
    champion, previous = registry.alias("champion"), registry.alias("previous")
    assert champion is not None and champion.version == 2
    assert previous is not None and previous.version == 1
    call("rollback", one)
    back = registry.alias("champion")
    assert back is not None and back.version == 1


def test_training_outside_an_iteration_registers_a_challenger(small: Make) -> None:
    one = small()
    iterate(one)
    call("train", small("threshold.default=0.8"))
    challenger = registry_of(one, open_loop(one)).alias("challenger")
    assert challenger is not None and challenger.version == 3
    assert challenger.tags["tsad.dataset_version"]


def test_without_labels_the_simulated_reviewer_says_so(bench: Make, tmp_path: Path) -> None:
    folder = tmp_path / "数据 plant"
    folder.mkdir()
    rows = "\n".join(f"2026-01-01T00:{m // 60:02d}:{m % 60:02d},{m % 7}" for m in range(600))
    (folder / "温度 1.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")
    one = bench(
        "source=csv", f"source.root={folder}", "review=simulated", "detector=robust_zscore", "windows.length=100",
        "gold.windows=2", "gold.strata=1", "sampling.windows=2", "loop.name=bare", "tracking.plots=0",
    )  # fmt: skip
    with pytest.raises(LabelError, match="温度 1"):
        iterate(one)
    loop = open_loop(one)
    assert loop.iterations()[0].state == "FAILED"
    assert not loop.search("attributes.status = 'RUNNING'")


def test_several_open_loops_are_listed(small: Make, bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    def stop(*_: Any, **__: Any) -> None:
        raise TrackingError("stopped")

    monkeypatch.setattr(train, "fit", stop)
    for name in ("one", "two"):
        with pytest.raises(TrackingError):
            iterate(small(f"loop.name={name}"))
    bare = replace(small(), overrides=())
    with pytest.raises(LoopError, match=r"one \(iteration 1, FAILED\), two \(iteration 1, FAILED\)"):
        iterate(bare)


def test_a_label_studio_export_brings_labels(small: Make, bench: Make, tmp_path: Path) -> None:
    one = small()
    iterate(one)
    call("export", one, output=str(tmp_path / "export.json"), format="label_studio")
    folder = tmp_path / "series"
    folder.mkdir()
    for series in load_series(one):
        stamps = [f"{t // 1_000_000_000}" for t in series.timestamps]
        rows = "\n".join(f"{t},{v}" for t, v in zip(stamps, series.values[:, 0], strict=True) if v == v)
        (folder / f"{series.point_id}.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")
    own = bench(
        "source=csv", f"source.root={folder}", f"source.labels={tmp_path / 'export.json'}", "review=simulated"
    )
    labelled = {s.point_id: s.labels for s in load_series(own) if s.labels is not None}
    kept = fetch(open_loop(one), open_loop(one).datasets()[-1].digest)
    assert set(labelled) == {r.window.point_id for r in kept.windows}
    assert {p: len(found) for p, found in labelled.items() if found} == {
        p: n for p in labelled if (n := sum(len(r.intervals) for r in kept.windows if r.window.point_id == p))
    }


def test_label_studio_has_to_be_there_before_any_work(small: Make) -> None:
    one = small("review=label_studio")
    with pytest.raises(ReviewError, match="tsad studio"):
        iterate(one)
    assert open_loop(one).iterations() == []


def test_status_tells_of_other_loops_where_one_names_a_strange_class(
    small: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, config in (("good", small().config_yaml), ("strange", "source: {_target_: nowhere.Thing}\n")):
        with open_loop(small(f"loop.name={name}")).lock() as held:
            held.create_iteration(1, config, {})
    status = call("status", small())
    assert [(loop.name, loop.iteration.number) for loop in status.loops] == [("good", 1), ("strange", 1)]
    assert "names nowhere.Thing as its source, which neither tsad nor your config has" in capsys.readouterr().out
