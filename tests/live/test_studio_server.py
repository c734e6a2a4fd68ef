"""Label Studio as a system: colleagues, personal tokens, a server killed in mid-push, a real PostgreSQL."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from conftest import unavailable
from postgres import find_home
from review_kit import label_studio_options
from second_studio import Person, PostgresStudio, copied, killed, payload, until
from test_label_studio import annotate, queue, tasks_of

from tsad.core.errors import ReviewError
from tsad.core.reviews import ReviewState
from tsad.core.types import Origin
from tsad.review.label_studio import server
from tsad.review.label_studio.client import Client
from tsad.review.label_studio.reviewer import LabelStudioReviewer

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

PASSWORD = "Colleague-12345"
NETWORK = "127.0.0.2"  # stands for an address on the network: the tests may not leave this machine


def reviewer_at(url: str, token: str, loop: str = "", **options: Any) -> LabelStudioReviewer:
    name = loop or f"live-{uuid.uuid4().hex[:8]}"
    return LabelStudioReviewer(label_studio_options(**{"chunk": 5, **options}), url=url, token=token, loop=name)


@pytest.fixture(scope="module")
def second(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A copy of the session's server, open to the network; (home, url)."""
    home = tmp_path_factory.mktemp("second")
    copied(studio.home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "is_loopback", lambda address: address in ("127.0.0.1", "localhost"))
        yield home, server.start(home, host=NETWORK)
        server.stop(home)


@pytest.fixture(scope="module", autouse=True)
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresStudio]:
    """Started before the first test, for the last: its migrations take as long as all the others."""
    if find_home() is None:
        unavailable("PostgreSQL is not installed: apt-get install postgresql, or name POSTGRES_HOME")
    made = PostgresStudio(tmp_path_factory.mktemp("on_postgres"))
    yield made
    made.remove()


def allow_legacy(owner: Person, allowed: bool) -> None:
    """As the organization's API Tokens Settings do."""
    settings = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": allowed, "api_token_ttl_days": 9}
    owner.call("POST", "/api/jwt/settings", json=settings)


def test_colleagues_get_in_by_invitation_and_a_revoked_token_gets_nobody_in(
    second: tuple[Path, str], request: pytest.FixtureRequest
) -> None:
    home, url = second
    state = server.status(home)
    assert state is not None and state["url"] == url and url.startswith(f"http://{NETWORK}:")
    process = psutil.Process(state["pid"])
    assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {NETWORK}
    evil = httpx.get(f"{url}/user/login/", headers={"Host": "evil.example"}, trust_env=False)
    assert evil.status_code == 400
    keys = server.read_credentials(home)
    owner = Person(url).log_in(keys.user, keys.password)
    mail = f"{uuid.uuid4().hex[:6]}@example.org"
    colleague = Person(url).sign_up(owner.call("GET", "/api/invite")["invite_url"], mail, PASSWORD)
    legacy = reviewer_at(url, keys.token)
    choices = queue(3)
    assert legacy.push(choices) == 3
    task = next(colleague.call("GET", "/api/tasks/", params={"project": legacy._project()["id"]})["tasks"].__iter__())
    mine = colleague.personal_token()
    answer = httpx.post(f"{url}/api/token/refresh/", json={"refresh": mine}, trust_env=False).json()["access"]
    httpx.post(
        f"{url}/api/tasks/{task['id']}/annotations/", json={"result": []}, trust_env=False, timeout=60,
        headers={"Authorization": f"Bearer {answer}"},
    ).raise_for_status()
    who = str(colleague.call("GET", "/api/current-user/whoami")["id"])
    by_id = {r.window.window_id: r for r in legacy.pull(choices)}
    (said,) = by_id[task["data"]["window_id"]].annotations
    assert (said.annotator, said.intervals) == (who, ())
    log = (server.folder(home) / "server.log").read_text(errors="replace")
    assert set(re.findall(r"refused to leave this machine for (\S+)", log)) <= {"raw.githubusercontent.com"}

    token = owner.personal_token()
    request.addfinalizer(lambda: allow_legacy(owner, True))
    allow_legacy(owner, False)
    with pytest.raises(ReviewError, match=r"refused the token.*Personal Access Token"):
        legacy.pull(choices)
    personal = reviewer_at(url, token, legacy.title.removeprefix("tsad-"))
    assert len(personal.pull(choices)) == 3 and personal.push(queue(4)) == 1
    assert payload(answer)["exp"] - payload(answer)["iat"] < 3600, "access lasts minutes"
    personal.client._http.auth._access = "of an hour ago"  # type: ignore[union-attr]
    assert personal.pull(choices)[0].state is ReviewState.PENDING
    owner.end_token(token)
    personal.client._http.auth._access = "of an hour ago"  # type: ignore[union-attr]
    with pytest.raises(ReviewError, match=r"a personal one, revoked") as caught:
        personal.push(queue(9))
    assert token not in str(caught.value)
    assert reviewer_at(url, owner.personal_token(), legacy.title.removeprefix("tsad-")).push(queue(9)) == 5


