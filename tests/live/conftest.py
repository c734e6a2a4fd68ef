"""Real servers for the live tests: one Label Studio per session, on a free port, with its own data; and a browser."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from iotdb_server import IoTDBServer, find_home

from tsad.review.label_studio import server

CHROMIUM = os.environ.get("TSAD_CHROMIUM", "/usr/bin/chromium")
PATIENCE_MS = 120_000  # Label Studio's pages are heavy, and a busy machine takes its time
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-component-update",
    "--disable-sync",
]


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where TSAD_REQUIRE_LIVE=1 says that everything has to be there."""
    if os.environ.get("TSAD_REQUIRE_LIVE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Studio:
    """A running Label Studio."""

    home: Path
    url: str
    credentials: server.Credentials

    @property
    def token(self) -> str:
        return self.credentials.token

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Plain HTTP, as somebody without tsad would do it."""
        import httpx

        headers = {"Authorization": f"Token {self.token}"}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=60, trust_env=False, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None


LONGEST = ("test_kill.py", "test_language_models.py", "test_iotdb.py")  # begun first: nothing waits for them then


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; one worker has all tests of a file (--dist loadfile), which share its servers."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))  # stable


def free_port() -> int:
    """One that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """TSAD_LIVE_HOME=<folder> keeps the server's data and the server itself between sessions (quicker by a minute)."""
    try:
        importlib.metadata.version("label-studio")
    except importlib.metadata.PackageNotFoundError:
        unavailable("Label Studio is not installed: pip install -e '.[studio]'")
    kept = os.environ.get("TSAD_LIVE_HOME")
    home = Path(kept) if kept else tmp_path_factory.mktemp("studio")
    url = server.start(home, 0 if kept else free_port())  # two workers starting at once must not take the same one
    yield Studio(home, url, server.read_credentials(home))
    if not kept:
        server.stop(home)


@pytest.fixture(scope="session")
def start_iotdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., IoTDBServer]]:
    """Starts IoTDB servers, each with data of its own; arguments as for IoTDBServer, but for the folder."""
    if find_home() is None:
        unavailable("There is no IoTDB; name an unpacked one by IOTDB_HOME")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        unavailable("There is no Java; IoTDB needs 17")
    servers: list[IoTDBServer] = []

    def start(**kwargs: Any) -> IoTDBServer:
        servers.append(IoTDBServer(tmp_path_factory.mktemp("iotdb"), **kwargs))
        servers[-1].start()
        return servers[-1]

    yield start
    for one in servers:
        one.kill()


@pytest.fixture(scope="session")
def iotdb(start_iotdb: Callable[..., IoTDBServer]) -> IoTDBServer:
    """One IoTDB for tests that leave it running; each writes below a database of its own."""
    return start_iotdb()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("Playwright is not installed: pip install -e '.[live]'")
    path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        unavailable("There is no Chromium; name one by TSAD_CHROMIUM")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def logged_in(studio: Studio, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page of somebody logged in to Label Studio, and the requests of it that would have left this machine."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    outside: list[str] = []
    tab.on("request", lambda r: None if r.url.startswith((studio.url, "data:", "blob:")) else outside.append(r.url))
    tab.goto(f"{studio.url}/user/login/", wait_until="domcontentloaded")
    tab.fill("input[name=email]", studio.credentials.user)
    tab.fill("input[name=password]", studio.credentials.password)
    tab.click("button[type=submit]", no_wait_after=True)
    tab.wait_for_url(lambda url: "/user/login" not in url, wait_until="commit")
    yield tab, outside
    context.close()


@pytest.fixture
def page(logged_in: tuple[Any, list[str]]) -> Iterator[Any]:
    """The logged-in page; fails on any request that leaves this machine."""
    tab, outside = logged_in
    outside.clear()
    yield tab
    assert outside == [], f"the browser asked for {outside}"


@pytest.fixture
def shot(tmp_path: Path) -> Callable[[Any, str], Path]:
    """Takes a screenshot into TSAD_SHOTS, else into the test's own folder."""
    place = Path(os.environ.get("TSAD_SHOTS", tmp_path))
    place.mkdir(parents=True, exist_ok=True)

    def take(tab: Any, name: str) -> Path:
        path = place / f"{name}.png"
        tab.screenshot(path=path)
        return path

    return take
