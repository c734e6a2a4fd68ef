"""The registry: one version per run, aliases that move as one, files that go and files that stay."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tracking_rig import TinyDetector, home, options, store

from tsad import __version__
from tsad.core.bases import DetectorBase
from tsad.core.building import build
from tsad.core.errors import RegistryError, SeriesError, TrackingError, WeightsError
from tsad.core.options import ThresholdOptions
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.tracking.frames import series_of
from tsad.tracking.pyfunc_model import Described, load_version, log_model
from tsad.tracking.registry import Registry, Version
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store

THRESHOLD = {
    "rule": "fixed", "default": 0.5, "quantile": 0.99, "shrinkage": 10.0, "merge_gap": 3, "min_length": 1,
    "max_length": 0,
}  # fmt: skip
KEPT = ThresholdOptions(default=0.5, merge_gap=3, min_length=1, max_length=0)  # what scoring needs of them
SERIES = Series("a", np.arange(4) * NS_PER_SECOND, np.array([[0.1], [0.9], [np.nan], [0.4]]))


@pytest.fixture
def loop(store: Store) -> Iterator[LoopStore]:
    loop = LoopStore(store, "nab 一号")
    with loop.lock() as loop:
        yield loop


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    path.write_bytes(b"the base")
    return path


def _train(loop: LoopStore, weights: Path, bias: float | None = None) -> dict[str, Any]:
    """A run that logged a model; what ``register`` takes."""
    detector = TinyDetector(weights=str(weights), gain=0.5)
    adapter = None
    if bias is not None:
        adapter = weights.parent / "adapter of training"
        adapter.mkdir(exist_ok=True)
        (adapter / "bias.txt").write_text(str(bias))
    with loop.run("TRAIN") as step:
        described = Described(
            detector=detector.describe(), threshold=0.4, threshold_options=THRESHOLD, base=detector.base_reference(),
            origin={"detector": "tiny", "dataset_version": "d" * 16 if adapter else None, "config_hash": "c0ffee"},
        )  # fmt: skip
        uri = log_model(step, described, adapter, loop.home / "work" / "model")
    assert not (loop.home / "work" / "model").exists()
    return {"run_id": step.run_id, "model_uri": uri, "tags": {"tsad.role": "adapted", "tsad.threshold": 0.4}}


def _stub(loop: LoopStore, count: int) -> list[Version]:
    """Registered versions of runs with a model folder of one file: enough for aliases and pruning."""
    made, registry = [], loop.registry("tiny")
    for k in range(count):
        with loop.run("TRAIN") as step:
            step.json({"k": k}, "model/MLmodel")
        made.append(registry.register(run_id=step.run_id, model_uri=f"runs:/{step.run_id}/model", tags={}))
    return made


def _aliases(registry: Registry) -> dict[str, int]:
    return {name: version.version for version in registry.versions() for name in version.aliases}


# ---- versions and aliases


def test_a_run_is_registered_once(loop: LoopStore) -> None:
    registry = loop.registry("tiny")
    (first,) = _stub(loop, 1)
    again = registry.register(run_id=first.run_id, model_uri=f"runs:/{first.run_id}/model", tags={"x": "other"})
    assert again.version == first.version == 1 and len(registry.versions()) == 1
    assert first.label == "tsad-nab 一号-tiny:1"
    with pytest.raises(RegistryError, match="not a model of run"):
        registry.register(run_id="0" * 32, model_uri=f"runs:/{first.run_id}/model", tags={})


def test_runs_registered_at_once_get_versions_of_their_own(loop: LoopStore) -> None:
    registry = loop.registry("tiny")
    runs = []
    for _ in range(4):
        with loop.run("TRAIN") as step:
            runs.append(step.run_id)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda r: registry.register(run_id=r, model_uri=f"runs:/{r}/model", tags={}), runs))
    assert sorted(v.version for v in made) == [1, 2, 3, 4]


def test_names_are_resolved(loop: LoopStore) -> None:
    registry = loop.registry("tiny")
    first, second = _stub(loop, 2)
    registry.set_alias("challenger", second)
    assert registry.resolve("challenger") == registry.resolve("2") == registry.get(2)
    assert registry.resolve("2").aliases == ("challenger",)  # type: ignore[union-attr]
    assert registry.resolve("champion") is None
    with pytest.raises(RegistryError, match="has no version 7"):
        registry.resolve("7")
    registry.set_tags(first, {"tsad.keep": "for the audit"})
    assert registry.get(1).tags["tsad.keep"] == "for the audit"


def test_promoting_twice_is_promoting_once(loop: LoopStore) -> None:
    registry = loop.registry("tiny")
    first, second = _stub(loop, 2)
    with pytest.raises(RegistryError, match="no previous"):
        registry.rollback()
    registry.promote(first)
    assert _aliases(registry) == {"champion": 1}
    with pytest.raises(RegistryError, match="no previous"):
        registry.rollback()
    for _ in range(2):
        registry.promote(second)
        assert _aliases(registry) == {"champion": 2, "previous": 1}
    assert "tsad.promoted_at" in registry.get(2).tags
    assert registry.rollback().version == 1
    assert _aliases(registry) == {"champion": 1, "previous": 2}
    assert "tsad.rolled_back_at" in registry.get(2).tags


class _Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_a_move_killed_at_any_moment_is_finished_not_repeated(
    loop: LoopStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    registry = loop.registry("tiny")
    third = _stub(loop, 3)[-1]
    client = registry.store.client._client

    def dying(method: Any, left: list[int]) -> Any:
        def call(*args: Any) -> Any:
            if not left:
                raise _Killed
            left.pop()
            return method(*args)

        return call

    for calls in range(3):
        registry._move("promote", champion=2, previous=1)
        left = [0] * calls
        with monkeypatch.context() as patch:
            for name in ("set_registered_model_alias", "delete_registered_model_tag"):
                patch.setattr(client, name, dying(getattr(client, name), left))
            with pytest.raises(_Killed):
                registry.promote(third) if verb == "promote" else registry.rollback()
        if verb == "promote":
            registry.promote(third)
            assert _aliases(registry) == {"champion": 3, "previous": 2}
        else:
            assert registry.rollback().version == 1
            assert _aliases(registry) == {"champion": 1, "previous": 2}


def test_pruning_keeps_the_newest_the_aliased_and_the_tagged(loop: LoopStore, tmp_path: Path) -> None:
    registry = loop.registry("tiny")
    made = _stub(loop, 7)
    registry.promote(made[0])
    registry.promote(made[1])
    registry.set_alias("challenger", made[3])
    registry.set_tags(made[2], {"tsad.keep": "true"})
    assert [v.version for v in registry.prune(2)] == [5]
    assert registry.prune(2) == []
    assert [v.version for v in registry.versions() if v.pruned] == [5]
    assert [v.version for v in registry.prune(0)] == [6, 7]
    root = Path(registry.store.artifact_root.removeprefix("file://")) if registry.store.artifact_root else None
    assert root is not None
    left = {path.parent.parent.parent.name for path in root.rglob("MLmodel")}
    assert left == {v.run_id for v in made[:4]}
    assert (registry.fetch(registry.get(1), tmp_path / "out") / "MLmodel").exists()
    with pytest.raises(RegistryError, match=r"tiny:5 were pruned"):
        registry.fetch(registry.get(5), tmp_path / "out")
    with pytest.raises(RegistryError, match="pruned"):
        registry.promote(registry.get(5))


# ---- models


def test_a_registered_version_scores_as_it_did(loop: LoopStore, weights: Path) -> None:
    registry = loop.registry("tiny")
    base = registry.register(**_train(loop, weights))
    adapted = registry.register(**_train(loop, weights, bias=0.25))
    loaded = load_version(registry, adapted)
    expected = TinyDetector(weights=str(weights), gain=0.5).with_adapter(weights.parent / "adapter of training")
    np.testing.assert_array_equal(loaded.score([SERIES])[0], expected.score([SERIES])[0])
    assert loaded.threshold == 0.4 and loaded.threshold_options == KEPT
    assert loaded.origin.model_version == "tsad-nab 一号-tiny:2" and loaded.origin.dataset_version == "d" * 16
    assert loaded.adapter is not None and (loaded.adapter / "bias.txt").exists()
    plain = load_version(registry, base)
    assert plain.adapter is None and plain.detector.bias == 0.0 and plain.origin.dataset_version is None


def test_no_pickle_and_no_copy_of_the_base(loop: LoopStore, weights: Path, tmp_path: Path) -> None:
    registry = loop.registry("tiny")
    version = registry.register(**_train(loop, weights, bias=0.25))
    files = {p.name for p in registry.fetch(version, tmp_path / "out").rglob("*") if p.is_file()}
    assert {"MLmodel", "detector.json", "bias.txt", "pyfunc_entry.py"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".bin", ".safetensors"))]


def test_a_model_names_no_package_of_an_index_as_ours(loop: LoopStore, weights: Path, tmp_path: Path) -> None:
    registry = loop.registry("tiny")
    model = registry.fetch(registry.register(**_train(loop, weights)), tmp_path / "out")
    assert [line.partition("==")[0] for line in (model / "requirements.txt").read_text().split()] == ["mlflow"]
    assert "tsad==" not in "".join(p.read_text(encoding="utf-8") for p in model.glob("*.y*ml"))
    assert yaml.safe_load((model / "MLmodel").read_text(encoding="utf-8"))["metadata"]["tsad.version"] == __version__


def test_another_base_is_refused_by_name(loop: LoopStore, weights: Path) -> None:
    registry = loop.registry("tiny")
    version = registry.register(**_train(loop, weights))
    weights.write_bytes(b"another base")
    with pytest.raises(WeightsError, match=r"base\.safetensors \(tiny/base\).*Put back"):
        load_version(registry, version)


def test_a_damaged_adapter_is_refused(loop: LoopStore, weights: Path) -> None:
    registry = loop.registry("tiny")
    version = registry.register(**_train(loop, weights, bias=0.25))
    assert registry.store.artifact_root is not None
    (kept,) = (registry.store.home / "artifacts").rglob("bias.txt")
    kept.write_text("0.26")
    with pytest.raises(WeightsError, match="rollback"):
        load_version(registry, version)


def test_options_of_another_tsad_version_are_named() -> None:
    old = {"_target_": "tsad.detectors.patch.detector.PatchDetector", "weights": "", "scales": [1, 4, 16]}
    with pytest.raises(WeightsError, match="does not take the options"):
        build(old, DetectorBase)  # type: ignore[type-abstract]


def test_a_detector_this_installation_lacks_is_named() -> None:
    with pytest.raises(WeightsError, match=r"no tsad\.detectors\.gone\.Gone"):
        build({"_target_": "tsad.detectors.gone.Gone"}, DetectorBase)  # type: ignore[type-abstract]


FRESH = """
import sys
sys.path.insert(0, {tests!r})
import tracking_rig  # no artifact may import a user's own class, so its user does
import mlflow, pandas as pd
mlflow.set_tracking_uri({uri!r})
model = mlflow.pyfunc.load_model("models:/tsad-nab 一号-tiny@champion")
times = pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-01"])
frame = pd.DataFrame({{"point_id": ["a", "b", "a"], "timestamp": times, "value": [0.1, 0.8, 0.9]}}, index=[5, 6, 7])
print(model.predict(frame).to_json())
"""


def test_pyfunc_loads_the_champion_in_a_fresh_process(loop: LoopStore, weights: Path) -> None:
    registry = loop.registry("tiny")
    registry.promote(registry.register(**_train(loop, weights, bias=0.25)))
    here = Path(__file__).parent
    code = FRESH.format(tests=str(here), uri=registry.store.tracking_uri)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", cwd=here.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    found = pd.read_json(io.StringIO(done.stdout))
    assert found["score"].round(6).tolist() == [0.3, 0.65, 0.7] and found.index.tolist() == [5, 6, 7]
    assert found["anomaly"].tolist() == [False, True, True] and found["point_id"].tolist() == ["a", "b", "a"]


# ---- frames


def test_a_frame_becomes_series_of_its_points() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": ["2024-01-01T00:00:02Z", "2024-01-01T08:00:01+08:00", "2024-01-01T00:00:00Z"],
            "point_id": ["a", "a", "b"], "flow": [2.0, np.inf, np.nan], "level": [np.nan, np.nan, 7.0],
        }
    )
    (first, rows), (second, _) = series_of(frame)
    assert first.point_id == "a" and rows.tolist() == [1, 0] and first.channels == ("flow",)
    assert np.diff(first.timestamps).tolist() == [NS_PER_SECOND]
    assert np.isnan(first.values[0, 0]) and first.values[1, 0] == 2.0
    assert second.channels == ("level",) and second.time_kind == "time"
    ((index, _),) = series_of(pd.DataFrame({"timestamp": [3, 4], "value": [1, 2]}))
    assert index.time_kind == "index" and index.timestamps.tolist() == [3 * NS_PER_SECOND, 4 * NS_PER_SECOND]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"time": [1], "value": [1.0]}, "no column timestamp"),
        ({"timestamp": [1]}, "not all numeric"),
        ({"timestamp": [1], "value": ["high"]}, "not all numeric"),
        ({"timestamp": [1, 1], "value": [1.0, 2.0]}, "two rows of its point"),
        ({"timestamp": [pd.NaT], "value": [1.0]}, "row 0 has no timestamp"),
    ],
)
def test_a_frame_that_is_no_series_is_refused(columns: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(SeriesError, match=said):
        series_of(pd.DataFrame(columns))


def test_a_detector_of_the_house_scores_a_frame_as_it_scores_series(loop: LoopStore) -> None:
    from tsad.detectors.robust_zscore import RobustZScore
    from tsad.tracking.frames import predict_frame

    detector = RobustZScore(half=6.0, window=0)
    with loop.run("TRAIN") as step:
        described = Described(
            detector=detector.describe(), threshold=0.5, threshold_options=THRESHOLD, base=detector.base_reference(),
            origin={"detector": "z"},
        )  # fmt: skip
        uri = log_model(step, described, None, loop.home / "work" / "model")
    registry = loop.registry(detector.name)
    loaded = load_version(registry, registry.register(run_id=step.run_id, model_uri=uri, tags={}))
    values = np.random.default_rng(0).normal(size=50)
    values[20] = 40.0
    stamps = pd.date_range("2024-01-01", periods=50, freq="min")
    found = predict_frame(loaded, pd.DataFrame({"timestamp": stamps, "value": values}))
    series = Series("", stamps.as_unit("ns").asi8.astype(np.int64), values[:, None])
    np.testing.assert_array_equal(found["score"], detector.score([series])[0])
    assert found.index[found["anomaly"]].tolist() == [20]
