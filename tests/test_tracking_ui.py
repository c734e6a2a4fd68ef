"""``tsad ui``: what it refuses; the server itself is started in tests/live."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from tracking_rig import home, options, store
from verbs_kit import call, keys

from tsad.core.errors import ConfigError, TrackingError
from tsad.tracking.store import Store
from tsad.tracking.ui import served


def test_a_taken_port_is_named(store: Store) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"Port {port} of 127\.0\.0\.1 is taken"), served(store, port):
            pytest.fail("it was served on a taken port")


def test_no_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="port is 70000"):
        keys("ui", port=70000)


def test_a_tracking_server_has_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    remote = SimpleNamespace(is_server=True, uri="http://ann:***@host:5000")
    monkeypatch.setattr("tsad.tracking.store.open_store", lambda *_: remote)
    call("ui", SimpleNamespace(tracking=None, home=None))  # type: ignore[arg-type]
    assert "http://ann:***@host:5000" in capsys.readouterr().out


def test_a_server_that_ends_at_once_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.tracking.ui.sys.executable", "/bin/false")
    with pytest.raises(TrackingError, match="ended at once"), served(store):
        pytest.fail("nothing was served")
