"""A real ``mlflow server`` over HTTP: the whole record, a kill -9 of the server mid-run, and going on after it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from tracking_rig import TinyDetector, options

from tsad.config import compose, settings, workbench
from tsad.core.errors import TrackingError
from tsad.tracking import assets
from tsad.tracking.dataset_records import NewDataset
from tsad.tracking.pyfunc_model import Described, load_version, log_model
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import LOOP, open_store
from tsad.tracking.ui import served, stop

pytestmark = [pytest.mark.live, pytest.mark.timeout(1200)]
TIMEOUT = 12.0
CANARY = "hunter2-canary-9"
THRESHOLD = {
    "rule": "fixed", "default": 0.5, "quantile": 0.99, "shrinkage": 10.0, "merge_gap": 3, "min_length": 1,
    "max_length": 0,
}  # fmt: skip


class Server:
    """``mlflow server`` with its own SQLite and artifacts on a free port; can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.time() + 400
        while time.time() < deadline:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            try:
                if requests.get(f"{self.url}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.3)
        pytest.fail("mlflow server did not come up")

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    if server.process is not None:
        stop(server.process)


def _loop(server: Server, home: Path, name: str) -> LoopStore:
    return LoopStore(open_store(options(uri=server.url, timeout_seconds=TIMEOUT), home), name)


def test_the_whole_record_over_http(server: Server, tmp_path: Path) -> None:
    loop = _loop(server, tmp_path / "home", "over http")
    weights, adapter = tmp_path / "base", tmp_path / "adapter"
    weights.write_bytes(b"the base")
    adapter.mkdir()
    (adapter / "bias.txt").write_text("0.25")
    detector = TinyDetector(weights=str(weights), gain=0.5)
    registry = loop.registry("tiny")
    with loop.lock() as loop:
        iteration = loop.create_iteration(1, "a: 1\n", {"adapter.r": 8})
        for k in range(3):
            with iteration.step(f"TRAIN{k}") as step, step.system_metrics(1):
                step.metrics({"loss": 0.5}, step=k)
                described = Described(
                    detector=detector.describe(), threshold=0.4, threshold_options=THRESHOLD,
                    base=detector.base_reference(), origin={"detector": "tiny"},
                )  # fmt: skip
                uri = log_model(step, described, adapter, tmp_path / "work")
                step.result({"uri": uri})
            registry.promote(registry.register(run_id=step.run_id, model_uri=uri, tags={"k": k}))
        loop.put_dataset(NewDataset(digest="abc", purpose="train", name="x", windows=1), adapter, iteration)
        assert [v.version for v in registry.prune(1)] == [1]
        assert registry.rollback().version == 2
        iteration.complete({"f1": 0.5})
    (again,) = _loop(server, tmp_path / "elsewhere", "over http").iterations()
    assert again.state == "COMPLETED" and again.config_yaml == "a: 1\n" and again.metrics == {"f1": 0.5}
    champion = registry.alias("champion")
    assert champion is not None and load_version(registry, champion).detector.bias == 0.25
    assert (loop.fetch_dataset("abc", tmp_path / "out") / "bias.txt").read_text() == "0.25"
    assert len(list((server.folder / "artifacts").rglob("MLmodel"))) == 2
    assert loop.store.loops() == ["over http"] and loop.store.is_server


def test_uploads_over_http_are_copied_and_deleted(server: Server, tmp_path: Path) -> None:
    loop, folder = _loop(server, tmp_path / "home", "uploads"), tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "温度.csv").write_text("timestamp,value\n")
    kept = assets.keep(loop, assets.UPLOAD, "ab12", {"points": 1}, folder, [{"point_id": "sub/温度"}])
    place = assets.files_of(loop, kept)
    assert place.is_relative_to(tmp_path / "home") and (place / "sub" / "温度.csv").is_file()
    elsewhere = _loop(server, tmp_path / "elsewhere", "uploads")
    assert assets.rows_of(elsewhere, assets.assets(elsewhere, assets.UPLOAD)[0]) == [{"point_id": "sub/温度"}]
    assert assets.size_of(loop, kept.run_id, assets.FILES) == len("timestamp,value\n")
    assets.erase(loop, kept.run_id)
    assert assets.assets(elsewhere, assets.UPLOAD) == []
    assert not list((server.folder / "artifacts").rglob("温度.csv"))


