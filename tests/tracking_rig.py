"""What the tests of the tracking room share: stores made from one template, killed children, a tiny detector."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsad.core.options import TrackingOptions
from tsad.core.types import FloatArray, Series
from tsad.tracking.store import Store, open_store

# fork where there is one: the children inherit the imported mlflow instead of importing it for seconds
SPAWN = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")


def options(uri: str = "", timeout_seconds: float = 10.0, system_metrics: bool = True) -> TrackingOptions:
    return TrackingOptions(
        uri=uri, timeout_seconds=timeout_seconds, system_metrics=system_metrics, keep_versions=3, plots=3
    )


_TEMPLATE: list[Path] = []


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's folder with an empty database in it: copied, as creating one takes seconds."""
    if not _TEMPLATE:
        first = tmp_path_factory.mktemp("template")
        open_store(options(), first)
        _TEMPLATE.append(first / "mlflow.db")
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(_TEMPLATE[0], folder / "mlflow.db")
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


class TinyDetector:
    """Scores a value by itself times a gain, plus the bias in its adapter; its base is one file."""

    name = "tiny"

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