@pytest.mark.timeout(900)
def test_a_server_killed_in_mid_push_and_mid_pull_is_waited_for(
    second: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, url = second
    token, patience = server.read_token(home), 600.0
    pulled, pushed = (reviewer_at(url, token, patience=patience) for _ in range(2))
    choices = queue(12)
    results: dict[str, Any] = {}
    assert pulled.push(choices) == 12
    for task in Person(url).log_in(*_login(home)).call(
        "GET", "/api/tasks/", params={"project": pulled._project()["id"], "page_size": 50}
    )["tasks"][:4]:
        httpx.post(
            f"{url}/api/tasks/{task['id']}/annotations/", json={"result": []}, trust_env=False, timeout=60,
            headers={"Authorization": f"Token {token}"},
        ).raise_for_status()
    reached = {"push": threading.Event(), "pull": threading.Event()}
    gone = threading.Event()

    def at(name: str, method: Callable[..., Any], call: int) -> Callable[..., Any]:
        """The call of that number finds the server dead, or dying."""
        count = iter(range(1, 10**6))

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(count) == call:
                reached[name].set()
                gone.wait(60)
            return method(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(pushed.client, "import_tasks", at("push", pushed.client.import_tasks, 2))
    fresh = reviewer_at(url, token, pulled.title.removeprefix("tsad-"), patience=patience)
    fresh.client.find_projects("x")
    monkeypatch.setattr(fresh.client, "_once", at("pull", fresh.client._once, 3))
    work = [
        threading.Thread(target=lambda: results.update(push=pushed.push(choices))),
        threading.Thread(target=lambda: results.update(pull=fresh.pull(choices))),
    ]
    for thread in work:
        thread.start()
    for event in reached.values():
        until(60, event.is_set)
    killed(home)
    gone.set()
    assert server.start(home, host=NETWORK) == url, "where it was"
    for thread in work:
        thread.join(300)
    assert results["push"] == 12
    assert [r.state for r in results["pull"]].count(ReviewState.CORRECTED) == 4
    rows = list(pushed.client.tasks(pushed._project()["id"], ("data", "predictions")))
    assert len(rows) == len({row["data"]["window_id"] for row in rows}) == 12
    assert all(len(row["predictions"]) == 1 for row in rows)


def _login(home: Path) -> tuple[str, str]:
    keys = server.read_credentials(home)
    return keys.user, keys.password


def test_a_task_deleted_while_somebody_has_it_open_is_named_and_made_again(studio: Studio) -> None:
    made = reviewer_at(studio.url, studio.token)
    choices = queue(3)
    made.push(choices)
    opened = studio.call("GET", f"/api/projects/{made._project()['id']}/next")
    assert made.withdraw(choices) == 3, "opening alone does not hold a task"
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        annotate(studio, opened)
    with pytest.raises(ReviewError, match="3 of 3 tasks are gone"):
        made.pull(choices)
    assert made.push(choices) == 3
    task = next(t for t in tasks_of(studio, made) if t["data"]["window_id"] == opened["data"]["window_id"])
    annotate(studio, task)
    assert [r.state for r in made.pull(choices)].count(ReviewState.CORRECTED) == 1
    studio.call("DELETE", f"/api/projects/{task['project']}/")
    with pytest.raises(ReviewError, match=r"has no project tsad-live.*tsad push"):
        made.pull(choices)


def test_two_pushes_at_once_and_two_people_leave_one_task_and_all_answers(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reviewer_at(studio.url, studio.token, chunk=20)
    second = reviewer_at(studio.url, studio.token, first.title.removeprefix("tsad-"), chunk=20)
    first.kept, second.kept = tmp_path / "a", tmp_path / "b"
    choices = queue(12)
    assert first.push(choices[:1]) == 1  # the project is there
    both, made = threading.Barrier(2, timeout=60), []
    for one in (first, second):
        original = one.client.import_tasks
        monkeypatch.setattr(one.client, "import_tasks", lambda *a, go=original: (both.wait(), go(*a))[1])
    work = [threading.Thread(target=lambda r=r: made.append(r.push(choices))) for r in (first, second)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(120)
    assert len(made) == 2
    tasks = tasks_of(studio, first)
    assert len(tasks) == len({t["data"]["window_id"] for t in tasks}) == 12
    for task in tasks[:3]:
        annotate(studio, task)
        annotate(studio, task)
    for one in (first, second):
        by_id = {r.window.window_id: r for r in one.pull(choices)}
        assert [len(by_id[t["data"]["window_id"]].annotations) for t in tasks] == [2] * 3 + [0] * 9


def test_a_pull_after_all_kinds_of_changes_reads_little_and_misses_nothing(studio: Studio, tmp_path: Path) -> None:
    made = reviewer_at(studio.url, studio.token)
    made.kept = tmp_path
    choices = queue(12)
    made.push(choices)
    tasks = tasks_of(studio, made)
    project = tasks[0]["project"]
    counted = Counted(made.client)

    def states() -> str:
        counted.data = 0
        by_id = {r.window.window_id: r.state for r in made.pull(choices)}
        assert counted.data == 0, "a whole series was read again"
        return "".join(by_id[t["data"]["window_id"]].value[0] for t in tasks)

    assert states() == "P" * 12
    posted = annotate(studio, tasks[2], was_cancelled=True)
    assert states() == "PPS" + "P" * 9
    studio.call("PATCH", f"/api/annotations/{posted['id']}/", json={"was_cancelled": False})
    assert states() == "PPC" + "P" * 9
    studio.call("DELETE", f"/api/annotations/{posted['id']}/")
    assert states() == "P" * 12
    some = {"all": False, "included": [t["id"] for t in tasks[:6]]}
    body = {"selectedItems": some, "model_version": "tsad-x-patch:1"}
    studio.call("POST", "/api/dm/actions/", params={"id": "predictions_to_annotations", "project": project}, json=body)
    assert states() == "A" * 6 + "P" * 6
    del body["model_version"]
    body["selectedItems"] = {"all": False, "included": [t["id"] for t in tasks[:3]]}
    studio.call("POST", "/api/dm/actions/", params={"id": "delete_tasks_annotations", "project": project}, json=body)
    assert states() == "PPPAAAPPPPPP"
    assert "@" not in "".join(p.read_text() for p in tmp_path.iterdir()), "people are known by their ids"


@pytest.mark.timeout(900)
def test_a_shared_server_on_postgresql_with_personal_tokens(on_postgres: PostgresStudio, tmp_path: Path) -> None:
    shared = on_postgres.wait()
    owner = Person(shared.url).log_in(shared.keys.user, shared.keys.password)
    assert owner.call("GET", "/api/jwt/settings")["legacy_api_tokens_enabled"] is False, "as Label Studio comes"
    invitation = owner.call("GET", "/api/invite")["invite_url"]
    people = [Person(shared.url).sign_up(invitation, f"{name}@example.org", PASSWORD) for name in ("ann", "bob")]
    made = reviewer_at(shared.url, owner.personal_token(), chunk=7)
    made.kept = tmp_path
    choices = queue(15)
    assert made.push(choices) == 15 and made.push(choices) == 0
    project = made._project()["id"]
    task = people[0].call("GET", f"/api/projects/{project}/next")
    path = f"/api/tasks/{task['id']}/annotations/"
    work = [threading.Thread(target=lambda p=p: p.call("POST", path, json={"result": []})) for p in people]
    for thread in work:  # both submit at once
        thread.start()
    for thread in work:
        thread.join(60)
    by_id = {r.window.window_id: r for r in made.pull(choices)}
    ids = {str(p.call("GET", "/api/current-user/whoami")["id"]) for p in people}
    assert {a.annotator for a in by_id[task["data"]["window_id"]].annotations} == ids
    assert sum(r.state is ReviewState.PENDING for r in by_id.values()) == 14
    (mine,) = [a for a in people[1].call("GET", path) if a["completed_by"] == 3]
    people[1].call("DELETE", f"/api/annotations/{mine['id']}/")
    by_id = {r.window.window_id: r for r in made.pull(choices)}
    assert [a.annotator for a in by_id[task["data"]["window_id"]].annotations] == ["2"]
    second = Origin("patch", "tsad-x-patch:2")
    newer = [replace(c, proposals=(replace(c.proposals[0], origin=second),)) for c in choices]
    assert made.push(newer) == 0
    rows = made.client.tasks(project, ("predictions",))
    versions = {row["id"]: row["predictions"][0]["model_version"] for row in rows}
    assert versions.pop(task["id"]) == "tsad-x-patch:1" and set(versions.values()) == {"tsad-x-patch:2"}
    assert made.withdraw(choices) == 14


class Counted:
    """Counts the tasks that a client reads with their data."""

    def __init__(self, client: Client) -> None:
        self.data, self._send = 0, client._send
        client._send = self.send  # type: ignore[method-assign]

    def send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        answer = self._send(method, path, *args, **kwargs)
        if path == "/api/tasks/" and "data" in kwargs["params"]["include"].split(","):
            self.data += len(answer["tasks"])
        return answer
