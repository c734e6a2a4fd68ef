"""Pre-training: the same bytes from the same seed, however often it is stopped; the verb around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from sources_kit import write
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.control import StopRequested, Switch
from tsad.core.errors import ConfigError, SourceError, StorageError, WeightsError
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.evidence.channels import CHANNELS
from tsad.detectors.patch import crops
from tsad.detectors.patch.detector import PatchDetector
from tsad.detectors.patch.pretrain import CHECKPOINT, pretrain
from tsad.detectors.patch.pretrain_options import PretrainOptions
from tsad.files.hashing import digest_of_file
from tsad.synthetic.coupled import MACHINE_KINDS as KINDS
from tsad.synthetic.generator import GENERATOR_VERSION

TINY = {
    "length": 64, "patch": 8, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 24, "point_size": 8,
    "stem": (1, 5), "embeds_inputs": False, "believes": True,
}  # fmt: skip
LENGTHS, SHARES = crops.LENGTHS, crops.LENGTH_SHARES


class Notes:
    """A recorder that remembers; at step ``stop`` it raises, as a tracking server that is gone."""

    def __init__(self, stop: int = 0) -> None:
        self.noted: dict[str, Any] = {}
        self.rows: list[dict[str, float]] = []
        self.stop = stop

    def params(self, values: Mapping[str, Any]) -> None:
        self.noted |= values

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        if step == self.stop:
            raise ConnectionError("the tracking server is gone")
        self.rows.append({"step": step, **values})


def set_chunks(patch: pytest.MonkeyPatch, points: int, lengths: tuple[int, ...], crops_held_out: int) -> None:
    patch.setattr(crops.make_chunk, "__defaults__", (CHANNELS, points))
    patch.setattr(crops, "LENGTHS", lengths)
    patch.setattr(crops, "LENGTH_SHARES", (1 / len(lengths),) * len(lengths))
    patch.setattr("tsad.detectors.patch.pretrain.VALIDATION", crops_held_out)


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Any:
    """One short series at a time: what is tested here does not depend on how many."""
    with pytest.MonkeyPatch.context() as patch:
        set_chunks(patch, 256, (256,), 8)
        yield


def run(folder: Path, recorder: Any = None, **changes: Any) -> dict[str, float]:
    options: dict[str, Any] = {
        "seed": 5, "steps": 6, "batch_size": 2, "save_every": 2, "network": TINY, "learning_rate": 1e-3, "warmup": 150,
        "cooldown": 2000, "max_seconds": 0.0, "device": "cpu", "precision": "float32", "compile": False, "workers": 0,
    }  # fmt: skip
    context = changes.pop("context", None)
    network = {"start": "", "evidence": True, "without": [], "network": TINY}
    made = PretrainOptions.of(**{**network, **options, **changes})
    return pretrain(made, folder, recorder=recorder, context=context)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_it_is_seeded_and_leaves_its_recipe(tmp_path: Path) -> None:
    notes = Notes()
    figures = run(tmp_path / "a", notes)
    assert figures["steps"] == 6 and np.isfinite([figures["loss"], figures["validation_loss"]]).all()
    run(tmp_path / "b")
    run(tmp_path / "c", seed=6)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert [p.name for p in sorted((tmp_path / "a").iterdir())] == ["config.json", "model.safetensors"]
    assert {(p.stat().st_mode & 0o777) for p in (tmp_path / "a").iterdir()} == {0o644}
    recipe = json.loads((tmp_path / "a" / "config.json").read_text())["recipe"]
    assert (recipe["seed"], recipe["steps"], recipe["step"], recipe["precision"]) == (5, 6, 6, "float32")
    assert recipe["generator"] == GENERATOR_VERSION and recipe["kinds"] == list(KINDS)
    assert notes.noted["seed"] == 5 and notes.noted["network.length"] == 64
    assert notes.noted["network.evidence"] == len(CHANNELS)
    assert [row["step"] for row in notes.rows] == [2, 4, 6]
    noise = np.random.default_rng(0).standard_normal((100, 1))
    detector = PatchDetector(weights=str(tmp_path / "a"), batch_size=4, device="cpu", stride=56, blend=1.0)
    (scores,) = detector.score([Series("x", np.arange(100) * NS_PER_SECOND, noise)])
    assert np.isfinite(scores).all()


def test_a_flipped_spike_is_a_dip() -> None:
    values, kinds = np.random.default_rng(0).normal(size=256), np.zeros(256, np.int8)
    values[[40, 120, 200]] += 40.0
    kinds[[40, 120, 200]] = KINDS.index("spike")
    sample = crops._sample(values, kinds, values.astype(np.float32), crops.Seen(64).needed, None)
    rng, seen = np.random.default_rng(1), set()
    for _ in range(60):
        crop = crops.draw_crop([sample], rng, crops.Seen(64))
        seen |= {(KINDS[k], bool(v > 0)) for k, v in zip(crop.kinds, crop.example.values, strict=True) if k}
    assert seen == {("spike", True), ("dip", False)}


def test_the_stream_is_the_same_from_workers() -> None:
    with pytest.MonkeyPatch.context() as patch:  # workers are fresh processes: full chunks there and here
        patch.setattr(crops.make_chunk, "__defaults__", (CHANNELS, crops.CHUNK))
        patch.setattr(crops, "LENGTHS", LENGTHS)
        patch.setattr(crops, "LENGTH_SHARES", SHARES)
        found = []
        for workers in (0, 1):
            stream = crops.ExampleStream(3, 2, crops.Seen(64), workers=workers, every=1)
            found.append([stream.batch("cpu") for _ in range(2)])
            stream.close()
    for mine, other in zip(*found, strict=True):
        assert mine.keys() == other.keys() and all(bool((mine[k] == other[k]).all()) for k in mine)


@pytest.mark.parametrize("stop", [2, 4])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, stop: int) -> None:
    run(tmp_path / "whole")
    with pytest.raises(ConnectionError):
        run(tmp_path / "broken", Notes(stop))
    assert (tmp_path / "broken" / CHECKPOINT).is_file()
    notes = Notes()
    run(tmp_path / "broken", notes)
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole") and notes.rows[0]["step"] == stop + 2


def test_a_stop_keeps_what_was_learned(tmp_path: Path) -> None:
    class StopAt(Notes):
        def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
            super().metrics(values, step)
            switch.stop()

    run(tmp_path / "whole", steps=4, save_every=3)
    switch = Switch()
    with pytest.raises(StopRequested):
        run(tmp_path / "a", StopAt(), context=Context(control=switch), steps=4, save_every=3)
    run(tmp_path / "a", steps=4, save_every=3)
    assert weights(tmp_path / "a") == weights(tmp_path / "whole")


def test_kill_9_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        import pytest, torch
        from test_pretrain import Notes, run, set_chunks
        set_chunks(pytest.MonkeyPatch(), 256, (256,), 8)
        torch.set_num_threads({__import__("torch").get_num_threads()})
        class Killed(Notes):
            def metrics(self, values, step=0):
                if step == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
        run(Path({str(tmp_path / "killed")!r}), Killed(), steps=3)
    """)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL and (tmp_path / "killed" / CHECKPOINT).is_file()
    run(tmp_path / "killed", steps=3)
    run(tmp_path / "whole", steps=3)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        run(tmp_path, Notes(2))
    for change, word in (
        ({"seed": 6}, "seed"), ({"batch_size": 3}, "batch_size"), ({"learning_rate": 0.1}, "learning_rate"),
        ({"precision": "bf16"}, "precision"), ({"network": {**TINY, "layers": 2}}, "network"),
        ({"evidence": False}, "network"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"another {word}.*delete the file"):
            run(tmp_path, **change)


def test_a_checkpoint_of_an_older_tsad_or_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"no safetensors")
    with pytest.raises(ConfigError, match=r"damaged.*Delete it"):
        run(tmp_path)
    (tmp_path / "pretrain.checkpoint.pt").write_bytes(b"a pickle, perhaps one that runs something")
    with pytest.raises(ConfigError, match=r"checkpoint\.pt.*older tsad.*delete the file"):
        run(tmp_path)


