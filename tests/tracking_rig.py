"""What the tests of the tracking room share: stores made from one template, killed children, a tiny detector."""

from __future__ import annotations

import atexit
import hashlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsad.core.bases import DetectorBase
from tsad.core.options import TrackingOptions
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.tracking.store import Store, open_store

# fork where there is one: the children inherit the imported mlflow instead of importing it for seconds
SPAWN = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")


def options(
    uri: str = "", timeout_seconds: float = 10.0, system_metrics: bool = True, tensorboard: bool = False
) -> TrackingOptions:
    return TrackingOptions(
        uri=uri, timeout_seconds=timeout_seconds, system_metrics=system_metrics, tensorboard=tensorboard,
        keep_versions=3, plots=3,
    )


def _open(folder: Path, answers: Any) -> None:
    try:
        answers.put(open_store(options(), folder).loops())
    except BaseException as error:
        answers.put(repr(error))


@cache
def raced() -> tuple[Path, list[Any]]:
    """A fresh store that six processes opened together, and what each of them saw in it: ``[]`` or an error.

    One creation serves all tests, as it takes seconds.
    """
    import mlflow.store.db.utils  # noqa: F401  (before the fork, or each child imports it)

    place = Path(tempfile.mkdtemp(prefix="tsad-template-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder, answers = place / "仓库 with space 100%", SPAWN.Queue()
    children = [SPAWN.Process(target=_open, args=(folder, answers)) for _ in range(6)]
    for child in children:
        child.start()
    seen = [answers.get(timeout=200) for _ in children]
    for child in children:
        child.join(60)
    return folder, seen


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store's folder with an empty database in it."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(raced()[0] / "mlflow.db", folder / "mlflow.db")
    return folder


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(options(), home)


def killed(target: Callable[..., None], *args: Any) -> None:
    """Run ``target`` in a process of its own, which has to end by its own kill -9."""
    child = SPAWN.Process(target=target, args=args)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, child.exitcode


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TinyDetector(DetectorBase):
    """Scores a value by itself times a gain, plus the bias in its adapter; its base is one file."""

    name, scored = "tiny", True
    detect, on_base = Detector.detect, Detector.on_base

    def __init__(self, *, weights: str, gain: float) -> None:
        self.weights, self.gain, self.bias = weights, gain, 0.0

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [np.clip(np.nan_to_num(s.values[:, 0]) * self.gain + self.bias, 0, 1) for s in series]

    def describe(self) -> dict[str, Any]:
        return {"_target_": "tracking_rig.TinyDetector", "weights": self.weights, "gain": self.gain}

    def base_reference(self) -> dict[str, str]:
        digest = hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()
        return {"id": "tiny/base", "path": self.weights, "sha256": digest}

    def with_adapter(self, folder: Path | None) -> TinyDetector:
        other = TinyDetector(weights=self.weights, gain=self.gain)
        other.bias = float((folder / "bias.txt").read_text()) if folder else 0.0
        return other
