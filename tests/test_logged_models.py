"""Model versions as LoggedModels: what they show, what a kill leaves of them, and that nobody changes them unseen."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tracking_rig import TinyDetector, die, home, killed, options, store

from tsad.core.errors import RegistryError, WeightsError
from tsad.tracking import logged_models, pyfunc_model
from tsad.tracking.addresses import local_path
from tsad.tracking.logged_models import measure
from tsad.tracking.pyfunc_model import Described, load_version, log_model
from tsad.tracking.registry import Registry, Version
from tsad.tracking.runs import LoopStore
from tsad.tracking.steps import StepRun
from tsad.tracking.store import Store, open_store

THRESHOLD = {
    "rule": "fixed", "default": 0.5, "quantile": 0.99, "shrinkage": 10.0, "merge_gap": 3, "min_length": 1,
    "max_length": 0,
}  # fmt: skip
WEIGHTS = "base.safetensors"


def logged(loop: LoopStore, step: StepRun) -> str:
    """A version with an adapter, whose base lies in the store's folder."""
    weights, adapter = loop.home / WEIGHTS, loop.home / "adapter of training"
    weights.write_bytes(b"the base")
    adapter.mkdir(exist_ok=True)
    (adapter / "bias.txt").write_text("0.25")
    detector = TinyDetector(weights=str(weights), gain=0.5)
    described = Described(
        detector={**detector.describe(), "weights": WEIGHTS}, threshold=0.4, threshold_options=THRESHOLD,
        base=detector.base_reference(), origin={"detector": "tiny", "dataset_version": "d" * 16}, channels=("flow",),
    )  # fmt: skip
    return log_model(step, described, adapter, loop.home / "work" / "model")


def trained(loop: LoopStore) -> Version:
    """A registered version of an iteration's TRAIN step; made in the store's folder, where its base is."""
    with loop.lock() as held:
        iteration = held.create_iteration(1, "a: 1\n", {})
        with iteration.step("TRAIN") as step:
            uri = logged(held, step)
            step.result({"uri": uri})
        return held.registry("tiny").register(run_id=step.run_id, model_uri=uri, tags={"tsad.role": "adapted"})


def models(loop: LoopStore) -> list[Any]:
    return list(loop.store.client.search_logged_models([loop.experiment_id]))


def model_folders(loop: LoopStore) -> list[Path]:
    """Folders of models among the store's artifacts that hold files."""
    return [p for p in (loop.home / "artifacts").glob("*/models/m-*") if any(f.is_file() for f in p.rglob("*"))]


def test_a_version_is_listed_with_its_figures(store: Store) -> None:
    loop = LoopStore(store, "nab")
    version = trained(loop)
    (model,) = models(loop)
    client = store.client
    assert (model.status.name, model.name, model.source_run_id) == ("READY", "tiny-dddddddd", version.run_id)
    assert version.model_id == model.model_id and version.tags == {
        "tsad.role": "adapted", "tsad.model_id": model.model_id,
    }  # fmt: skip
    assert model.params["threshold"] == "0.400000" and model.params["dataset_version"] == "d" * 16
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "tsad-nab-tiny", "version": 1}]
    assert [output.model_id for output in client.get_run(version.run_id).outputs.model_outputs] == [model.model_id]
    for _ in range(2):
        figures = {"gold/interval_f1": 0.5, "gold/vus_pr": float("nan")}
        measure(store, model.model_id, figures, ("nab-gold", "abc"), 1000)
    (metric,) = models(loop)[0].metrics
    assert (metric.key, metric.value, metric.dataset_name, metric.dataset_digest) == (
        "gold/interval_f1", 0.5, "nab-gold", "abc",
    )  # fmt: skip
    registry = loop.registry("tiny")
    registry.describe("what it learned from", version)
    registry.describe("whose it is")
    assert client.get_model_version(registry.name, "1").description == "what it learned from"
    assert client.get_registered_model(registry.name).description == "whose it is"


def test_no_file_says_where_it_was_made(store: Store, tmp_path: Path) -> None:
    loop = LoopStore(store, "nab")
    folder = loop.registry("tiny").fetch(trained(loop), tmp_path / "out")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "artifacts/detector.json", "artifacts/adapter/bias.txt", "pyfunc_entry.py",
            "input_example.json"} <= files.keys()  # fmt: skip
    roots = (str(store.home), str(Path(pyfunc_model.__file__).parent), str(Path.home()), str(tmp_path))
    for name, path in files.items():
        text = path.read_text(encoding="utf-8")
        assert not [root for root in roots if root in text], name
    told = yaml.safe_load(files["MLmodel"].read_text(encoding="utf-8"))
    assert told["model_id"] == models(loop)[0].model_id and "artifact_path" not in told
    assert [column["name"] for column in json.loads(told["signature"]["inputs"])] == [
        "timestamp", "point_id", "value", "flow",
    ]  # fmt: skip
    assert json.loads(files["artifacts/detector.json"].read_text())["base"].keys() == {"id", "sha256"}


