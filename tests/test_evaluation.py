"""What the gold set counts, each interval once, whatever windows cut it; and the gate's verdict, where it is read."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tsad.config.workbench import Workbench
from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState, true_intervals
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.core.windows import cut
from tsad.loop.evaluate import EVALUATE
from tsad.loop.gold import find_gold
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.promote import PROMOTE
from tsad.loop.report import iterations_done
from tsad.loop.runner import record_of, result_of
from tsad.metrics.gate import Clause
from tsad.metrics.units import Unit, summarise
from tsad.steps.assets import _true_intervals
from tsad.steps.showing import _lengths, _points
from tsad.training.records import window_record

SPANS = ((20, 30), (95, 110), (100, 100), (190, 205), (250, 260))


def gold(probability: float = 1.0) -> DatasetVersion:
    """300 points in three windows; two of the intervals cross a border."""
    stamps = np.arange(300) * 60 * NS_PER_SECOND
    series = Series("p", stamps, np.zeros((300, 1)))
    labels = [Interval(int(stamps[a]), int(stamps[b])) for a, b in SPANS if b > a]
    windows = []
    for window in cut(series, 100):
        truth = clip(labels, *window.span)
        choice = Choice(window, probability, "given", Purpose.GOLD)
        windows.append(ReviewedWindow(choice, (Annotation("labels", truth),), ReviewState.CORRECTED, truth))
    return DatasetVersion("abc", tuple(windows), Purpose.GOLD)


def test_every_place_counts_gold_intervals_alike() -> None:
    version = gold()
    assert sum(len(w.intervals) for w in version.windows) == 6, "two are cut by the border of windows"
    assert true_intervals(version.windows) == 4
    assert _true_intervals([window_record(w, 0) for w in version.windows]) == 4
    (point,) = _points(version)
    assert (point.intervals, point.longest, point.positive) == (4, 15, 3)
    assert sorted(_lengths(version)["p"]) == [10, 10, 15, 15]


def test_the_gate_counts_as_the_metrics_of_joined_windows_do() -> None:
    version = gold()
    (series,) = {id(w.window.series): w.window.series for w in version.windows}.values()
    truth = intervals_to_mask([i for w in version.windows for i in w.intervals], series.timestamps)
    unit = Unit("p", truth, truth)
    assert summarise([unit])["intervals"] == true_intervals(version.windows) == 4
    assert true_intervals(gold(0.5).windows) == 4, "windows drawn apart from each other weigh, and count, no less"


def bumps(folder: Path) -> None:
    """Four series of 3,000 points, a bump of 12 points every 400: of the case gate-promotes-though-composite-fell."""
    rng, start, rows = np.random.default_rng(0), dt.datetime(2024, 3, 1), ["point_id,start,end"]
    (folder / "series").mkdir()
    for k in range(4):
        values = 20 + np.sin(np.arange(3000) / 24 * 2 * np.pi / 12) + rng.normal(0, 0.05, 3000)
        for at in range(200 + 37 * k, 2900, 400):
            values[at : at + 12] += 4
            rows.append(f"p{k},{start + dt.timedelta(minutes=10 * at)},{start + dt.timedelta(minutes=10 * (at + 11))}")
        lines = (f"{start + dt.timedelta(minutes=10 * i)},{x:.3f}\n" for i, x in enumerate(values))
        (folder / "series" / f"p{k}.csv").write_text("timestamp,value\n" + "".join(lines))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def test_what_the_gate_decided_stands_where_people_read_it(
    bench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bumps(tmp_path)
    one = bench(
        "source.root=series", "source.labels=labels.csv", "source.labels_end=inclusive", "loop.name=gate",
        "source.time_zone=Asia/Shanghai", "review=simulated", "detector=robust_zscore", "adapter=none",
        "loop.iterations=1", "tracking.plots=0", "tracking.system_metrics=false",
    )  # fmt: skip
    iterate(one)
    loop = open_loop(one)
    (iteration,) = loop.iterations()
    verdict, scored, gold_set = result_of(iteration, PROMOTE), result_of(iteration, EVALUATE), find_gold(loop)
    # composite F1 fell by .220 there; since proposals learn where events begin and end it does not
    assert verdict.gains["interval_f1"].gain > 0.3 and verdict.gains["composite_f1"].gain > -0.05
    rose = [name for name, gain in verdict.gains.items() if gain.low > 0]
    assert (verdict.promoted, verdict.clause) == ((True, Clause.ROSE) if rose else (False, Clause.CHANCE))
    stated = re.findall(r"(\w+_f1) ([+-]\.?[\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", verdict.reason)
    for metric, *figures in stated:
        told = verdict.gains[metric]
        assert [float(f) for f in figures] == pytest.approx([told.gain, told.low, told.high], abs=6e-4)
    assert [metric for metric, *_ in stated] == ["interval_f1", "composite_f1"]
    assert f"{' and '.join(rose)} rose by more than chance" in verdict.reason if rose else "neither" in verdict.reason
    run = loop.store.client.get_run(record_of(iteration, PROMOTE).run_id).data
    assert (run.tags["tsad.reason"], run.tags["tsad.clause"]) == (verdict.reason, verdict.clause.value)
    assert (run.params["gate.level"], run.params["gate.margin"]) == ("0.9", "0.05")
    judged = loop.store.client.get_run(record_of(iteration, EVALUATE).run_id).data.metrics
    assert judged["gain/composite_f1_high"] == pytest.approx(verdict.gains["composite_f1"].high)
    assert iterations_done(loop)[0].verdict == verdict.verdict()
    assert gold_set is not None
    assert scored.intervals == scored.scores["champion"]["intervals"] == true_intervals(gold_set.windows) == 7
