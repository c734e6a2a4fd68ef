"""Environment variables are written in one place, by every entrance, before anything could phone home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tracking_rig import raced

from tsad.core.environment import ATTEMPTS, BACKOFF_SECONDS, OFFLINE, SILENCED, set_environment
from tsad.tracking.pyfunc_model import CODE

ROOT = Path(__file__).resolve().parents[1]
WRITERS = {"update", "setdefault", "pop", "clear", "popitem", "__setitem__", "putenv", "unsetenv"}
# Counts what would leave this machine; Python runs it before anything else.
SITE = """
import socket, sys
LOCAL = ("127.", "::1", "localhost", "0.0.0.0", socket.gethostname())
def note(host):
    if host and not str(host).startswith(LOCAL):
        open({log!r}, "a").write(str(host) + "\\n")
        raise OSError("no way out")
def wrapped(original, host_of):
    def call(*args, **kwargs):
        note(host_of(*args))
        return original(*args, **kwargs)
    return call
address = lambda sock, to, *_: to[0] if isinstance(to, tuple) else ""
socket.socket.connect = wrapped(socket.socket.connect, address)
socket.socket.connect_ex = wrapped(socket.socket.connect_ex, address)
socket.getaddrinfo = wrapped(socket.getaddrinfo, lambda host, *_: host)
"""
# A worker process, as synthetic.stream starts them; the copied file, as mlflow runs it; a call of our own.
WORKER = """
import itertools, os
from tsad.synthetic.stream import in_order
def look(k):
    return sorted(name for name in {names!r} if os.environ.get(name) is None)
if __name__ == "__main__":
    stream = in_order(look, 1, 0, what="looks")
    print(next(stream))
    stream.close()
"""
ENTRY = """
import os, runpy
from types import SimpleNamespace
model = runpy.run_path({entry!r})["DetectorModel"]()
context = SimpleNamespace(artifacts={{"detector": {description!r}}})
model.load_context(context)
import pandas as pd
frame = pd.DataFrame({{"timestamp": pd.date_range("2026-01-01", periods=50, freq="min"), "value": range(50)}})
assert len(model.predict(context, frame)) == 50
print(sorted(name for name in {names!r} if os.environ.get(name) is None))
"""
DESCRIPTION = """{"detector": {"_target_": "tsad.detectors.robust_zscore.RobustZScore", "half": 6.0, "window": 0},
"base": {}, "threshold": 0.5, "threshold_options": {"rule": "fixed", "default": 0.5, "quantile": 0.99,
"shrinkage": 1.0, "merge_gap": 1, "min_length": 1, "max_length": 0},
"origin": {"detector": "z"}, "adapter_sha256": null, "proposer": null}
"""


def test_what_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*SILENCED, *OFFLINE, "TSAD_HOME", "HYDRA_FULL_ERROR", "MLFLOW_HTTP_REQUEST_TIMEOUT", "COMP_LINE",
                 "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"):  # fmt: skip
        monkeypatch.setenv(name, "before")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    set_environment()
    assert {os.environ[name] for name in OFFLINE} == {"1", "before"}, "the user's word counts"
    assert os.environ["DO_NOT_TRACK"] == "1" and os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "before"
    assert os.environ["TSAD_HOME"] == os.environ["COMP_LINE"] == os.environ["HYDRA_FULL_ERROR"] == "before"
    set_environment(30.0, tmp_path, "tsad tr")
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) * ATTEMPTS + BACKOFF_SECONDS <= 30
    assert (os.environ["TSAD_HOME"], os.environ["COMP_LINE"]) == (str(tmp_path), "tsad tr")


def _outbound(command: list[str], tmp_path: Path, home: Path) -> tuple[str, list[str]]:
    """What a command prints, and the hosts it asked for, begun with an environment that switches nothing off."""
    log = tmp_path / "outbound.txt"
    log.touch()
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE.format(log=str(log)))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TSAD_HOME": str(home), "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"}  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, log.read_text().split()


@pytest.mark.parametrize("entrance", ["command line", "copied entry", "worker process"])
def test_nothing_phones_home(entrance: str, tmp_path: Path) -> None:
    home = tmp_path / "store"
    home.mkdir()
    names = sorted({*SILENCED, *OFFLINE, "OMP_WAIT_POLICY"})
    if entrance == "command line":
        shutil.copy(raced()[0] / "mlflow.db", home / "mlflow.db")
        command = ["-m", "tsad", "status"]
    elif entrance == "copied entry":
        entry, description = tmp_path / "pyfunc_entry.py", tmp_path / "detector.json"
        shutil.copy(CODE, entry)
        description.write_text(DESCRIPTION)
        command = ["-c", ENTRY.format(entry=str(entry), description=str(description), names=names)]
    else:
        (tmp_path / "worker.py").write_text(WORKER.format(names=names))
        command = [str(tmp_path / "worker.py")]
    printed, outbound = _outbound([sys.executable, *command], tmp_path, home)
    assert outbound == []
    if entrance != "command line":
        assert printed.splitlines()[-1] == "[]", "switches that were not set"


def test_the_counter_counts(tmp_path: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('telemetry.invalid', 443))\nexcept OSError: pass"
    assert _outbound([sys.executable, "-c", code], tmp_path, tmp_path)[1] == ["telemetry.invalid"]
