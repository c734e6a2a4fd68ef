"""A site's day over HTTP alone, by the commands of docs/service.md, against a real Label Studio and a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from second_studio import until

if TYPE_CHECKING:
    from conftest import Studio
    from playwright.sync_api import Browser

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "service.md"
PATIENCE = 600.0  # a busy machine takes its time
EAGER = {'"sampling.windows=40"': '"sampling.windows=40", "adapter.min_positive=5"'}  # trains on little
SHOTS = os.environ.get("TSAD_SHOTS")


@dataclass
class Day:
    """The service of a site, and what its people typed so far: each block of the docs goes on from the one before."""

    url: str
    token: str
    folder: Path
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def type(self, name: str, **values: str) -> str:
        """Run the block of the docs with that name; ``values`` take the place of the words that they name."""
        text = block(name)
        for word, value in values.items():
            assert word in text, f"{name} does not say {word}"
            text = text.replace(word, value)
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment | self.said,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, f"{name}: {text}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def get(self, path: str, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.get(self.url + path, headers=headers, params=query, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, job: str) -> dict[str, Any]:
        """The job once it has ended."""
        until(PATIENCE, lambda: self.get(f"/api/v1/jobs/{job}")["state"] in ("succeeded", "failed", "stopped"))
        found: dict[str, Any] = self.get(f"/api/v1/jobs/{job}")
        return found


def block(name: str) -> str:
    """The commands below ``<!-- name -->`` in the docs."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    assert found, f"docs/service.md has no block {name}"
    return found[1]


def write_series(path: Path) -> None:
    """A daily rhythm with forty level shifts of half an hour, minutely."""
    rng, length = np.random.default_rng(5), 12_000
    values = np.sin(np.arange(length) * 2 * np.pi / 1440) + rng.normal(0, 0.08, length)
    for start in rng.choice(length // 120 - 1, 40, replace=False) * 120 + 40:
        values[start : start + 30] += 2.5
    stamps = np.datetime64("2026-03-01T00:00:00") + np.arange(length) * np.timedelta64(60, "s")
    lines = [f"{t}Z,{v:.4f}" for t, v in zip(stamps, values, strict=True)]
    path.write_text("\n".join(["timestamp,value", *lines]) + "\n")


@pytest.fixture
def day(home: Path, studio: Studio) -> Iterator[Day]:
    environment = {
        **os.environ, "TSAD_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1",
        "LABEL_STUDIO_API_KEY": studio.token, "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    home.mkdir(exist_ok=True)
    log = (home / "serve.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "tsad", "serve", "port=0", "-o", "json", f"review.url={studio.url}"],
        cwd=home, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    up = json.loads(process.stdout.readline() or "{}")
    assert up, (home / "serve.log").read_text()
    token = Path(up["token"]).read_text().strip()
    yield Day(up["url"], token, home, environment | {"TSAD": up["url"], "TOKEN": token})
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 0, (home / "serve.log").read_text()
    assert token not in (home / "service" / "logs" / "service.jsonl").read_text()


def answer_all(studio: Studio, loop: str) -> int:
    """Accept what is proposed of every task of the loop's project; how many."""
    found = studio.call("GET", "/api/projects/", params={"page_size": 200})["results"]
    project = next(p["id"] for p in found if loop in p["title"])
    asked = {"project": project, "page_size": 200, "fields": "all"}
    tasks = [t for t in studio.call("GET", "/api/tasks/", params=asked)["tasks"] if not t["total_annotations"]]
    for task in tasks:
        own = [r for p in task["predictions"] for r in p["result"] if r["from_name"] == "label"]
        studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": own, "lead_time": 9.0})
    return len(tasks)


@pytest.mark.timeout(1700)
def test_a_site_s_day_over_http_alone(day: Day, studio: Studio, browser: Browser) -> None:
    write_series(day.folder / "pump.csv")
    loop = f"day-{uuid.uuid4().hex[:6]}"
    assert json.loads(day.type("ready"))["status"] == "ready"
    uploaded = json.loads(day.type("upload"))
    registration = uploaded["registration"]
    assert registration["points"] == 12_000, uploaded
    day.said["ROOT"] = registration["root"]
    job = json.loads(day.type("iterate", plant=loop, **EAGER))
    ended = day.ended(job["id"])
    assert (ended["state"], ended["exit"]) == ("succeeded", "people have to review first"), ended
    assert answer_all(studio, loop) > 0
    queue = json.loads(day.type("queue", plant=loop))
    assert queue["total"] > 0 and all(item["state"] != "PENDING" for item in queue["items"]), queue["items"][:2]
    job = json.loads(day.type("iterate", plant=loop, **EAGER))
    day.said["JOB"] = job["id"]
    watch_and_stop(day, browser, job["id"])
    assert json.loads(day.type("retry"))["state"] == "pending"
    ended = day.ended(job["id"])
    assert ended["state"] == "succeeded", ended
    assert day.get(f"/api/v1/loops/{loop}")["iterations"][0]["reviewed"] > 0
    promoted = day.ended(json.loads(day.type("promote", plant=loop))["id"])
    assert promoted["state"] == "succeeded", promoted
    predicted = json.loads(day.type("predict", plant=loop))
    assert predicted["model_version"] == day.get(f"/api/v1/loops/{loop}")["standing"]["champion"]
    assert predicted["origin"]["model_version"] == predicted["model_version"]
    assert day.type("predict-csv", plant=loop).startswith("point_id,start,end,")
    kept = json.loads(day.type("history", plant=loop))
    assert {item["model_version"] for item in kept["items"]} == {predicted["model_version"]}
    assert "tsad_requests_total" in day.type("prometheus")
    assert day.type("export", plant=loop)


def watch_and_stop(day: Day, browser: Browser, job: str) -> None:
    """The curve is drawn in a browser while it trains; it is paused, goes on, and is stopped there."""
    context = browser.new_context(
        viewport={"width": 1400, "height": 1000}, http_credentials={"username": "anybody", "password": day.token}
    )
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{day.url}/jobs/{job}")
    page.locator("#live figure").get_by_text("step_loss").first.wait_for(timeout=PATIENCE * 1000)
    page.locator("#live canvas").first.wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for(timeout=PATIENCE * 1000)
    until(PATIENCE, lambda: day.get(f"/api/v1/jobs/{job}")["state"] == "paused")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/site_day_job.png", full_page=True)
    assert json.loads(day.type("resume"))["id"] == job
    until(PATIENCE, lambda: day.get(f"/api/v1/jobs/{job}")["state"] == "running")
    assert json.loads(day.type("stop"))["id"] == job
    until(PATIENCE, lambda: day.get(f"/api/v1/jobs/{job}")["state"] == "stopped")
    page.get_by_role("button", name="Run again").wait_for(timeout=PATIENCE * 1000)
    page.goto(day.url)
    page.wait_for_selector("table")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/site_day.png", full_page=True)
    assert faults == []
    context.close()
