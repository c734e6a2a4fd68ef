"""The WebSocket of the live part: subscribe, hear, ask; and whom it lets in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_kit import QUICK, TOKEN, Folders, serving, wait_for
from test_live_streams import end, small_buffers, tell
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def jobs(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def url(jobs: Folders) -> Iterator[str]:
    with serving(jobs) as address:
        yield address


@contextmanager
def opened(url: str, headers: dict[str, str] | None = None, **how: Any) -> Iterator[ClientConnection]:
    address = url.replace("http", "ws") + "/api/v1/ws"
    how = {"proxy": None, "close_timeout": 0.5, **how}
    with connect(address, additional_headers=BEARER if headers is None else headers, **how) as socket:
        yield socket


def hear(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(socket.recv(30)))


def say(socket: ClientConnection, **values: Any) -> None:
    socket.send(json.dumps(values))


def test_it_hears_several_jobs_and_asks_something_of_them(jobs: Folders, url: str) -> None:
    first, second = jobs.job("a1"), jobs.job("b2")
    tell(first, 2)
    with opened(url) as socket:
        assert hear(socket) == {"event": "ready"}
        say(socket, action="subscribe", job="a1", since="a1:1")
        assert hear(socket) == {"event": "subscribed", "job": "a1"}
        told = hear(socket)
        assert (told["event"], told["job"], told["id"], told["values"]) == (
            "metrics", "a1", 2, {"step": 1, "train_loss": 0.5},
        )  # fmt: skip
        say(socket, action="subscribe", job="b2")
        assert hear(socket)["job"] == "b2"
        tell(second, 1)
        assert (told := hear(socket))["job"] == "b2" and told["id"] == 1
        say(socket, action="pause", job="b2")
        assert hear(socket) == {"event": "asked", "action": "pause", "job": "b2", "state": "running"}
        assert second.asked().pause and not first.asked().pause
        say(socket, action="unsubscribe", job="b2")
        assert hear(socket) == {"event": "unsubscribed", "job": "b2"}
        tell(second, 1)
        end(first)
        assert hear(socket)["event"] == "state"
        assert hear(socket) == {"event": "end", "job": "a1", "state": "succeeded"}
        say(socket, action="ping")
        assert hear(socket) == {"event": "pong"}


def test_who_subscribes_again_with_the_last_id_misses_nothing(jobs: Folders, url: str) -> None:
    folder = jobs.job("a1")
    got: list[int] = []
    for _ in range(4):
        tell(folder, 5)
        with opened(url) as socket:
            hear(socket)
            say(socket, action="subscribe", since=f"a1:{got[-1]}" if got else "", job="a1")
            hear(socket)
            got += [hear(socket)["id"] for _ in range(3)]
    assert got == list(range(1, 13))


@pytest.mark.parametrize("how", ["header", "basic", "subprotocol", "message"])
def test_the_token_comes_in_one_of_four_ways(url: str, how: str) -> None:
    basic = {"Authorization": "Basic YW55OmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ=="}
    headers = {"header": BEARER, "basic": basic}.get(how, {})
    offered = [Subprotocol("tsad"), Subprotocol(f"bearer.{TOKEN}")] if how == "subprotocol" else None
    with opened(url, headers, subprotocols=offered) as socket:
        if how == "message":
            say(socket, token=TOKEN)
        assert hear(socket) == {"event": "ready"}
        assert socket.subprotocol == ("tsad" if offered else None), "the token is not said back"


@pytest.mark.parametrize(
    "how", ["wrong header", "wrong message", "half a sign", "no json", "in the address", "nothing"]
)
def test_nobody_else_hears_anything(jobs: Folders, url: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.service.sockets.TOKEN_SECONDS", 0.3)
    address = f"{url}/api/v1/ws?token={TOKEN}".replace("http", "ws")
    headers = {"Authorization": "Bearer wrong"} if how == "wrong header" else {}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        if how == "wrong message":
            say(socket, token="wrong")
        elif how == "half a sign":
            socket.send('{"token": "\\ud800"}')
        elif how == "no json":
            socket.send("[" * 5000)
        elif how == "in the address":
            say(socket, action="subscribe", job="a1")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert closed.value.rcvd.reason == "the token is missing or wrong"


def test_a_page_of_another_site_is_not_let_in_by_a_password_that_the_browser_keeps(url: str) -> None:
    with pytest.raises(InvalidStatus), opened(url, origin="http://evil.example"):
        pass
    with opened(url, origin=url) as socket:  # type: ignore[arg-type]
        assert hear(socket) == {"event": "ready"}


def test_what_it_does_not_understand_it_says_and_goes_on(jobs: Folders, url: str) -> None:
    jobs.job("a1")
    with opened(url) as socket:
        hear(socket)
        for text in ("", "no json", "[]", '{"action": "explode", "job": "a1"}', '{"action": "stop"}', "{}",
                     '{"action": "subscribe", "job": "../x"}', '{"action": "subscribe", "job": 7}',
                     '{"action": "subscribe", "job": "beef"}', '{"action": "stop", "job": "beef"}',
                     '{"action": "subscribe", "job": "a1", "since": "b2:1"}',
                     '{"action": "subscribe", "job": "a1", "since": "a1:5"}', "[" * 5000):  # fmt: skip
            socket.send(text)
            answer = hear(socket)
            assert answer["event"] == "error" and answer["code"] and answer["message"], text
        socket.send(b"\x00\x01")
        assert hear(socket)["event"] == "error"
        say(socket, action="ping")
        assert hear(socket) == {"event": "pong"}
        with pytest.raises(ConnectionClosed):
            socket.send("x" * 100_000)
            socket.recv(10)


def test_so_many_jobs_one_socket_hears_and_no_more(
    jobs: Folders, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsad.service.sockets.SUBSCRIPTIONS", 2)
    with opened(url) as socket:
        hear(socket)
        for number in range(3):
            jobs.job(f"a{number}")
            say(socket, action="subscribe", job=f"a{number}")
            answer = hear(socket)
            assert answer["event"] == ("subscribed" if number < 2 else "error")
        assert "2 jobs are subscribed to already" in answer["message"]
        say(socket, action="subscribe", job="a0")  # again: it takes the place of the first
        assert hear(socket) == {"event": "subscribed", "job": "a0"}


def test_a_slow_socket_is_cut_with_a_word(jobs: Folders) -> None:
    folder = jobs.job("a1")
    with serving(jobs, replace(QUICK, keep=5)) as url, opened(url, max_queue=1, sock=small_buffers(url)) as socket:
        hear(socket)
        say(socket, action="subscribe", job="a1")
        assert hear(socket)["event"] == "subscribed"
        for _ in range(50):
            tell(folder, 1, filler="x" * 200_000)
            time.sleep(0.005)
        heard = [hear(socket)]
        while heard[-1]["event"] != "cut":
            heard.append(hear(socket))
        assert heard[-1]["code"] == "TooSlowError" and heard[-1]["job"] == "a1"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        last = heard[-2]["id"]
    with serving(jobs) as url, opened(url) as socket:
        hear(socket)
        say(socket, action="subscribe", job="a1", since=f"a1:{last}")
        hear(socket)
        assert hear(socket)["id"] == last + 1


def test_the_end_of_the_service_is_said(jobs: Folders) -> None:
    folder = jobs.job("a1")
    tell(folder, 1)
    with serving(jobs) as url:
        socket = connect(url.replace("http", "ws") + "/api/v1/ws", additional_headers=BEARER, proxy=None)
        hear(socket)
        say(socket, action="subscribe", job="a1")
        assert wait_for(lambda: hear(socket)["event"] == "metrics")
    said = hear(socket)
    assert said["event"] == "cut" and said["code"] == "StoppingError"
    with pytest.raises(ConnectionClosed):
        socket.recv(10)
    socket.close()
