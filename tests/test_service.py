"""The HTTP face over a real socket: who gets in, what is refused and how, bounded work, webhooks that only hint."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tsad.core.callbacks import SECRET_HEADER, WEBHOOK_PATH
from tsad.core.errors import ConfigError, RegistryError, ReviewError, StorageError
from tsad.core.serving import Address, Bounds
from tsad.files.secret import kept_secret
from tsad.service.face import Face

TOKEN = "correct-horse"
HERE = Address("127.0.0.1", 0)
BOUNDS = Bounds(running=2, waiting=2, seconds=5.0, body=20_000)
TASK = {"id": 7, "data": {"series": {}}}


@dataclass
class Model:
    """Answers each task with its number; may be slow, absent, or broken."""

    version: str = "m:1"
    hold: threading.Event | None = None
    error: Exception | None = None
    asked: list[int] = field(default_factory=list)

    def label(self) -> str:
        if self.error is not None:
            raise self.error
        return self.version

    def state(self) -> dict[str, Any]:
        return {"model_version": self.version}

    def predict(self, tasks: Sequence[Mapping[str, Any]], template: str, until: float) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        version = self.version
        if self.hold is not None:
            self.hold.wait(10)
        self.asked += [t["id"] for t in tasks]
        return [{"result": [], "score": 0.5, "model_version": version} for _ in tasks]


@dataclass
class Served:
    """A backend that runs, and what it was hinted."""

    url: str
    model: Model
    hints: list[float]

    def client(self, user: str = "anybody", password: str = TOKEN) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=(user, password), trust_env=False, timeout=20)

    def predict(self, **more: Any) -> httpx.Response:
        with self.client() as http:
            return http.post("/predict", json={"tasks": [TASK], "label_config": "<View/>", **more})


@pytest.fixture
def served() -> Iterator[Served]:
    model, hints = Model(), list[float]()
    with Face().backend(HERE, TOKEN, model, lambda: hints.append(time.monotonic()), BOUNDS) as url:
        yield Served(url, model, hints)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The one body of every error."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "remedy", "request_id"} and body["message"]
    return dict(body)


def test_the_protocol_of_label_studio_s_backend(served: Served) -> None:
    with served.client() as http:
        known = {"status": "UP", "model_class": "tsad", "model_version": "m:1", "problem": False}
        for path in ("/", "/health"):
            assert http.get(path).json() == known
        assert http.post("/setup", json={"project": "1.2", "access_token": "s3cret"}).json() == {"model_version": "m:1"}
        assert http.get("/versions").json() == {"versions": ["m:1"], "message": ""}
        answer = http.post("/predict", json={"tasks": [TASK, TASK], "label_config": "<View/>"})
        assert answer.json() == {
            "results": [{"result": [], "score": 0.5, "model_version": "m:1"}] * 2, "model_version": "m:1",
        }  # fmt: skip
        assert "/predict" in http.get("/openapi.json").json()["paths"]


def test_only_who_has_the_token_gets_in(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as nobody, served.client(password="wrong") as wrong:
        for http in (nobody, wrong):
            for method, path in (("POST", "/predict"), ("POST", "/setup"), ("GET", "/versions")):
                answer = http.request(method, path, json={"tasks": [TASK]} if method == "POST" else None)
                assert refused(answer, 401)["code"] == "RequestRefused"
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
        assert nobody.get("/health").status_code == 200
        assert nobody.get("/versions", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        for header in ("Basic %%%", "Basic", "Bearer", "Digest x", f"Basic {TOKEN}"):
            refused(nobody.get("/versions", headers={"Authorization": header}), 401)
    assert served.model.asked == []


def test_bodies_that_are_none_are_refused_by_name(served: Served) -> None:
    with served.client() as http:
        assert "larger than 20000 bytes" in refused(http.post("/predict", content=b"x" * 30_000), 413)["message"]
        for body in (b"", b"{", b"\xff\xfe", b'{"tasks": NaN}', b"[1]", b"[" * 10_000):
            refused(http.post("/predict", content=body), 400)
        for tasks in (None, {}, [1], [{}], [{"data": "x"}], "many"):
            refused(http.post("/predict", json={"tasks": tasks}), 422)
        refused(http.get("/nothing"), 404)
        refused(http.get("/predict"), 405)


def test_errors_have_their_status_and_tell_nothing_of_the_inside(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.model.error = RegistryError("there is no champion", "Run tsad iterate.")
    body = refused(served.predict(), 503)
    assert body["code"] == "RegistryError"
    assert (body["message"], body["remedy"]) == ("there is no champion", "Run tsad iterate.")
    served.model.error = ReviewError("the template has no TimeSeries")
    refused(served.predict(), 422)
    served.model.error = ZeroDivisionError("a secret of the inside")
    assert "secret" not in json.dumps(refused(served.predict(), 500))


def test_what_setup_brings_is_never_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    served.model.error = RegistryError("none")
    with served.client() as http:
        refused(http.post("/setup", json={"access_token": "s3cret-of-ls"}), 503)
        http.post("/setup", content=b'{"access_token": "s3cret-of-ls"')
        served.model.error = None
        http.post("/setup", json={"access_token": "s3cret-of-ls"})
    assert "s3cret-of-ls" not in caplog.text and TOKEN not in caplog.text


def test_so_many_are_worked_on_so_many_wait_and_the_next_is_told_when_to_come_again(served: Served) -> None:
    served.model.hold = threading.Event()
    with ThreadPoolExecutor(8) as threads:
        first = [threads.submit(served.predict) for _ in range(4)]
        until = time.monotonic() + 5
        more: list[httpx.Response] = []
        while time.monotonic() < until and not any(a.status_code == 429 for a in more):
            more.append(threads.submit(served.predict).result() if len(more) else _later(served))
        served.model.hold.set()
        assert [f.result().status_code for f in first] == [200] * 4
    answer = next(a for a in more if a.status_code == 429)
    refused(answer, 429)
    assert answer.headers["Retry-After"] == "1"
    assert served.predict().status_code == 200, "and then there is room again"


def _later(served: Served) -> httpx.Response:
    time.sleep(0.5)  # the first four have arrived
    return served.predict()


def test_one_that_takes_too_long_is_told_so() -> None:
    model = Model(hold=threading.Event())
    with Face().backend(HERE, TOKEN, model, lambda: None, Bounds(1, 0, 0.2, 1000)) as url:
        served = Served(url, model, [])
        assert "no answer within 0.2 s" in refused(served.predict(), 503)["message"]
        assert refused(served.predict(), 429), "its thread is still at work"
        model.hold.set()
        until = time.monotonic() + 5
        while (answer := served.predict()).status_code == 429 and time.monotonic() < until:
            time.sleep(0.05)
        assert answer.status_code == 200


def test_what_is_being_answered_when_it_stops_is_answered() -> None:
    model = Model(hold=threading.Event())
    with ThreadPoolExecutor(1) as threads:
        with Face().backend(HERE, TOKEN, model, lambda: None, BOUNDS) as url:
            answer = threads.submit(Served(url, model, []).predict)
            time.sleep(0.5)
            threading.Timer(0.5, model.hold.set).start()  # type: ignore[union-attr]
        assert answer.result().status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)


def test_the_backend_s_webhook_is_a_hint_without_credentials(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as nobody:
        assert nobody.post("/webhook", content=b"not even json").status_code == 200
        assert nobody.post("/webhook", json={"action": "START_TRAINING"}).status_code == 200
    assert len(served.hints) == 2


def test_a_webhook_with_the_secret_is_a_hint_and_its_body_is_not_read() -> None:
    hints: list[int] = []
    with Face().hooks(HERE, "s3cret", lambda: hints.append(1)) as url:
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            for headers in ({}, {SECRET_HEADER: "wrong"}, {SECRET_HEADER: ""}, {"Authorization": "s3cret"}):
                refused(http.post(WEBHOOK_PATH, headers=headers, json={"action": "ANNOTATION_CREATED"}), 401)
            assert hints == []
            body = b"x" * 1_000_000
            assert http.post(WEBHOOK_PATH, headers={SECRET_HEADER: "s3cret"}, content=body).status_code == 204
        times = _thousand(url, {SECRET_HEADER: "s3cret"})
    assert len(hints) == 1001 and max(times) < 10.0


def _thousand(url: str, headers: Mapping[str, str]) -> list[float]:
    """Webhooks from many sides at once; the seconds that each took."""

    def post(_: int) -> float:
        begun = time.monotonic()
        answer = clients[threading.get_ident() % len(clients)].post(WEBHOOK_PATH, headers=headers, json={})
        assert answer.status_code == 204
        return time.monotonic() - begun

    clients = [httpx.Client(base_url=url, trust_env=False, timeout=30) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        times = list(threads.map(post, range(1000)))
    for client in clients:
        client.close()
    return times


def test_an_address_that_is_taken_is_named(served: Served) -> None:
    taken = Address("127.0.0.1", int(served.url.rpartition(":")[2]))
    said = rf"nothing can listen at 127\.0\.0\.1:{taken.port}"
    with pytest.raises(ConfigError, match=said), Face().hooks(taken, "x", lambda: None):
        pass


def test_its_process_needs_neither_torch_nor_mlflow_to_start() -> None:
    code = (
        "import sys, tsad.service.app, tsad.service.backend, tsad.service.hooks, tsad.service.running\n"
        "import tsad.loop.on_the_spot, tsad.loop.live_champion\n"
        "print(*sorted({'torch', 'mlflow', 'transformers', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_secret_of_its_own_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "service" / "token"
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: kept_secret(path), range(8)))
    assert len(made) == 1 and len(made.pop()) > 30 and path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]
    path.chmod(0o644)
    with pytest.raises(StorageError, match="can be read by others"):
        kept_secret(path)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.core.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingPackageError, match=r"\[service\]"), Face().hooks(HERE, "x", lambda: None):
        pass


@pytest.mark.parametrize("url", ["http://me:secret@here.example", "ftp://here.example", "http://here.example:99999"])
def test_an_address_that_label_studio_cannot_call_or_that_holds_a_login_is_refused(url: str) -> None:
    from tsad.config import compose, settings
    from tsad.verbs.serve import ServeKeys

    with pytest.raises(ConfigError, match="url") as refused:
        settings(compose(["task=serve", "only=backend", f"url={url}"]), (), ServeKeys, "serve")
    assert "secret" not in str(refused.value)
