"""A store that somebody else wrote: nothing of it runs, nothing of it is resolved, no secret leaves."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tracking_rig import options as tracking_options
from verbs_kit import call

from tsad.config import Settings, thawed
from tsad.config.composing import plain
from tsad.config.destinations import kept_file, remember_destinations
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, ForeignPathError, ReviewError, TsadError, WeightsError
from tsad.core.series import Series
from tsad.files.locate import shipped
from tsad.loop.opening import open_loop
from tsad.review.label_studio.reviewer import LabelStudioReviewer
from tsad.tracking import assets
from tsad.tracking.artifacts import delete_artifacts, fetch_artifacts, fetch_folder, read_text
from tsad.tracking.pyfunc_model import CODE, load_folder
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store

CANARY = "hunter2-canary-9"
Make = Callable[..., Workbench]
Options = Callable[..., Settings]
RUN = "0123456789abcdef0123456789abcdef"
ZSCORE = {"_target_": "tsad.detectors.robust_zscore.RobustZScore", "half": 6.0, "window": 0}
THRESHOLD = {
    "rule": "fixed", "default": 0.5, "quantile": 0.99, "shrinkage": 10.0, "merge_gap": 3, "min_length": 1,
    "max_length": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_STUDIO_API_KEY", "PLANT_SECRET", "IOTDB_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("TSAD_SQL_URL", f"postgresql://u:{CANARY}@db.plant.example/x")


# --- frozen configs -------------------------------------------------------------------------------------------

TEXTS = (
    "${oc.env:PLANT_SECRET}", "x${oc.env:PLANT_SECRET}y", "${oc.decode:${oc.env:PLANT_SECRET}}",
    r"\\${oc.env:PLANT_SECRET}",
    "${oc.create:{a: 1}}", "${loop.name}", "${hydra:runtime.cwd}", "${oc.env:PLANT_SECRET,${oc.env:HOME}}", "a${",
)  # fmt: skip


def planted(frozen: str, **values: Any) -> str:
    """A frozen config with other values at some full keys, ``__`` for the dot."""
    config = yaml.safe_load(frozen)
    for name, value in values.items():
        group, key = name.split("__")
        config[group][key] = value
    return yaml.safe_dump(config)


def refused(now: Settings, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        thawed(yaml.safe_dump(config), now.groups, now.config_yaml)
    assert CANARY not in str(caught.value)


def test_no_text_of_a_frozen_config_is_resolved_wherever_it_stands(options: Options) -> None:
    now = options("source=csv", "source.root=/data", "review=label_studio")
    for text in TEXTS:
        refused(now, yaml.safe_load(planted(now.config_yaml, source__root=text)))
    for group, values in yaml.safe_load(now.config_yaml).items():
        last = list(values)[-1]
        for value in (TEXTS[0], [TEXTS[0]], {"a": TEXTS[0]}):
            refused(now, yaml.safe_load(planted(now.config_yaml, **{f"{group}__{last}": value})))


@pytest.mark.parametrize(
    ("words", "values", "key"),
    [
        (["review=label_studio"], {"url": "https://evil.example"}, "review.url"),
        (["review=label_studio"], {"url": "http://127.0.0.1@evil.example/"}, "review.url"),
        (["review=label_studio"], {"url": "http://evil.example\\@127.0.0.1/"}, "review.url"),
        (["review=label_studio"], {"url": "http://127.0.0.1:8080", "token_env": "PLANT_SECRET"}, "review.token_env"),
        (["source=iotdb"], {"nodes": ["evil.example:6667"]}, "source.nodes"),
        (["source=iotdb"], {"nodes": ["127.0.0.1:6667", "evil.example:6667"]}, "source.nodes"),
        (["source=iotdb"], {"password_env": "PLANT_SECRET"}, "source.password_env"),
        (["source=iotdb"], {"user_env": "PLANT_SECRET"}, "source.user_env"),
        (["source=sql", "source.table=t"], {"url": "postgresql://evil.example/x"}, "source.url"),
        (["source=sql", "source.table=t"], {"url": "postgresql://127.0.0.1/x?host=evil.example"}, "source.url"),
        (["source=sql", "source.table=t"], {"url": "postgresql:///x?host=evil.example"}, "source.url"),
        (["source=sql", "source.table=t"], {"url_env": "PLANT_SECRET"}, "source.url_env"),
    ],
)
def test_no_secret_goes_where_only_a_store_says(
    options: Options, words: list[str], values: dict[str, Any], key: str
) -> None:
    group, there = key.partition(".")[0], options(*words)
    frozen = planted(there.config_yaml, **{f"{group}__{name}": value for name, value in values.items()})
    for now in (there, options("source=synthetic", "review=simulated")):
        with pytest.raises(ConfigError, match=rf"{key}=.*nothing of yours says") as caught:
            thawed(frozen, now.groups, now.config_yaml)
        assert CANARY not in str(caught.value)


def test_what_this_user_has_begun_with_goes_on_bare_and_only_that(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["review=label_studio", "review.url=https://label.plant.example", "review.token_env=PLANT_TOKEN"]
    there, bare = options(*typed), options("review=label_studio")
    with pytest.raises(ConfigError, match="nothing of yours says"):
        thawed(there.config_yaml, bare.groups, bare.config_yaml)
    remember_destinations(there.config_yaml)
    remember_destinations(there.config_yaml)
    assert thawed(there.config_yaml, bare.groups, bare.config_yaml).review.url == "https://label.plant.example"
    kept = kept_file()
    assert len(kept.read_text().split()) == len(set(kept.read_text().split())) and "plant" not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0 and kept.parent.stat().st_mode & 0o077 == 0
    for key, value in (("url", "https://evil.example"), ("token_env", "PLANT_SECRET")):
        with pytest.raises(ConfigError, match=rf"review.{key}=.*nothing of yours says"):
            thawed(planted(there.config_yaml, **{f"review__{key}": value}), bare.groups, bare.config_yaml)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")  # where nothing can be kept it has to be typed again
    remember_destinations(there.config_yaml)
    with pytest.raises(ConfigError, match="nothing of yours says"):
        thawed(there.config_yaml, bare.groups, bare.config_yaml)


def test_a_loop_that_was_begun_with_a_typed_server_goes_on_bare(
    home: Path, stocked: None, bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(self: LabelStudioReviewer, *_: Any, **__: Any) -> None:
        asked.append(self.client.url)
        raise ReviewError("nobody answers")

    monkeypatch.setattr(LabelStudioReviewer, "push", refuse)
    words = (
        "source=synthetic", "source.series=4", "source.points=600", "detector=robust_zscore", "windows.length=128",
        "windows.context=128", "loop.name=far", "review=label_studio", "review.url=https://label.plant.example",
        "review.token_env=LABEL_STUDIO_API_KEY",
    )  # fmt: skip
    for one in (bench(*words), bench("loop.name=far")):
        with pytest.raises(TsadError, match="nobody answers"):
            call("iterate", one)
    assert asked == ["https://label.plant.example"] * 2


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["review=label_studio"], "review.url=https://label.plant.example"),
        (["review=label_studio"], "review.url=http://127.0.0.1:8080"),
        (["source=iotdb"], "source.nodes=[plant.example:6667]"),
        (["source=sql", "source.table=t"], "source.url=sqlite:////data/plant.db"),
        (["source=sql", "source.table=t"], "source.url=postgresql://localhost/plant"),
    ],
)
def test_what_the_user_types_again_or_what_stays_here_goes_on(options: Options, words: list[str], typed: str) -> None:
    there = options(*words, typed)
    again = thawed(there.config_yaml, there.groups, there.config_yaml)
    key, value = typed.split("=", 1)[0].split("."), there.groups
    assert plain(again)[key[0]][key[1]] == value[key[0]][key[1]]
    bare = options("source=synthetic")
    if "plant.example" not in typed:
        assert plain(thawed(there.config_yaml, bare.groups, bare.config_yaml))[key[0]][key[1]] == value[key[0]][key[1]]


def test_a_yaml_of_the_user_is_a_word_of_the_user(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = options("review=label_studio", "review.url=https://label.plant.example")
    (tmp_path / "conf" / "review").mkdir(parents=True)
    own = (shipped("conf") / "review" / "label_studio.yaml").read_text("utf-8")
    (tmp_path / "conf" / "review" / "plant.yaml").write_text(own.replace('url: ""', "url: https://label.plant.example"))
    monkeypatch.chdir(tmp_path)
    bare = options("source=synthetic")
    assert plain(thawed(there.config_yaml, bare.groups, bare.config_yaml))["review"]["url"] == there.review.url  # type: ignore[attr-defined]


def test_the_tracking_address_is_that_of_the_store_that_was_opened(options: Options) -> None:
    now = options("source=synthetic")
    for uri in ("https://evil.example/mlflow", "postgresql://evil.example/x", "file:///etc"):
        again = thawed(planted(now.config_yaml, tracking__uri=uri), now.groups, now.config_yaml)
        assert plain(again)["tracking"]["uri"] == ""


def everything_in(place: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("loop", "name", "${oc.env:PLANT_SECRET}"), ("source", "anomalies", "${oc.env:PLANT_SECRET}"),
        ("review", "url", "http://evil.example"), ("detector", "_target_", "os.system"),
        ("source", "_target_", "subprocess.Popen"), ("sampling", "_target_", "tsad.cli.main"),
    ],
)  # fmt: skip
def test_verbs_over_a_planted_iteration_run_and_leak_nothing(
    home: Path, stocked: None, bench: Make, capsys: pytest.CaptureFixture[str], group: str, key: str, value: str
) -> None:
    asked = bench("source=synthetic", "loop.name=plant", "review=label_studio")
    with open_loop(asked).lock() as held:
        held.create_iteration(1, planted(asked.config_yaml, **{f"{group}__{key}": value}), {})
    bare = bench("loop.name=plant")
    call("status", bare)
    with pytest.raises(TsadError) as caught:
        call("iterate", bare)
    shown = capsys.readouterr()
    assert CANARY not in shown.out + shown.err + str(caught.value)
    assert CANARY.encode() not in everything_in(home)


# --- models ---------------------------------------------------------------------------------------------------


def model(folder: Path, trap: Path, **described: Any) -> Path:
    """A model folder with a trap in every file that could be run or unpickled."""
    springing = f"from pathlib import Path\nPath({str(trap)!r}).touch()\n"
    adapter = folder / "artifacts" / "adapter"
    adapter.mkdir(parents=True)
    shutil.copy(CODE, folder / CODE.name)
    (folder / CODE.name).write_text(springing)
    (folder / "code").mkdir()
    for name in ("tsad.py", "sitecustomize.py", "pandas.py"):
        (folder / "code" / name).write_text(springing)
    (folder / "python_model.pkl").write_bytes(f"cos\nsystem\n(S'touch {trap}'\ntR.".encode())
    shutil.copy(folder / "python_model.pkl", adapter / "adapter_model.bin")
    (folder / "MLmodel").write_text(
        "flavors: {python_function: {loader_module: tsad_trap, code: code, model_code_path: pyfunc_entry.py,\n"
        "  python_model: python_model.pkl}}\nartifact_path: "
        f"!!python/object/apply:os.system ['touch {trap}']\n"
    )
    content = {
        "detector": ZSCORE, "base": {}, "threshold": 0.5, "threshold_options": THRESHOLD, "origin": {},
        "proposer": None, "adapter_sha256": None, **described,
    }  # fmt: skip
    path = folder / "artifacts" / "detector.json"
    path.write_text(json.dumps(content))
    return path


def test_a_model_is_built_without_running_any_of_its_files(tmp_path: Path) -> None:
    import numpy as np

    trap = tmp_path / "sprung"
    path = model(tmp_path / "model", trap)
    loaded = load_folder(path, path.parent / "adapter")
    (scores,) = loaded.score([Series("a", np.arange(50) * 10**9, np.zeros((50, 1)))])
    assert len(scores) == 50 and not trap.exists()


@pytest.mark.parametrize(
    "described",
    [
        {"detector": {"_target_": "os.system", "command": "x"}}, {"detector": ["os.system"]}, {"detector": None},
        {"detector": {**ZSCORE, "half": {"_target_": "os.system"}}},
        {"detector": {"_target_": "tsad.detectors.patch.detector.PatchDetector", "weights": "http://evil.example/w"}},
        {"proposer": {"_target_": "os.system", "state": {}}}, {"proposer": "os.system"},
        {"proposer": {"_target_": "tsad.detectors.proposals.proposer.Proposer", "state": "os.system"}},
        {"threshold_options": {"_target_": "os.system", "command": "x"}}, {"threshold_options": "os.system"},
        {"threshold_options": {**THRESHOLD, "merge_gap": {"_target_": "os.system"}}},
        {"threshold": {"_target_": "os.system"}}, {"threshold": "${oc.env:PLANT_SECRET}"}, {"origin": "os.system"},
        {"memory_sha256": "0" * 64}, {"adapter_sha256": "0" * 64}, {"base": "http://evil.example/w"},
    ],
    ids=lambda described: str(described)[:60],
)  # fmt: skip
def test_a_planted_description_is_refused_by_name(tmp_path: Path, described: dict[str, Any]) -> None:
    trap = tmp_path / "sprung"
    path = model(tmp_path / "model", trap, **described)
    with pytest.raises(WeightsError):
        load_folder(path, path.parent / "adapter")
    assert not trap.exists()


def test_a_description_without_its_parts_is_refused_by_name(tmp_path: Path) -> None:
    path = model(tmp_path / "model", tmp_path / "sprung")
    whole = json.loads(path.read_text())
    for content in (*({k: v for k, v in whole.items() if k != key} for key in whole if key != "proposer"), [], 1, "x"):
        path.write_text(json.dumps(content))
        with pytest.raises(WeightsError):
            load_folder(path, None)


# --- addresses, of a server too -------------------------------------------------------------------------------


@dataclass
class FakeServer:
    """What a hostile tracking server answers, and whether anything was asked of it that it must not be asked."""

    address: str
    asked: list[str] = field(default_factory=list)

    def get_run(self, run_id: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=self.address, run_id=run_id))

    def download_artifacts(self, run_id: str, path: str, folder: str) -> str:
        self.asked.append(path)
        return str(Path(folder) / "x")

    list_artifacts = download_artifacts


def server(home: Path, address: str) -> Store:
    uri = "http://127.0.0.1:9"
    return Store(home, uri, None, FakeServer(address), tracking_options(uri))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "form",
    [
        "{outside}", "file://{outside}", "file://elsewhere{outside}", "file://{outside}?x", "file:outside", "outside",
        "file://{outside}/{run}/../",
    ],
)
def test_files_of_this_machine_that_a_server_names_are_left_alone(tmp_path: Path, form: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text(CANARY)
    store = server(tmp_path / "home", form.format(outside=outside, run=RUN))
    address = store.client.get_run(RUN).info.artifact_uri
    for attack in (
        lambda: read_text(store, RUN, "key"), lambda: fetch_artifacts(store, RUN, "key", tmp_path / "into"),
        lambda: fetch_folder(store, RUN, address, tmp_path / "into"), lambda: delete_artifacts(store, RUN, address),
    ):  # fmt: skip
        with pytest.raises(ForeignPathError):
            attack()
    assert (outside / "key").read_text() == CANARY and not store.client.asked


@pytest.mark.parametrize("path", ["..", "model/..", "a/../../b", "/etc/passwd", "..\\x", "a\\..\\.."])
def test_no_path_of_an_artifact_leads_up(tmp_path: Path, path: str) -> None:
    (tmp_path / "into" / "keep").mkdir(parents=True)
    store = server(tmp_path / "home", "mlflow-artifacts:/1/x/artifacts")
    with pytest.raises(ForeignPathError):
        fetch_artifacts(store, RUN, path, tmp_path / "into" / "keep")
    assert (tmp_path / "into" / "keep").is_dir() and not store.client.asked


@pytest.mark.parametrize("run_id", ["../../x", "..", "/etc", "", "a" * 31])
def test_a_run_s_id_is_no_path(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ForeignPathError):
        read_text(server(tmp_path, "mlflow-artifacts:/1/x/artifacts"), run_id, "config.yaml")


@pytest.mark.parametrize("name", ["..", "../../.ssh", "/etc", "a/b", ""])
def test_an_upload_s_name_is_no_path(tmp_path: Path, name: str) -> None:
    loop = SimpleNamespace(store=server(tmp_path, "mlflow-artifacts:/1/x"), home=tmp_path)
    record = assets.AssetRecord(RUN, assets.UPLOAD, name, {}, 0, "mlflow-artifacts:/1/x")
    with pytest.raises(ForeignPathError):
        assets.place_of(loop, record)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["{outside}", "file://{outside}", "s3://evil/x", "ftp://evil.example/x", "http://evil"])
def test_nothing_is_written_where_a_planted_experiment_says(
    home: Path, stocked: None, bench: Make, tmp_path: Path, form: str
) -> None:
    loop = open_loop(bench("loop.name=plant"))
    assert isinstance(loop, LoopStore) and loop.experiment_id
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        told = (form.format(outside=tmp_path / "out"),)
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'plant'", told)
    with open_loop(bench("loop.name=plant")).lock() as held, pytest.raises(ForeignPathError):
        held.create_iteration(1, "a: 1", {})
    assert not (tmp_path / "out").exists()
