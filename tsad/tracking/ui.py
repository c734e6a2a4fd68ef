"""The MLflow UI on a store, bound to this machine: the server's process, and where in it a loop is."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tsad.core.environment import SILENCED
from tsad.core.errors import TrackingError
from tsad.core.urls import without_login
from tsad.tracking.ui_app import HEALTH, HOST, MARK, MARKED, PAGE, START, TOKEN

if TYPE_CHECKING:
    from tsad.tracking.store import Store

PORT = 5000
START_SECONDS = 300.0  # a few seconds, minutes on a machine that is busy
LOG = "ui.log"


@dataclass(frozen=True)
class Served:
    """The UI as it answers.

    Attributes:
        url: without a token.
        link: what a browser is to open: it leads to the loop and carries the token.
    """

    url: str
    link: str
    process: subprocess.Popen[bytes]


def server_link(store: Store, route: str) -> str:
    """Where a tracking server's own UI shows a route; user and password, which its address may name, stay out of it."""
    return f"{without_login(store.uri)}/{route}"


def open_browser(link: str) -> bool:
    """Open the link in the browser of whoever sits at this machine; whether there is one to open it in.

    None is where nobody sits (no display, a session over SSH) or the only browser would take over the terminal.
    """
    graphical = os.name == "nt" or sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    if not graphical or "SSH_CONNECTION" in os.environ:
        return False
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    in_terminal = type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ
    return not in_terminal and browser.open(link)


@contextmanager
def served(store: Store, port: int = 0, route: str = "", token: bool = True) -> Iterator[Served]:
    """Run the UI while the block runs; yields it once it answers.

    Args:
        port: 0 = 5000, else any free one.
        route: of MLflow's page, where ``/`` leads to.
        token: whether requests have to show the token that the link carries.

    Raises:
        TrackingError: the port is taken, or the server does not come up; its words are in ``<home>/ui.log``.
    """
    port = _free_port(port)
    log = store.home / LOG
    secret = secrets.token_urlsafe(24) if token else ""
    command = [sys.executable, "-m", "tsad.tracking.ui_app", str(port)]
    environment = _environment(store, f"{PAGE}{route}", secret)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )  # fmt: skip
        try:
            with _ended_by_sigterm():
                url = f"http://{HOST}:{port}"
                _wait_until_up(process, url, environment[MARK], log)
                yield Served(url, f"{url}/?token={secret}" if secret else url, process)
        finally:
            stop(process)


def _environment(store: Store, start: str, token: str) -> dict[str, str]:
    """Of the server: the store's address may hold a password, and command lines are seen by everybody.

    The names that begin with ``_`` are those under which ``mlflow server`` hands the store on to its workers.
    """
    own = {
        "_MLFLOW_SERVER_FILE_STORE": store.tracking_uri, "_MLFLOW_SERVER_ARTIFACT_ROOT": store.artifact_root or "",
        "_MLFLOW_SGI_NAME": "uvicorn", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONUTF8": "1",
        TOKEN: token, START: start, MARK: secrets.token_hex(8),
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_CONFIGURE_LOGGING"}
    return {**kept, **SILENCED, **own}


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and the workers it started."""
    import psutil

    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        _quietly(member.terminate)
    _, left = psutil.wait_procs(family, timeout=5)
    for member in left:
        _quietly(member.kill)
    process.wait()


def _quietly(signal_sender: Any) -> None:
    import psutil

    try:
        signal_sender()
    except psutil.NoSuchProcess:
        return  # it ended by itself


def _free_port(port: int) -> int:
    for candidate in (port,) if port else (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, candidate))
            except OSError as error:
                if port:
                    raise TrackingError(
                        f"Port {port} of {HOST} is taken ({error.strerror})", "Use another one: tsad ui port=5001."
                    ) from error
                continue
            return int(probe.getsockname()[1])
    raise TrackingError(f"{HOST} has no free port")


def _wait_until_up(process: subprocess.Popen[bytes], url: str, mark: str, log: Path) -> None:
    """Until this server answers: another one may have taken the port since it was looked for."""
    import requests

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}{HEALTH}", timeout=2).headers.get(MARKED) == mark:
                return
        except requests.RequestException:
            pass  # not yet
        time.sleep(0.2)
    if process.poll() is None:
        raise TrackingError(f"The MLflow UI did not answer within {START_SECONDS:.0f} s at {url}", f"See {log}.")
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise TrackingError(f"The MLflow UI ended at once ({last[0][:200]})", f"See {log}.")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C does, so that the server does not outlive its verb."""

    def leave(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread, where no signal arrives anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