@pytest.mark.parametrize("group, key, value, named", [
    ("source", "anomalies", "${oc.env:PLANT_SECRET}", "source.anomalies"),
    ("review", "url", "http://evil.example", "review.url"), ("detector", "_target_", "os.system", "os.system"),
])  # fmt: skip
def test_a_config_that_somebody_planted_on_the_server_is_only_data(
    server: Server, tmp_path: Path, group: str, key: str, value: str, named: str
) -> None:
    words = ["source=synthetic", "review=label_studio", f"loop.name=planted-{key}", f"tracking.uri={server.url}"]
    config = yaml.safe_load(workbench(settings(compose(words), words)).config_yaml)
    config[group][key] = value
    with _loop(server, tmp_path / "theirs", f"planted-{key}").lock() as loop:
        loop.create_iteration(1, yaml.safe_dump(config), {})
    own = {"PLANT_SECRET": CANARY, "LABEL_STUDIO_API_KEY": CANARY, "TSAD_HOME": str(tmp_path / "home"),
           "PYTHONPATH": str(Path(__file__).parents[2])}  # fmt: skip
    for verb in ("status", "iterate"):
        done = subprocess.run(
            [sys.executable, "-m", "tsad", verb, *words[2:]], env={**os.environ, **own}, cwd=tmp_path, timeout=300,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert CANARY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert done.returncode == 1 and named in re.sub(r"\s+", "", done.stderr), done.stderr
    for place in (server.folder, tmp_path):
        assert not [path for path in place.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_files_where_a_planted_experiment_of_the_server_points_stay_as_they_are(server: Server, tmp_path: Path) -> None:
    """A server may keep its artifacts on a disk that this machine has, too: runs get a folder of their own there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text(CANARY)
    theirs = open_store(options(uri=server.url, timeout_seconds=TIMEOUT), tmp_path / "theirs")
    theirs.client.create_experiment("planted files", outside.as_uri(), {LOOP: "planted files"})
    loop = _loop(server, tmp_path / "home", "planted files")
    with loop.lock() as held:
        run_id = held.create_iteration(1, "a: 1\n", {}).run_id
    assert {path.name for path in outside.iterdir()} <= {"key", run_id} and (outside / "key").read_text() == CANARY


def test_no_code_of_a_model_on_the_server_runs(server: Server, tmp_path: Path) -> None:
    loop, trap = _loop(server, tmp_path / "home", "planted model"), tmp_path / "sprung"
    registry = loop.registry("tiny-planted")
    weights = tmp_path / "base"
    weights.write_bytes(b"the base")
    detector = TinyDetector(weights=str(weights), gain=0.5)
    described = Described(
        detector=detector.describe(), threshold=0.4, threshold_options=THRESHOLD, base=detector.base_reference(),
        origin={"detector": "tiny"},
    )  # fmt: skip
    with loop.lock() as held, held.create_iteration(1, "a: 1\n", {}).step("TRAIN") as step:
        uri = log_model(step, described, None, tmp_path / "work")
        registry.promote(registry.register(run_id=step.run_id, model_uri=uri, tags={}))
    for path in (server.folder / "artifacts").rglob("*"):
        if path.name in ("pyfunc_entry.py", "MLmodel") and "planted" not in path.name:
            path.write_text(f"from pathlib import Path\nPath({str(trap)!r}).touch()\n")
    champion = registry.alias("champion")
    assert champion is not None and load_version(registry, champion).detector.describe() == detector.describe()
    assert not trap.exists()


def test_a_server_killed_mid_run_is_named_in_time_and_gone_on_with(server: Server, tmp_path: Path) -> None:
    loop = _loop(server, tmp_path / "home", "killed")
    with pytest.raises(TrackingError) as caught, loop.lock() as loop:
        iteration = loop.create_iteration(1, "a: 1\n", {})
        with iteration.step("DETECT") as step:
            step.result({"intervals": 3})
        with iteration.step("TRAIN") as step:
            step.metrics({"loss": 1.0})
            server.kill()
            started = time.time()
            try:
                step.tags({"a": "b"})
            finally:
                assert time.time() - started < TIMEOUT + 3
    assert "does not answer while" in str(caught.value) and "tsad iterate" in str(caught.value)
    assert time.time() - started < 2 * TIMEOUT  # nobody tries in vain to close step and iteration
    assert loop.token is None
    started = time.time()
    with pytest.raises(TrackingError, match="cannot be reached"):
        _loop(server, tmp_path / "home", "killed")
    assert time.time() - started < TIMEOUT
    server.start()
    loop = _loop(server, tmp_path / "home", "killed")
    with loop.lock() as loop:
        found = loop.open_iteration()
        assert found is not None and found.run_id == iteration.run_id
        assert found.finished("DETECT").result == {"intervals": 3}  # type: ignore[union-attr]
        assert found.finished("TRAIN") is None
        with found.step("TRAIN") as step:
            step.result({"loss": 0})
        found.complete({})
    attempts = [(run.data.tags["tsad.step"], run.info.status) for run in found.steps()]
    assert attempts == [("DETECT", "FINISHED"), ("TRAIN", "KILLED"), ("TRAIN", "FINISHED")]
    assert loop.search("attributes.status = 'RUNNING'") == []


def test_the_ui_serves_the_embedded_store(tmp_path: Path) -> None:
    store = open_store(options(), tmp_path / "仓库 100%")
    loop = LoopStore(store, "shown")
    with loop.lock() as loop, loop.run("DETECT") as step:
        step.json({"a": 1}, "metrics.json")
    with served(store, token=False) as server:
        url, process = server.url, server.process
        assert url.startswith("http://127.0.0.1:")
        assert "<html" in requests.get(url, timeout=60).text.lower()
        search = {"max_results": 10, "filter": "name = 'shown'"}
        found = requests.post(f"{url}/api/2.0/mlflow/experiments/search", json=search, timeout=60).json()
        assert [e["name"] for e in found["experiments"]] == ["shown"]
        shown = requests.get(f"{url}/get-artifact?run_uuid={step.run_id}&path=metrics.json", timeout=60)
        assert shown.json() == {"a": 1}
    assert process.poll() is not None
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
