"""``tsad ui`` in a real browser, and as another user of the machine meets it over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from conftest import PATIENCE_MS

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.live, pytest.mark.timeout(1800)]
LOOP = (
    "source=synthetic", "source.series=8", "source.points=2000", "review=simulated", "detector=robust_zscore",
    "loop.name=plant", "loop.iterations=2", "adapter=none", "windows.length=128", "windows.context=128",
    "sampling.windows=12", "tracking.plots=2", "tracking.system_metrics=false",
)  # fmt: skip
API = "/ajax-api/2.0/mlflow"


class Ui:
    """A loop of two iterations, moved to another folder, and ``tsad ui`` on it."""

    def __init__(self, place: Path) -> None:
        made, self.home = place / "made here", place / "moved 装置"
        self.tsad(made, "iterate", *LOOP)
        made.rename(self.home)
        command = [sys.executable, "-m", "tsad", "ui", "port=0"]
        self.process = subprocess.Popen(
            command, env=self.environment(self.home), cwd=place, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline() + self.process.stdout.readline()
        (self.link,) = re.findall(r"http://\S+", self.told)
        self.url, _, self.token = self.link.partition("/?token=")

    def environment(self, home: Path) -> dict[str, str]:
        own = {"TSAD_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **own}

    def tsad(self, home: Path, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tsad", *words], env=self.environment(home), capture_output=True, text=True,
            check=False, cwd=home.parent,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def ask(self, path: str, token: bool = True, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        return requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=120)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    started = Ui(tmp_path_factory.mktemp("ui"))
    yield started
    started.stop()


def iterations(ui: Ui) -> list[Any]:
    (experiment,) = ui.ask(f"{API}/experiments/search", max_results=10, filter="name = 'plant'").json()["experiments"]
    found = ui.ask(
        f"{API}/runs/search", experiment_ids=[experiment["experiment_id"]], filter="tags.`tsad.kind` = 'iteration'",
        order_by=["attributes.start_time ASC"],
    ).json()  # fmt: skip
    return list(found["runs"])


def test_without_the_token_nothing_is_read_or_written(ui: Ui, tmp_path: Path) -> None:
    run = iterations(ui)[0]["info"]["run_id"]
    outside = (tmp_path / "outside").as_uri()
    attempts = (
        ("/runs/log-parameter", {"run_id": run, "key": "a", "value": "b"}),
        ("/runs/set-tag", {"run_id": run, "key": "tsad.reason", "value": "b"}),
        ("/runs/log-metric", {"run_id": run, "key": "a", "value": 1, "timestamp": 1}),
        ("/runs/delete", {"run_id": run}), ("/runs/search", {"experiment_ids": ["1"]}),
        ("/experiments/create", {"name": "mine", "artifact_location": outside}),
        ("/registered-models/create", {"name": "mine"}), ("/experiments/search", {"max_results": 1}),
    )  # fmt: skip
    for base in (API, API.replace("ajax-api", "api")):
        for path, body in attempts:
            assert ui.ask(base + path, token=False, **body).status_code == 401, path
    upload = f"{ui.url}{API}/upload-artifact?run_uuid={run}&path=evil.html"
    assert requests.post(upload, data=b"<script>", timeout=60).status_code == 401
    for path in ("/", "/ui", "/version", f"/get-artifact?run_uuid={run}&path=config.yaml"):
        assert requests.get(ui.url + path, timeout=60, allow_redirects=False).status_code == 401
    assert requests.get(f"{ui.url}/health", timeout=60).text == "OK"
    assert not list(ui.home.rglob("evil.html")) and not (tmp_path / "outside").exists()


def test_the_assistant_is_not_there_and_nothing_phones_home(ui: Ui) -> None:
    for path in ("/ajax-api/3.0/mlflow/assistant/message", "/ajax-api/3.0/jobs/1", "/gateway/a/mlflow/invocations",
                 f"{API}/gateway-proxy"):  # fmt: skip
        assert ui.ask(path).status_code == 403, path
    told = requests.get(f"{ui.url}/ajax-api/3.0/mlflow/ui-telemetry", headers={"Authorization": f"Bearer {ui.token}"},
                        timeout=60).json()  # fmt: skip
    assert told["disable_ui_telemetry"] is True
    environment = Path(f"/proc/{server_of(ui)}/environ").read_bytes().split(b"\0")
    assert b"MLFLOW_DISABLE_TELEMETRY=true" in environment


def server_of(ui: Ui) -> int:
    import psutil

    (server,) = psutil.Process(ui.process.pid).children()
    return int(server.pid)


def test_a_moved_store_shows_its_artifacts_and_versions(ui: Ui) -> None:
    newest = iterations(ui)[-1]
    headers = {"Authorization": f"Bearer {ui.token}"}
    for path in ("config.yaml", "iterations.png"):
        address = f"{ui.url}/get-artifact?run_uuid={newest['info']['run_id']}&path={path}"
        assert requests.get(address, headers=headers, timeout=60).status_code == 200
    version = {"name": "tsad-plant-robust_zscore", "version": "1"}
    kept = requests.get(
        f"{ui.url}/model-versions/get-artifact", params={**version, "path": "MLmodel"}, headers=headers, timeout=60
    )
    assert kept.status_code == 200 and "python_function" in kept.text


@pytest.fixture
def tab(ui: Ui, browser: Any) -> Iterator[Any]:
    """A page of the browser that was opened at the link; fails on any request that leaves this machine."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    outside: list[str] = []
    opened.on("request", lambda r: None if r.url.startswith((ui.url, "data:", "blob:")) else outside.append(r.url))
    opened.goto(ui.link, wait_until="domcontentloaded")
    opened.wait_for_url("**/ui#/experiments/**")
    yield opened
    context.close()
    assert outside == [], f"the browser asked for {outside}"


