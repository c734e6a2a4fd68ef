"""A loop killed with SIGKILL at every point of its way ends as if nobody had killed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.live

KILLER = Path(__file__).with_name("killer.py")
ROOT = Path(__file__).parents[2]
SMALL = (
    "experiment=demo", "source.series=10", "source.points=1500", "loop.iterations=1", "loop.fresh=false",
    "windows.length=256", "windows.context=256", "sampling.windows=24", "adapter.steps=6", "adapter.eval_every=2",
    "adapter.checkpoint_every=2", "adapter.min_windows=4", "adapter.min_positive=1", "adapter.batch_size=4",
    "tracking.plots=1", "tracking.system_metrics=false",
)  # fmt: skip

# In the order in which an iteration meets them; every state of the issue is among them.
POINTS = (
    "before:state=CREATED", "after:state=CREATED", "after:state=DETECTING", "after:register", "after:promote",
    "after:dataset=gold", "before:close=DETECT", "after:close=DETECT", "after:state=REVIEWING", "after:close=PUSH",
    "after:dataset=train", "after:close=DATASET", "after:state=DATA_READY", "after:state=TRAINING",
    "after:checkpoint", "before:close=TRAIN", "after:close=TRAIN", "after:register", "after:state=TRAINED",
    "after:state=EVALUATING", "before:close=EVALUATE", "before:close=PROMOTE", "after:close=REPORT",
    "before:state=COMPLETED", "after:state=COMPLETED",
)  # fmt: skip


def tsad(home: Path, point: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TSAD_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(KILLER), point, *arguments], cwd=home.parent, env=env, capture_output=True, text=True,
        timeout=300, check=False,
    )


def runs(home: Path, name: str = "demo") -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


def outcome(home: Path) -> dict[str, Any]:
    """What must be the same, killed or not."""
    import json

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    every = runs(home)
    done = [r for r in every if r.info.status == "FINISHED"]
    versions = client.search_model_versions("name='tsad-demo-patch'")
    promote = next(r for r in done if r.data.tags.get("tsad.step") == "PROMOTE")
    path = client.download_artifacts(promote.info.run_id, "result.json")
    return {
        "steps": Counter(r.data.tags.get("tsad.step") for r in done if r.data.tags.get("tsad.kind") == "step"),
        "datasets": sorted(
            r.data.tags["tsad.dataset_version"] for r in done if r.data.tags.get("tsad.kind") == "dataset"
        ),
        "iterations": [r.data.tags["tsad.state"] for r in every if r.data.tags.get("tsad.kind") == "iteration"],
        "versions": len(versions),
        "running": [r.info.run_name for r in every if r.info.status == "RUNNING"],
        "scores": json.loads(Path(path).read_text(encoding="utf-8"))["scores"],
    }


@pytest.mark.timeout(1500)
def test_killed_at_every_point_it_ends_the_same(tmp_path: Path) -> None:
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    whole = tsad(reference, "never", "iterate", *SMALL)
    assert whole.returncode == 0, whole.stderr
    for point in POINTS:
        run = tsad(killed, point, "iterate", *SMALL)
        assert run.returncode == -signal.SIGKILL, f"{point} was not reached:\n{run.stdout}\n{run.stderr}"
    last = tsad(killed, "never", "iterate", *SMALL)
    assert last.returncode == 0, last.stderr
    expected, found = outcome(reference), outcome(killed)
    assert found["running"] == []
    assert found["iterations"] == ["COMPLETED"]
    assert set(found["steps"].values()) == {1}, found["steps"]
    assert found == expected
