"""Fixtures for every room: composed options, a store of one's own, no way out to the network."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from tsad.config import Settings, compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.environment import set_environment

set_environment()
hypothesis_settings.register_profile("tsad", deadline=None)  # two busy cores are no reason to fail
hypothesis_settings.load_profile("tsad")

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")


@pytest.fixture(autouse=True)
def nobodys_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's user has trusted counts in no test, and no test adds to it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / uuid.uuid4().hex))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store's folder of this test's own; ``$TSAD_HOME`` points at it."""
    place = tmp_path / "store"
    monkeypatch.setenv("TSAD_HOME", str(place))
    return place


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema: creating one costs seconds, copying it to ``<home>/mlflow.db`` does not."""
    from tsad.tracking.store import open_store

    place = tmp_path_factory.mktemp("empty")
    open_store(settings(compose()).tracking, place)
    return place / "mlflow.db"


@pytest.fixture
def stocked(home: Path, empty_store: Path) -> None:
    """``home`` holds a store of its own, empty."""
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")


@pytest.fixture
def options(home: Path) -> Callable[..., Settings]:
    """``options("adapter.r=4", ...)``: the checked settings that these overrides give."""

    def make(*overrides: str) -> Settings:
        return settings(compose(overrides), overrides)

    return make


@pytest.fixture
def bench(options: Callable[..., Settings]) -> Callable[..., Workbench]:
    """``bench("source=synthetic", ...)``: the workbench that a verb would get."""
    return lambda *overrides: workbench(options(*overrides))


@pytest.fixture(autouse=True)
def no_outbound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections beyond this machine fail at once, and the test with them, even where a library hides the error."""
    attempts: list[str] = []
    connect, connect_ex, lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def allow(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if host is not None and name and not name.startswith(LOOPBACK):
            attempts.append(name)
            raise OSError(f"outbound connection to {name} refused by tests/conftest.py")

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, address: Any) -> Any:
            if isinstance(address, tuple):
                allow(address[0])
            return original(self, address)

        return call

    def looked_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != socket.gethostname():
            allow(host)
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    yield
    assert not attempts, f"outbound connections: {attempts}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With TSAD_REQUIRE_LIVE=1 a live test that skips has failed."""
    report = yield
    if _required() and item.get_closest_marker("live") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"TSAD_REQUIRE_LIVE=1, but skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """With TSAD_REQUIRE_LIVE=1 a live module that skips itself has failed."""
    report = yield
    if _required() and report.skipped and "live" in collector.path.parts:
        report.outcome = "failed"
        report.longrepr = f"TSAD_REQUIRE_LIVE=1, but skipped: {report.longrepr}"
    return report


def _required() -> bool:
    return os.environ.get("TSAD_REQUIRE_LIVE") == "1"