@pytest.mark.parametrize("times", [
    pd.date_range("2026-01-01", periods=3, freq="min"), pd.date_range("2026-01-01", periods=3, freq="min", tz="UTC"),
    [3, 4, 5], ["2026-01-01T00:00:00Z", "2026-01-01T08:01:00+08:00", "2026-01-01T00:02:00Z"],
])  # fmt: skip
def test_mlflow_s_own_check_lets_every_kind_of_time_through(
    store: Store, monkeypatch: pytest.MonkeyPatch, times: Any
) -> None:
    import mlflow

    loop = LoopStore(store, "nab")
    version = trained(loop)
    monkeypatch.chdir(loop.home)
    model = mlflow.pyfunc.load_model(version.source)
    found = model.predict(pd.DataFrame({"flow": [0.1, 0.8, 0.9], "timestamp": times}))
    assert found["score"].round(6).tolist() == [0.3, 0.65, 0.7] and found["anomaly"].tolist() == [False, True, True]


def test_a_changed_description_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = LoopStore(store, "nab")
    version, registry = trained(loop), loop.registry("tiny")
    monkeypatch.chdir(loop.home)
    assert load_version(registry, version).detector.bias == 0.25
    (kept,) = (loop.home / "artifacts").rglob("detector.json")
    kept.write_text(kept.read_text().replace('"threshold": 0.4', '"threshold": 0.9'))
    with pytest.raises(WeightsError, match="not the one that was registered"):
        load_version(registry, version)
    monkeypatch.setattr("tsad.tracking.registry.DIGEST", "another_key")
    with pytest.raises(RegistryError, match="does not say which files"):
        load_version(registry, version)


def test_pruning_deletes_the_model_s_own_folder(store: Store) -> None:
    loop = LoopStore(store, "nab")
    version, registry = trained(loop), loop.registry("tiny")
    assert len(model_folders(loop)) == 1
    assert [pruned.version for pruned in registry.prune(0)] == [version.version]
    assert model_folders(loop) == [] and models(loop)[0].tags["tsad.artifacts"] == "pruned"
    assert registry.versions()[0].pruned and registry.prune(0) == []


def test_a_copied_store_has_its_own_models(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = LoopStore(store, "nab")
    trained(loop)
    place = tmp_path / "copy 装置 100%"
    shutil.copytree(store.home, place)
    copy = LoopStore(open_store(options(), place), "nab")
    (version,), registry = copy.registry("tiny").versions(), copy.registry("tiny")
    assert local_path(version.source) == local_path(models(copy)[0].artifact_location)
    assert Path(str(local_path(version.source))).is_relative_to(place)
    monkeypatch.chdir(place)
    assert load_version(registry, version).detector.bias == 0.25
    assert len(registry.prune(0)) == 1
    assert model_folders(copy) == [] and len(model_folders(loop)) == 1, "the original is whole"


# ---- kills


def _train_and_die(home: Path, moment: str) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as held:
        iteration = held.create_iteration(1, "a: 1\n", {})
        with iteration.step("TRAIN") as step:
            if moment != "unregistered":
                client = held.store.client._client
                setattr(client, moment, after(getattr(client, moment)))
            logged(held, step)
            die()


def after(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, and then the end."""

    def call(*args: Any, **kwargs: Any) -> Any:
        method(*args, **kwargs)
        die()

    return call


@pytest.mark.parametrize(
    "moment", ["create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs", "unregistered"]
)
def test_a_kill_leaves_no_model_behind(home: Path, moment: str) -> None:
    killed(_train_and_die, home, moment)
    loop = LoopStore(open_store(options(), home), "nab")
    assert len(models(loop)) == 1
    loop.reap()
    assert models(loop) == [] and model_folders(loop) == []
    version = trained(loop)
    assert version.version == 1 and [m.model_id for m in models(loop)] == [version.model_id]


def _register_and_die(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as held:
        iteration = held.create_iteration(1, "a: 1\n", {})
        with iteration.step("DETECT") as step:
            held.registry("tiny").register(run_id=step.run_id, model_uri=logged(held, step), tags={})
            die()


def test_what_is_registered_stays_whatever_becomes_of_its_run(home: Path) -> None:
    killed(_register_and_die, home)
    loop = LoopStore(open_store(options(), home), "nab")
    loop.reap()
    (version,) = loop.registry("tiny").versions()
    assert [m.model_id for m in models(loop)] == [version.model_id] and len(model_folders(loop)) == 1


def test_a_step_that_fails_leaves_no_model_behind(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with pytest.raises(ZeroDivisionError), loop.lock() as held, held.run("TRAIN") as step:
        logged(held, step)
        raise ZeroDivisionError
    assert models(loop) == [] and model_folders(loop) == []
    assert logged_models.discard(store, step.run_id) == 0


def test_an_output_is_named_once(store: Store) -> None:
    """A run that was killed after naming names the same again when it goes on."""
    loop = LoopStore(store, "nab")
    version = trained(loop)
    with loop.lock() as held:
        iteration = held.create_iteration(2, "a: 1\n", {})
    for _ in range(2):
        logged_models.name_as_outputs(store, iteration.run_id, {str(version.model_id): 2})
    named = store.client.get_run(iteration.run_id).outputs.model_outputs
    assert [(one.model_id, one.step) for one in named] == [(version.model_id, 2)]