def test_time_running_out_starts_the_cooldown_and_a_resumed_run_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsad.detectors.patch.pretrain.PACE_STEPS", 1)
    short = {"steps": 300, "cooldown": 4, "max_seconds": 0.01}
    figures = run(tmp_path / "a", save_every=1000, **short)
    assert figures["steps"] == 5
    assert json.loads((tmp_path / "a" / "config.json").read_text())["recipe"]["steps"] == 5
    with pytest.raises(ConnectionError):
        run(tmp_path / "b", Notes(2), **short)
    assert run(tmp_path / "b", steps=300, cooldown=4)["steps"] == 5
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_bfloat16_learns_and_is_stored_as_ever(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    figures = run(tmp_path / "bf16", precision="bf16")
    assert np.isfinite(figures["loss"]) and len(weights(tmp_path / "bf16")) == len(weights(tmp_path / "whole"))
    assert weights(tmp_path / "bf16") != weights(tmp_path / "whole")


WRONG: list[dict[str, Any]] = [
    {"steps": 0}, {"batch_size": 0}, {"save_every": 0}, {"learning_rate": 0.0}, {"workers": -1}, {"seed": -1},
    {"precision": "float16"}, {"network": {**TINY, "layers": 0}}, {"network": {**TINY, "length": 60}},
    {"network": {**TINY, "heads": 3}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_impossible_options_are_refused_before_anything_is_made(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"pretrain: .*(=0|=-1|float16|length=60|heads=3)"):
        run(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_compiling_is_for_cuda(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compile=true on cpu.*compile=false"):
        run(tmp_path, compile=True)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        run(tmp_path / "file", steps=1)


# ---- the verb


def options(output: Path, sets: list[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    from tsad.files.locate import shipped

    task = OmegaConf.to_container(OmegaConf.load(shipped("conf") / "task" / "pretrain.yaml"))
    assert isinstance(task, dict)
    small = {"steps": 2, "save_every": 1, "batch_size": 2, "workers": 0, "network": TINY, "device": "cpu"}
    return {**task, **small, "output": str(output), "validate_on": sets, "validate_points": 200}


@pytest.mark.usefixtures("stocked")
def test_the_verb_is_tracked_and_validates_on_labelled_sets(
    tmp_path: Path, home: Path, bench: Callable[..., Workbench]
) -> None:
    from mlflow import MlflowClient

    values = np.random.default_rng(0).standard_normal(300)
    values[100:108] += 9
    rows = "".join(f"{k},{v},{int(100 <= k < 108)}\n" for k, v in enumerate(values))
    write(tmp_path / "toys" / "a.csv", "timestamp,value,label\n" + rows)
    watched = bench("tracking.tensorboard=true")
    result = call("pretrain", watched, **options(tmp_path / "out", [str(tmp_path / "toys")])).optimised
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    (found,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert found.data.params["seed"] == "0" and found.data.params["network.layers"] == "1"
    assert found.data.params["learning_rate"] == "0.001"
    assert result == found.data.metrics["mean/vus_pr"] == found.data.metrics["toys/vus_pr"] > 0
    assert len(client.get_metric_history(found.info.run_id, "toys/auc_pr")) == 2
    (events,) = (home / "tensorboard").glob(f"*/pretrain-{found.info.run_id[:8]}/events.out.tfevents.*")
    assert b"toys/auc_pr" in events.read_bytes() and b"system/process_memory" in events.read_bytes()
    kept = {a.path for a in client.list_artifacts(found.info.run_id)}
    assert {"weights", "validation.png", "result.json"} <= kept
    assert {a.path for a in client.list_artifacts(found.info.run_id, "weights")} == {
        "weights/config.json", "weights/model.safetensors",
    }  # fmt: skip


def test_a_set_that_cannot_be_read_costs_no_training(tmp_path: Path, bench: Callable[..., Workbench]) -> None:
    with pytest.raises(SourceError, match="no folder"):
        call("pretrain", bench(), **options(tmp_path / "out", [str(tmp_path / "nowhere")]))
    assert not (tmp_path / "out").exists()


def test_without_evidence_the_network_sees_values_alone(tmp_path: Path) -> None:
    run(tmp_path, steps=1, evidence=False)
    assert json.loads((tmp_path / "config.json").read_text())["evidence"] == []


def test_it_goes_on_from_weights_and_says_which(tmp_path: Path) -> None:
    before = run(tmp_path / "before")
    config = json.loads((tmp_path / "before" / "config.json").read_text())
    (tmp_path / "before" / "config.json").write_text(json.dumps({**config, "blend": "features"}))
    first = {"start": str(tmp_path / "before"), "seed": 6, "learning_rate": 1e-9, "steps": 1, "save_every": 1}
    run(tmp_path / "after", **first)
    made = json.loads((tmp_path / "after" / "config.json").read_text())
    assert made["recipe"]["start"] == digest_of_file(tmp_path / "before" / "model.safetensors")
    assert config["recipe"]["start"] == "" and made["blend"] == "features"  # its score goes on as it was, too
    with safe_open(tmp_path / "before" / "model.safetensors", "np") as old, safe_open(
        tmp_path / "after" / "model.safetensors", "np"
    ) as new:
        assert all(np.allclose(old.get_tensor(name), new.get_tensor(name), atol=1e-3) for name in old.keys())  # noqa: SIM118
    assert before["loss"] > 0


def test_a_run_from_weights_is_resumed_to_the_same_bytes_and_from_no_others(tmp_path: Path) -> None:
    run(tmp_path / "before")
    run(tmp_path / "other", seed=8)
    given = {"start": str(tmp_path / "before"), "seed": 6}
    run(tmp_path / "whole", **given)
    with pytest.raises(ConnectionError):
        run(tmp_path / "cut", Notes(stop=4), **given)
    with pytest.raises(ConfigError, match="belongs to a run with another start"):
        run(tmp_path / "cut", **{**given, "start": str(tmp_path / "other")})
    run(tmp_path / "cut", **given)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_weights_of_another_network_are_no_start(tmp_path: Path) -> None:
    run(tmp_path / "before")
    with pytest.raises(ConfigError, match=r"another evidence .*layers \(1\)"):
        run(tmp_path / "out", start=str(tmp_path / "before"), network={**TINY, "layers": 2}, evidence=False)
    with pytest.raises(ConfigError, match=r"weights.* are of a network with another .*hidden_size \(128\)"):
        run(tmp_path / "out", start="shipped")
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        run(tmp_path / "out", start=str(tmp_path / "nowhere"))
    assert not (tmp_path / "out").exists()
