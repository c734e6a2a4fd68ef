"""The MLflow UI on a store, bound to this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tsad.core.errors import TrackingError

if TYPE_CHECKING:
    from tsad.tracking.store import Store

HOST, PORT = "127.0.0.1", 5000
START_SECONDS = 300.0  # a few seconds, minutes on a machine that is busy
LOG = "ui.log"


@contextmanager
def served(store: Store, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the UI while the block runs; yields its URL, once it answers, and its process.

    Args:
        port: 0 = 5000, else any free one.

    Raises:
        TrackingError: the port is taken, or the server does not come up; its words are in ``<home>/ui.log``.
    """
    port = _free_port(port)
    log = store.home / LOG
    # the address may hold a password, so it goes by the environment: command lines are seen by everybody
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": store.artifact_root or "",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUTF8": "1",
    }
    environment.pop("MLFLOW_CONFIGURE_LOGGING", None)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            with _ended_by_sigterm():
                url = f"http://{HOST}:{port}"
                _wait_until_up(process, url, log)
                yield url, process
        finally:
            stop(process)


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


def _wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    import requests

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)  # not yet
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
