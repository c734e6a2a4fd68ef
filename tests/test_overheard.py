"""Training is heard while it goes on: by a job's listener, and by TensorBoard beside MLflow."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import test_pretrain
import test_trainer
from tracking_rig import home, options

from tsad.core.context import Context
from tsad.core.errors import MissingPackageError, StorageError
from tsad.core.pulse import Pulse
from tsad.core.recording import NoRecord, Overheard
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store
from tsad.tracking.tensorboard import EventFiles, event_files, require_tensorboard

STRIDE = {"step_loss", "learning_rate", "grad_norm"}


class Ear:
    """A Listener that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.lock = threading.Lock()

    def heard(self, values: Mapping[str, float], step: int) -> None:
        with self.lock:
            self.rows.append((step, dict(values)))


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.core.pulse.SECONDS", 0.0)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    read.Reload()
    return {
        tag: [(e.step, float(e.tensor_proto.float_val[0])) for e in read.Tensors(tag)] for tag in read.Tags()["tensors"]
    }


def test_a_listener_hears_every_step_and_the_record_keeps_evaluations(tmp_path: Path, every_step: None) -> None:
    ear, notes = Ear(), test_trainer.Notebook()
    test_trainer.run(tmp_path, notes, context=Context(listener=ear), patience=99)
    assert [step for step, values in ear.rows if set(values) == STRIDE] == list(range(1, 21))
    assert all(math.isfinite(v) for _, values in ear.rows for v in values.values())
    evaluations = [values for step, values in notes.rows if step]
    wanted = {"train_loss", "learning_rate", "grad_norm", "examples_per_second", "validation_loss", "validation_f1"}
    assert evaluations and all(wanted <= set(values) for values in evaluations)
    assert all(values["examples_per_second"] > 0 and values["grad_norm"] > 0 for values in evaluations)
    assert not any("step_loss" in values for _, values in notes.rows), "steps are for those who watch"


def test_listening_changes_nothing_of_what_is_learned(tmp_path: Path, every_step: None) -> None:
    alone = test_trainer.run(tmp_path / "alone")
    heard = test_trainer.run(tmp_path / "heard", context=Context(listener=Ear()))
    assert test_trainer.digest(alone) == test_trainer.digest(heard)


def test_fast_steps_are_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    ear, now = Ear(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pulse = Pulse(Context(listener=ear), 4)
    for step in range(100):
        pulse.tell({"loss": 1.0}, step)
        now[0] += 0.0625
    assert [step for step, _ in ear.rows] == [0, 16, 32, 48, 64, 80, 96]
    Pulse(Context(), 4).tell({"loss": 1.0}, 1)  # nobody listens


def test_throughput_counts_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    pulse = Pulse(Context(), 8)
    assert pulse.rate() == {}
    for _ in range(5):
        with pulse.step():
            now[0] += 0.5
        now[0] += 10.0  # an evaluation
    assert pulse.rate() == {"examples_per_second": 16.0}
    assert pulse.rate() == {}


def test_pre_training_is_heard_too(tmp_path: Path, every_step: None, monkeypatch: pytest.MonkeyPatch) -> None:
    test_pretrain.set_chunks(monkeypatch, 256, (256,), 8)
    ear, notes = Ear(), test_pretrain.Notes()
    test_pretrain.run(tmp_path, notes, context=Context(listener=ear))
    assert [step for step, values in ear.rows if set(values) == STRIDE] == [1, 2, 3, 4, 5, 6]
    kept = {"loss", "learning_rate", "grad_norm", "validation_loss", "examples_per_second"}
    assert all(kept <= set(row) and "step_loss" not in row for row in notes.rows)


def test_what_is_recorded_is_recorded_before_it_is_told() -> None:
    order: list[str] = []

    class Recorder(NoRecord):
        def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
            order.append(f"recorded {step}")

    class Loud(Ear):
        def heard(self, values: Mapping[str, float], step: int) -> None:
            order.append(f"told {step}")

    recorder = Overheard(Recorder(), [Loud(), Loud()])
    recorder.metrics({"train_loss": 1.0}, 7)
    recorder.tags({"a": "b"})
    assert order == ["recorded 7", "told 7", "told 7"]


def test_memory_and_load_are_heard(home: Path) -> None:
    loop, ear = LoopStore(open_store(options(), home), "nab"), Ear()
    with loop.lock() as held, held.run("TRAIN") as step, step.system_metrics(60, [ear]):
        pass
    assert 1 <= len(ear.rows) <= 2
    assert ear.rows[0][1]["system/process_memory_megabytes"] > 10


def test_event_files_lie_beside_the_runs_and_can_be_read_while_it_trains(home: Path) -> None:
    loop = LoopStore(open_store(options(tensorboard=True), home), "厂 1")
    with loop.lock() as held, held.run("TRAIN") as step, event_files(step, loop.name) as (files,):
        files.heard({"train_loss": 0.5, "grad_norm": math.inf}, 10)
        (folder,) = (home / "tensorboard").glob("*/*")
        assert folder.name == f"train-{step.run_id[:8]}" and folder.parent.name.startswith("厂_1-")
        assert scalars(folder) == {"train_loss": [(10, 0.5)], "grad_norm": [(10, math.inf)]}
        files.heard({"train_loss": 0.25}, 20)
    assert scalars(folder)["train_loss"] == [(10, 0.5), (20, 0.25)]


def test_without_the_option_there_are_none(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as held, held.run("TRAIN") as step, event_files(step, loop.name) as files:
        assert files == []
    assert not (home / "tensorboard").exists()


def test_without_the_package_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_tensorboard(options())
    with pytest.raises(MissingPackageError, match=r"tracking\.tensorboard is true.*\[tensorboard\]"):
        require_tensorboard(options(tensorboard=True))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(StorageError, match=r"tracking\.tensorboard=false"):
        EventFiles(tmp_path / "tensorboard" / "plant")


def test_event_files_take_figures_from_two_threads(tmp_path: Path) -> None:
    files = EventFiles(tmp_path)

    def tell(name: str) -> None:
        for step in range(50):
            files.heard({name: float(step)}, step)

    threads = [threading.Thread(target=tell, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files.close()
    expected: Any = [(step, float(step)) for step in range(50)]
    assert scalars(tmp_path) == {"a": expected, "b": expected, "c": expected}