def value(run: Any, metric: str) -> float:
    return float({one["key"]: one["value"] for one in run["data"]["metrics"]}[metric])


def tags(owner: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in owner["tags"]}


def sees(tab: Any, *texts: str) -> None:
    for text in texts:
        tab.get_by_text(text).first.wait_for()


def test_figures_champion_and_reason_within_a_click_and_the_curve(
    ui: Ui, tab: Any, shot: Callable[[Any, str], Path]
) -> None:
    newest = iterations(ui)[-1]
    told = tags(newest["data"])
    assert "token" not in tab.url, "the token does not stay in the address"
    sees(tab, "history", told["mlflow.note.content"][:8], f"{value(newest, 'gold/interval_f1'):.6f}"[:4])
    assert not tab.get_by_text("has no assistant").count(), "the page asks for nothing that is refused"
    shot(tab, "runs")
    tab.get_by_text("iteration-2").first.click()
    sees(tab, "Why:", told["tsad.reason"][:25], told["mlflow.note.content"][:8])
    shot(tab, "iteration")
    tab.goto(f"{ui.url}/ui#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=tsad"
             "&compareRunsMode=CHART", wait_until="domcontentloaded")  # fmt: skip
    sees(tab, "gold/interval_f1 vs")
    tab.locator(".plot-container svg").first.wait_for()
    shot(tab, "curve")


def test_iterations_are_compared_by_what_people_compare(
    ui: Ui, tab: Any, shot: Callable[[Any, str], Path]
) -> None:
    runs = iterations(ui)
    ids, experiments = json.dumps([run["info"]["run_id"] for run in runs]), json.dumps(["1"])
    tab.goto(f"{ui.url}/ui#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}", wait_until="commit")
    sees(tab, "iteration-1", "iteration-2", "gold/interval_f1")
    tab.locator(".js-plotly-plot svg").first.wait_for()
    drawn = tab.locator(".js-plotly-plot").first.text_content()
    assert "gold/interval_f1" in drawn and "claim" not in drawn, "what is drawn is no bookkeeping"
    for run in runs:
        name = tab.get_by_text("gold/composite_f1", exact=True).first  # the table holds only the rows in view
        name.wait_for(state="attached")
        name.scroll_into_view_if_needed()
        sees(tab, f"{value(run, 'gold/composite_f1'):.3f}"[:5])
    shot(tab, "compared")


def test_models_say_what_they_learned_and_what_the_gate_decided(
    ui: Ui, tab: Any, shot: Callable[[Any, str], Path]
) -> None:
    tab.get_by_text("Models", exact=True).first.click()
    sees(tab, "robust_zscore-base", "tsad-plant-robust_zscore", "plant-gold")
    shot(tab, "models")
    name, newest = "tsad-plant-robust_zscore", iterations(ui)[-1]
    tab.goto(f"{ui.url}/ui#/models/{name}", wait_until="commit")
    sees(tab, "@ champion", "Detector versions of the loop", "Scored on the")
    shot(tab, "registered")
    reason = tags(newest["data"])["tsad.reason"][:25]
    tab.goto(f"{ui.url}/ui#/models/{name}/versions/3", wait_until="commit")
    sees(tab, "Learned from", "composite F1", "The gate:", reason, "mlflow.pyfunc.load_model", "Inputs (", "Outputs (")
    shot(tab, "version")


def test_the_pictures_of_an_evaluation_are_shown(ui: Ui, tab: Any, shot: Callable[[Any, str], Path]) -> None:
    experiment = iterations(ui)[-1]["info"]["experiment_id"]
    (evaluation, *_) = ui.ask(
        f"{API}/runs/search", experiment_ids=[experiment], filter="attributes.run_name = 'evaluate-2'"
    ).json()["runs"]  # fmt: skip
    run = evaluation["info"]["run_id"]
    tab.goto(f"{ui.url}/ui#/experiments/{experiment}/runs/{run}/artifacts", wait_until="commit")
    for picture in ("precision_recall.png", "calibration.png"):
        tab.get_by_text(picture).first.click()
        tab.locator("img[src^='blob:']").first.wait_for()
        shot(tab, picture.partition(".")[0])
