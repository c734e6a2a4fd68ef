"""The whole loop with the tiny language models, LoRA and QLoRA, and their versions in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SMALL = (
    "experiment=demo", "source.series=12", "source.points=1000", "sampling.windows=14", "loop.iterations=1",
    "adapter.min_positive=3", "adapter.steps=8", "adapter.eval_every=8", "threshold=reviewed",  # then the gate decides
)  # fmt: skip
# Scores of a registered version: as the loop loads it, and as MLflow does.
SCORING = """
import json, sys
import mlflow, numpy as np, pandas as pd
from tsad.config import compose, settings, workbench
from tsad.core.series import Series
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.opening import open_loop
bench = workbench(settings(compose(sys.argv[1:])))
loop = open_loop(bench)
registry = registry_of(bench, loop)
version = registry.versions()[-1]
stamps = np.arange(600, dtype=np.int64) * 60 * 10**9
values = np.random.default_rng(3).normal(size=(600, 1)); values[300:330] += 4
loaded = load_registered(bench, registry, version)
own = loaded.score([Series("p", stamps, values)])[0]
mlflow.set_tracking_uri(f"sqlite:///{bench.home / 'mlflow.db'}")
model = mlflow.pyfunc.load_model(f"models:/{registry.name}/{version.version}")
frame = pd.DataFrame({"timestamp": pd.to_datetime(stamps, utc=True), "value": values[:, 0]})
answer = model.predict(frame)
print(json.dumps({
    "version": version.label, "adapter": loaded.adapter is not None, "bits": loaded.detector.settings.quantisation,
    "sum": float(own.sum()), "pyfunc": float(np.asarray(answer["score"], float).sum()),
}))
"""


def tsad(home: Path, *words: str) -> str:
    """What a command printed; the test fails where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "tsad", *words], cwd=home, env=environment(home), capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "TSAD_HOME": str(home / "mlruns"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def scored(home: Path, *words: str) -> dict:
    """The newest version's scores, by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCORING, *words], cwd=home, env=environment(home), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["chatts_tiny", "qwen_vl_tiny"])
def test_a_loop_with_lora_and_qlora_whose_versions_score_the_same_elsewhere(name: str, tmp_path: Path) -> None:
    detector = (f"detector={name}", "detector.stride=256")
    said = tsad(tmp_path, "iterate", *SMALL, *detector)
    assert "iteration 1" in said and "interval F1" in said
    assert list((tmp_path / "mlruns" / "cache").rglob("answers/**/*.json")), "DETECT keeps what it was answered"
    first = scored(tmp_path, *SMALL, *detector)
    assert first["adapter"] and first["bits"] == "none", "LoRA was trained, registered and loaded"
    assert first["sum"] == pytest.approx(first["pyfunc"], abs=1e-9)
    if name != "chatts_tiny":  # 4 bits of the other are tried in test_llm_qwen_vl.py
        return
    assert scored(tmp_path, *SMALL, *detector) == first, "another process scores the same"
    trained = tsad(tmp_path, "train", *SMALL, *detector, "loop.name=demo", "adapter=qlora", "adapter.start_from=base")
    assert f"registered tsad-demo-{name.removesuffix('_tiny')}:" in trained
    second = scored(tmp_path, *SMALL, *detector)
    assert second["adapter"] and second["bits"] == "nf4" and second["version"] != first["version"]
    assert second["sum"] == pytest.approx(second["pyfunc"], abs=1e-9)
    assert second["sum"] != first["sum"]


def test_the_plans_of_the_large_ones_print_without_weights(tmp_path: Path) -> None:
    names = "detector=chatts_8b,chatts_14b,qwen_vl_8b"
    said = tsad(tmp_path, "-m", "train", "experiment=demo", names, "dry_run=true")
    assert all(name in said for name in ("ChatTS-8B", "ChatTS-14B", "Qwen3-VL-8B"))
    assert said.count("nothing was loaded, started or recorded") == 3 and not list(tmp_path.rglob("*.safetensors"))
