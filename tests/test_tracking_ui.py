"""``tsad ui``: what it refuses; the server itself is started in tests/live."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import socket
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from tracking_rig import home, options, store
from verbs_kit import call, keys

from tsad.core.errors import ConfigError, TrackingError
from tsad.tracking.store import LOOP, Store
from tsad.tracking.ui import open_browser, served
from tsad.tracking.views import view_of


def test_a_taken_port_is_named(store: Store) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"Port {port} of 127\.0\.0\.1 is taken"), served(store, port):
            pytest.fail("it was served on a taken port")


def test_another_server_that_took_the_port_is_not_taken_for_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        monkeypatch.setattr("tsad.tracking.ui._free_port", lambda _: other.server_port)  # it was free a moment ago
        with pytest.raises(TrackingError, match="ended at once"), served(store):
            pytest.fail("another server was taken for ours")
        other.shutdown()


def test_no_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="port is 70000"):
        keys("ui", port=70000)


@pytest.mark.parametrize("uri", ["http://ann:***@host:5000", "http://host:5000/"])
def test_a_tracking_server_has_its_own_and_the_loop_is_opened_there(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loops = [SimpleNamespace(experiment_id="7", tags={LOOP: "plant"})]
    remote = SimpleNamespace(is_server=True, uri=uri)
    monkeypatch.setattr("tsad.tracking.store.open_store", lambda *_: remote)
    monkeypatch.setattr("tsad.loop.showing.shown", lambda *_: view_of(loops, ""))
    up = call("ui", SimpleNamespace(tracking=None, home=None))  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert uri in said and up.url in said and up.loop == "plant" and up.own
    assert up.url.startswith("http://host:5000/#/experiments/7/runs?") and "Ctrl-C" not in said


@pytest.mark.parametrize("environment, browser, opened", [
    ({"DISPLAY": ":0"}, webbrowser.BackgroundBrowser("x"), True),
    ({"WAYLAND_DISPLAY": "wayland-0"}, webbrowser.BackgroundBrowser("x"), True),
    ({"DISPLAY": ":0"}, webbrowser.GenericBrowser("w3m"), False),
    ({"DISPLAY": ":0", "BROWSER": "mine"}, webbrowser.GenericBrowser("mine"), True),
    ({"DISPLAY": ":0", "SSH_CONNECTION": "1.2.3.4"}, webbrowser.BackgroundBrowser("x"), False),
    ({}, webbrowser.BackgroundBrowser("x"), False),
])  # fmt: skip
def test_a_browser_is_opened_for_who_sits_there(
    environment: dict[str, str], browser: webbrowser.GenericBrowser, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tsad.tracking.ui.sys.platform", "linux")
    monkeypatch.setattr(browser, "open", lambda link: not links.append(link))  # type: ignore[func-returns-value]
    monkeypatch.setattr("webbrowser.get", lambda: browser)
    assert open_browser("http://127.0.0.1:5000/?token=x") is opened
    assert links == ["http://127.0.0.1:5000/?token=x"] * opened


@pytest.mark.parametrize("private, wanted, opened", [(True, True, True), (False, True, False), (True, False, False)])
def test_only_a_terminal_opens_one(
    private: bool, wanted: bool, opened: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = SimpleNamespace(is_server=True, uri="http://host:5000")
    monkeypatch.setattr("tsad.tracking.store.open_store", lambda *_: remote)
    monkeypatch.setattr("tsad.loop.showing.shown", lambda *_: view_of([], ""))
    monkeypatch.setattr("tsad.verbs.console.is_terminal", lambda _: private)
    monkeypatch.setattr("tsad.tracking.ui.open_browser", lambda _: True)
    up = call("ui", SimpleNamespace(tracking=None, home=None), browser=wanted)  # type: ignore[arg-type]
    assert up.opened is opened and ("a browser was told" in capsys.readouterr().out) is opened


def test_a_server_that_ends_at_once_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.tracking.ui.sys.executable", "/bin/false")
    with pytest.raises(TrackingError, match="ended at once"), served(store):
        pytest.fail("nothing was served")
