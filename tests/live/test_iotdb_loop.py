"""The loop on series in a real IoTDB that is killed in the middle: it ends from the cache, and says so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iotdb_server import IoTDBServer
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.loop.detect import DETECT
from tsad.loop.opening import open_loop
from tsad.synthetic.plant import plant
from tsad.tracking.runs import Iteration

pytestmark = pytest.mark.live

WRITE_AHEAD = 3.0  # seconds: IoTDB answers before its write-ahead log is on disk, and loses that much to kill -9
SMALL = (
    "review=simulated", "detector=robust_zscore", "adapter=none", "loop.name=plant", "loop.iterations=1",
    "windows.length=128", "windows.context=256", "sampling.windows=12", "gold.share=0.4", "gold.resamples=200",
    "tracking.plots=1",
)  # fmt: skip


@pytest.fixture
def server(start_iotdb: Callable[..., IoTDBServer]) -> Iterator[IoTDBServer]:
    """A server of this test's own: it is killed."""
    made = start_iotdb()
    yield made
    made.kill()


@pytest.fixture
def series() -> list[Series]:
    return plant(seed=5, series=10, points=1500, step_seconds=60.0, start=1_767_225_600 * 10**9, anomaly_rate=3.0)


@pytest.fixture
def overrides(server: IoTDBServer, series: list[Series], tmp_path: Path) -> tuple[str, ...]:
    """The plant written into the server, and its labels into a CSV of intervals."""
    rows = ["point_id,start,end"]
    for one in series:
        name = one.point_id.replace("`", "")
        present = ~np.isnan(one.values[:, 0])
        server.write(f"root.plant.u1.`{name}`", one.timestamps[present] // 10**6, one.values[present, 0])
        labels = [f"{format_time(i.start)},{format_time(i.end)}" for i in one.labels or ()] or [","]
        rows += [f"u1.{name},{text}" for text in labels]
    labels_file = tmp_path / "labels.csv"
    labels_file.write_text("\n".join(rows) + "\n")
    return (
        "source=iotdb", f"source.nodes=['{server.url}']", "source.paths=['root.plant.**']", "source.prefix=root.plant",
        f"source.labels={labels_file}", "source.write_back=true", "source.retries=1", "source.timeout_seconds=10",
        *SMALL,
    )  # fmt: skip


def kill_at(monkeypatch: pytest.MonkeyPatch, server: IoTDBServer, state: str) -> None:
    """The server goes the moment the iteration enters a state."""
    original = Iteration.set_state

    def set_state(self: Iteration, name: str, reason: str = "") -> None:
        if name == state and server.running:
            time.sleep(WRITE_AHEAD)
            server.kill()
        original(self, name, reason)

    monkeypatch.setattr(Iteration, "set_state", set_state)


def artifact(bench: Workbench, run_id: str, path: str) -> Any:
    client = open_loop(bench).store.client
    return json.loads(Path(client.download_artifacts(run_id, path)).read_text(encoding="utf-8"))


def test_the_server_is_killed_and_the_iteration_ends_without_it(
    server: IoTDBServer, series: list[Series], overrides: tuple[str, ...], bench: Callable[..., Workbench],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made = bench(*overrides)
    kill_at(monkeypatch, server, "REVIEWING")  # DETECT has read everything and written its detections back
    call("iterate", made)
    out = " ".join(capsys.readouterr().out.split())
    assert "could not be reached" not in out, "push and pull read no source: the queue carries the labels"
    (iteration,) = open_loop(made).iterations()
    assert iteration.state == "COMPLETED"
    drawn, built = iteration.finished(DETECT.name), iteration.finished("DATASET")
    assert drawn is not None and built is not None
    assert (drawn.result["outage"], drawn.result["not_written_back"]) == ("", "")
    assert built.result["outage"] == ""
    before = artifact(made, drawn.run_id, "provenance.json")["series"]
    assert {part["from"] for parts in before.values() for part in parts} == {"source"}

    server.start()
    for one in series:
        name = one.point_id.replace("`", "")
        answer = server.execute(f"select `{name}.anomaly_score`, `{name}.anomaly` from root.plant.u1")
        said = artifact(made, drawn.run_id, f"series/u1.{name}/intervals.json")
        assert answer.shape[0] == int((~np.isnan(one.values[:, 0])).sum())
        scores, flags = answer.iloc[:, 1].to_numpy(float), answer.iloc[:, 2].to_numpy(bool)
        assert ((scores >= 0) & (scores <= 1)).all()
        first = [i["start"] for i in said["intervals"]]
        stamps = answer["Time"].to_numpy()
        starts = stamps[flags & ~np.concatenate(([False], flags[:-1]))]
        assert {format_time(int(t) * 10**6) for t in starts} <= set(first)
        assert flags.any() == bool(first)


def test_a_server_gone_from_the_start_is_answered_for_and_detections_follow_when_it_is_back(
    server: IoTDBServer, series: list[Series], overrides: tuple[str, ...], bench: Callable[..., Workbench],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call("ingest", bench(*overrides))
    server.kill()
    call("iterate", bench(*overrides))
    out = " ".join(capsys.readouterr().out.split())
    assert "10 series from the cache" in out
    (iteration,) = open_loop(bench(*overrides)).iterations()
    drawn = iteration.finished(DETECT.name)
    assert iteration.state == "COMPLETED" and drawn is not None
    assert "cannot be reached" in drawn.result["not_written_back"] or server.url in drawn.result["not_written_back"]
    server.start()
    call("detect", bench(*overrides))
    name = series[0].point_id.replace("`", "")
    answer = server.execute(f"select count(`{name}.anomaly_score`) from root.plant.u1")
    assert int(answer.iloc[0, -1]) == int((~np.isnan(series[0].values[:, 0])).sum())


def test_history_is_scored_in_chunks_and_goes_back_into_the_server(
    server: IoTDBServer, series: list[Series], overrides: tuple[str, ...], bench: Callable[..., Workbench]
) -> None:
    made = bench(*overrides)
    since, until = (format_time(int(series[0].timestamps[k])) for k in (300, 900))
    call("detect", made, version="none", since=since, until=until, chunk="4h")
    name = series[0].point_id.replace("`", "")
    times = server.execute(f"select `{name}.anomaly_score` from root.plant.u1")["Time"].to_numpy() * 10**6
    assert (format_time(int(times[0])), len(times)) == (since, int((~np.isnan(series[0].values[300:900, 0])).sum()))
    call("detect", made, version="none", since=since, until=until, chunk="4h")
    last = open_loop(made).search("tags.`tsad.step` = 'DETECT'")[-1]
    assert artifact(made, last.info.run_id, "result.json")["points"] == 0
