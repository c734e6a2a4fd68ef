"""The page: drawn from what the API answers, safe to look at, and its start form made of a verb's schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient

from tsad.config import GROUPS
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, JobRefusedError, TrackingError, UnknownJobError
from tsad.core.serving import Address, Bounds, Standing
from tsad.jobs.folder import Progressing, ProgressPart
from tsad.jobs.job import Job
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.loops import Looking, loops
from tsad.service.page.forms import fields_of, overrides_of
from tsad.service.page.pages import page
from tsad.service.site import Site
from tsad.verbs.asking import Asking

TOKEN = "correct-horse"
RUNNING = Job(
    id="a" * 32, verb="train", overrides=("loop.name=<b>plant</b>",), loop="plant", state="running", queue="cpu",
    attempt=1, created="2026-11-30T02:00:00.123+00:00", started="2026-11-30T02:00:01+00:00", ended=None, seconds=65.0,
    exit="", answer=None, error=None, host="here", asked="", url="",
    progress=Progressing("2026-11-30T02:01:00+00:00", (ProgressPart("training", 60, 15),), 0.5, 90.0),
)  # fmt: skip
FAILED = replace(
    RUNNING, id="b" * 32, state="failed", progress=None, exit="the source is away",
    error={"code": "SourceError", "message": "no <folder>", "remedy": "Give another."},
)  # fmt: skip


@dataclass
class Board:
    """Two jobs; remembers what it was asked."""

    asked: list[Any] = field(default_factory=list)

    def list(self, state: str = "", verb: str = "", loop: str = "", limit: int = 50, offset: int = 0) -> Any:
        return [RUNNING, FAILED], 2

    def get(self, job_id: str) -> Job:
        found = {one.id: one for one in (RUNNING, FAILED)}.get(job_id)
        if found is None:
            raise UnknownJobError(f"there is no job {job_id}")
        return found

    def submit(self, verb: str, overrides: Sequence[str], key: str = "") -> Any:
        if "adapter.r=bad" in overrides:
            raise JobRefusedError("adapter.r=bad is no number", "Give one.")
        self.asked.append((verb, list(overrides)))
        return SimpleNamespace(job=RUNNING, new=True)

    def __getattr__(self, action: str) -> Callable[[str], Job]:
        return lambda job_id: (self.asked.append((action, job_id)), self.get(job_id))[1]


@pytest.fixture
def site(bench: Callable[..., Workbench]) -> Site:
    return Site(bench(), Asking(), Standing(Address("127.0.0.1", 0), TOKEN, Bounds(1, 1, 5.0, 1000)))


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def browser(site: Site, board: Board) -> Iterator[TestClient]:
    looking, own = Looking(site), APIRouter(dependencies=[Depends(token_needed(TOKEN))])
    own.include_router(page(site, looking, board))
    own.include_router(loops(looking), prefix="/api/v1")
    with TestClient(make_app(own), raise_server_exceptions=False) as client:
        client.auth = ("anybody", TOKEN)
        client.headers["accept"] = "text/html"
        yield client


def test_nothing_of_it_is_shown_without_the_token(browser: TestClient) -> None:
    for path in ("/", "/start", "/parts/jobs", "/assets/page.css", f"/jobs/{'a' * 32}"):
        refused = browser.get(path, auth=("anybody", "another"))
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic"), path


def test_an_empty_store_says_how_to_begin(browser: TestClient) -> None:
    text = browser.get("/").text
    assert "No loop has begun yet" in text and "experiment=demo" in text
    assert browser.get("/api/v1/loops").json() == {"items": [], "total": 0}


def test_what_is_data_is_shown_and_never_obeyed(browser: TestClient) -> None:
    text = browser.get("/").text
    assert "&lt;b&gt;plant&lt;/b&gt;" in text and "<b>plant" not in text
    assert "no &lt;folder&gt;" in browser.get(f"/jobs/{'b' * 32}").text


def test_every_page_comes_from_here_alone(browser: TestClient) -> None:
    for path in ("/", "/start", f"/jobs/{'a' * 32}"):
        answer = browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text), path
        assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", answer.text), path
        for name in re.findall(r'(?:src|href)="(/assets/[^"]+)"', answer.text):
            assert browser.get(name).status_code == 200, name
    assert browser.get("/assets/..%2Fpages.py").status_code == 404


def test_a_job_has_the_buttons_that_it_can_do(browser: TestClient, board: Board) -> None:
    running, failed = browser.get(f"/jobs/{'a' * 32}").text, browser.get(f"/jobs/{'b' * 32}").text
    assert all(f">{label}</button>" in running for label in ("Pause", "Checkpoint now", "Stop"))
    assert ">Run again</button>" in failed and ">Stop</button>" not in failed
    assert "15 of 60" in running and 'value="15"' in running and "1 min 30 s left" in running
    assert browser.post(f"/jobs/{'a' * 32}/stop", follow_redirects=False).status_code == 303
    assert board.asked == [("stop", "a" * 32)]
    assert browser.post(f"/jobs/{'a' * 32}/explode").status_code == 404


def test_another_page_of_the_browser_changes_nothing(browser: TestClient, board: Board) -> None:
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://elsewhere.example"}):
        assert browser.post(f"/jobs/{'a' * 32}/stop", headers=headers).status_code == 403
    assert board.asked == []
    own = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}
    assert browser.post(f"/jobs/{'a' * 32}/stop", headers=own, follow_redirects=False).status_code == 303
    bearer = {"origin": "http://elsewhere.example", "authorization": f"Bearer {TOKEN}"}
    browser.auth = None
    assert browser.post(f"/jobs/{'a' * 32}/stop", headers=bearer, follow_redirects=False).status_code == 303


def test_the_form_starts_a_job_or_says_what_is_wrong(browser: TestClient, board: Board) -> None:
    form = browser.get("/start", params={"verb": "train"}).text
    assert 'name="key.dataset"' in form and 'value="latest"' in form and "hash of a dataset version" in form
    sent = {"verb": "train", "key.dataset": "latest", "key.dry_run": "true", "loop": "plant"}
    sent["overrides"] = "adapter.r=4\n\n"
    started = browser.post("/start", data=sent, follow_redirects=False)
    assert started.status_code == 303 and started.headers["location"] == f"/jobs/{'a' * 32}"
    assert board.asked == [("train", ["dry_run=true", "loop.name=plant", "adapter.r=4"])]
    refused = browser.post("/start", data=sent | {"overrides": "adapter.r=bad"})
    assert refused.status_code == 422 and "adapter.r=bad is no number" in refused.text
    assert ">adapter.r=bad</textarea>" in refused.text, "what was typed stays"
    assert browser.get("/start", params={"verb": "serve"}).status_code == 404


def test_every_verb_that_can_be_a_job_has_a_form() -> None:
    asking = Asking()
    for verb in asking.names():
        fields = fields_of(asking.schema(verb), GROUPS)
        filled = {f"key.{one.name}": one.default or "1" for one in fields}
        words = overrides_of(fields, filled)
        assert all("=" in word for word in words), verb
        assert all(one.about for one in fields if verb != "status"), verb


def test_a_key_that_has_to_be_given_is_named() -> None:
    fields = fields_of(Asking().schema("explain"), GROUPS)
    with pytest.raises(ConfigError, match="of is not set"):
        overrides_of(fields, {"key.of": " "})


def test_faults_are_pages_for_browsers_and_bodies_for_programs(browser: TestClient) -> None:
    missing = browser.get(f"/jobs/{'c' * 32}")
    assert missing.status_code == 404 and "<h1>UnknownJobError</h1>" in missing.text
    unknown = browser.get("/api/v1/loops/<i>x")
    assert unknown.status_code == 404 and unknown.json()["code"] == "UnknownLoopError"
    assert "<i>" not in browser.get("/loops/<i>x").text


def test_a_store_that_is_away_is_said_on_the_page(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise TrackingError("the store is away", "Start it.")

    monkeypatch.setattr(Looking, "status", away)
    answer = browser.get("/")
    assert answer.status_code == 200 and "The store cannot be read" in answer.text and "Start it." in answer.text


def test_its_files_are_in_the_package() -> None:
    folder = Path(__file__).parents[1] / "tsad" / "service" / "page"
    there = {path.name for path in (folder / "assets").iterdir()}
    assert there == {"htmx.js", "uplot.js", "uplot.css", "page.css", "page.js", "LICENSES.txt"}
    assert "MIT" in (folder / "assets" / "LICENSES.txt").read_text() and (folder / "templates" / "base.html").is_file()


@pytest.mark.parametrize(
    "given, uri, link",
    [
        ("https://mlflow.example.org", "", "https://mlflow.example.org/#/experiments/1"),
        ("", "https://me:pass-word@host:5000/under?x=1", "https://host:5000/under/#/experiments/1"),
        ("", "https://me:pass/wo@rd@host:5000", "https://host:5000/#/experiments/1"),
        ("", "HTTP://host:5000", "http://host:5000/#/experiments/1"),
        ("", "sqlite:///store.db", ""),
    ],
)
def test_a_link_to_mlflow_holds_no_login(given: str, uri: str, link: str) -> None:
    site: Any = SimpleNamespace(
        options=SimpleNamespace(mlflow_url=given), bench=SimpleNamespace(tracking=SimpleNamespace(uri=uri))
    )
    assert Looking(site).address("experiments/1") == link


@pytest.mark.parametrize("wrong", ["mlflow.example.org", "https://me:pass-word@host", "https://host:99999", "https://"])
def test_an_address_of_mlflow_is_an_address_without_a_login(wrong: str, bench: Callable[..., Workbench]) -> None:
    with pytest.raises(ConfigError, match=r"service\.mlflow_url") as refused:
        bench(f"service.mlflow_url='{wrong}'")
    assert "pass-word" not in str(refused.value)
