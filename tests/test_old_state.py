"""Old state goes on: a store of the commit before issue 10, in another folder, with today's code.

``old_state/store.tar.xz`` and ``expected.json`` were written by that commit (``old_state/make.py`` says how).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import ForeignPathError
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.common import load_series
from tsad.loop.datasets import fetch
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.runner import result_of
from tsad.tracking import assets
from tsad.tracking.addresses import adopt, folder_of, local_path
from tsad.tracking.artifacts import delete_artifacts, fetch_artifacts, list_artifacts, read_text
from tsad.tracking.claims import claims_of

HERE = Path(__file__).parent / "old_state"
EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
RENAMED = {"reviews.rejected": "reviews.skipped"}  # figures that the commit before called otherwise
EVERY = 25  # points between the scores that were written down
# Scores are compared to the sixth decimal, the last digit that is ever written into a tag or a table: another
# processor's matrix product may differ beyond.
CLOSE = {"rtol": 0.0, "atol": 5e-7}
Make = Callable[..., Workbench]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("old")
    with tarfile.open(HERE / "store.tar.xz") as pack:
        pack.extractall(place, filter="data")
    return place / "store"


@pytest.fixture
def home(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The old store in a folder of another name; the one it was made in is long gone."""
    assert not Path(EXPECTED["home"]).exists()
    place = tmp_path / "moved 装置 100%"
    shutil.copytree(unpacked, place)
    monkeypatch.setenv("TSAD_HOME", str(place))
    return place


def addresses(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return [
            row[0]
            for query in (
                "SELECT artifact_location FROM experiments WHERE experiment_id <> 0", "SELECT artifact_uri FROM runs",
                "SELECT source FROM model_versions", "SELECT storage_location FROM model_versions",
            )
            for row in connection.execute(query)
        ]  # fmt: skip


def test_the_versions_of_a_moved_store_score_as_they_did(home: Path, bench: Make) -> None:
    import mlflow

    one = bench("source=synthetic", "source.series=6", "source.points=1500", "loop.name=plant")
    loop, series = open_loop(one), load_series(one)[:1]
    assert all(Path(str(local_path(address))).is_relative_to(home) for address in addresses(home))
    versions = registry_of(one, loop).versions()
    assert [v.label for v in versions] == list(EXPECTED["versions"]) and versions[1].aliases[0] == "challenger"
    mlflow.set_tracking_uri(loop.store.tracking_uri)
    for version in versions:
        then = EXPECTED["versions"][version.label]
        loaded = load_registered(one, registry_of(one, loop), version)
        assert loaded.proposer is not None and loaded.threshold == then["threshold"]
        origin = loaded.origin
        assert [origin.detector, origin.dataset_version, origin.config_hash] == then["origin"]
        assert loaded.detector.config_hash == then["config_hash"]
        found = loaded.detections(series)
        for detection, scores, intervals in zip(found, then["scores"][:1], then["intervals"][:1], strict=True):
            np.testing.assert_allclose(detection.scores[::EVERY], scores, **CLOSE)
            assert [[i.start, i.end] for i in detection.intervals] == [i[:2] for i in intervals]
            np.testing.assert_allclose([i.score for i in detection.intervals], [i[2] for i in intervals], **CLOSE)
        # through the copied entry, as people do
        model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
        stamps = pd.to_datetime(series[0].timestamps, utc=True)
        answer = model.predict(pd.DataFrame({"timestamp": stamps, "value": series[0].values[:, 0]}))
        np.testing.assert_array_equal(answer["score"], found[0].scores)


def test_the_open_iteration_of_a_moved_store_goes_on(home: Path, bench: Make) -> None:
    from dataclasses import replace

    bare = replace(bench(), overrides=())
    iterate(bare)
    loop = open_loop(bench("loop.name=plant"))
    first, second = loop.iterations()
    assert EXPECTED["states"] == {"1": "COMPLETED", "2": "REVIEWING"}
    assert (first.state, second.state, second.status) == ("COMPLETED", "COMPLETED", "FINISHED")
    params = loop.store.client.get_run(second.run_id).data.params
    assert sorted(key for key in params if key.startswith("claim.")) == EXPECTED["claims"]
    assert [run.data.tags["tsad.step"] for run in second.steps()] == EXPECTED["stages"]
    assert all(len(claims_of(params, stage)) == 1 for stage in ("DETECT", "PUSH", "TRAIN"))
    figures = {f"gold.{name}": value for name, value in result_of(second, PROMOTE).scores.items()}
    figures |= {f"reviews.{name.lower()}": count for name, count in result_of(second, DATASET).states.items()}
    figures |= {"reviewed_windows": second.metrics["reviewed_windows"]}
    figures["promoted"] = float(result_of(second, PROMOTE).promoted)
    # what a challenger learns from the same reviews is this version's affair; what was registered scores as it did
    then = {RENAMED.get(k, k): v for k, v in EXPECTED["figures"].items() if not k.startswith("challenger.")}
    np.testing.assert_allclose([figures[k] for k in then], list(then.values()), **CLOSE)
    assert {r.digest: r.purpose for r in loop.datasets()} == EXPECTED["datasets_after"]
    for version in EXPECTED["datasets_after"]:
        assert fetch(loop, version).digest == version, "the digest is that of the content"
    assert not loop.search("attributes.status = 'RUNNING'")


# ---- addresses


def test_nothing_is_written_where_nothing_moved(home: Path, bench: Make) -> None:
    open_loop(bench())
    before = (home / "mlflow.db").read_bytes()
    assert adopt(home / "mlflow.db", home) == 0
    assert (home / "mlflow.db").read_bytes() == before


WINDOWS = r"C:\alt heim" + "\\"


@pytest.mark.parametrize(
    ("old", "written", "now"),
    [
        ("file:///alt%20heim", "file:///alt%20heim/artifacts/a%20b", "{uri}/artifacts/a%20b"),
        ("file:///alt%20heim", "/alt heim/artifacts/a b", "{plain}/artifacts/a b"),
        ("/alt heim", "/alt heim/artifacts/a%20b", "{plain}/artifacts/a%20b"),
        ("file:///C:/alt%20heim", "file:///C:/alt%20heim/artifacts/a", "{uri}/artifacts/a"),
        ("file:///C:/alt%20heim", f"{WINDOWS}artifacts", "{plain}\\artifacts"),
        ("file:///alt", "file:///alternative/artifacts", "file:///alternative/artifacts"),
        ("file:///alt", "s3://bucket/alt/", "s3://bucket/alt/"),
    ],
)
def test_addresses_of_every_form_move(home: Path, old: str, written: str, now: str) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        location = f"{old}/artifacts/{folder_of('plant')}"
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 1", (location,))
        connection.execute("UPDATE model_versions SET source = ?", (written,))
    adopt(home / "mlflow.db", home)
    now = now.format(uri=home.as_uri(), plain=home)
    assert now in addresses(home)
    assert local_path(addresses(home)[0]) == home / "artifacts" / folder_of("plant")
    assert adopt(home / "mlflow.db", home) == 0


def test_half_a_rewriting_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = addresses(home)
    from tsad.tracking import addresses as module

    monkeypatch.setattr(module, "_COLUMNS", (*module._COLUMNS, ("no_such_table", "source")))
    with pytest.raises(Exception, match="cannot be rewritten"):
        adopt(home / "mlflow.db", home)
    assert addresses(home) == before


def test_a_store_that_tracking_uri_names_is_left_alone(home: Path, bench: Make) -> None:
    before = addresses(home)
    open_loop(bench(f"tracking.uri=sqlite:///{home / 'mlflow.db'}"))
    assert addresses(home) == before


def files_below(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def test_deleting_in_a_copy_leaves_the_original_whole(home: Path, bench: Make, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    open_loop(bench())  # the original has its addresses right
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    before = files_below(home / "artifacts")
    monkeypatch.setenv("TSAD_HOME", str(copy))
    one = bench("loop.name=plant")
    loop, registry = open_loop(one), registry_of(one, open_loop(one))
    pruned = registry.prune(0)
    for record in loop.datasets():
        assets.erase(loop, record.run_id)
    assert not loop.datasets() and len(files_below(copy / "artifacts")) < len(before)
    assert files_below(home / "artifacts") == before
    assert [v.label for v in pruned] == [v.label for v in registry.versions() if v.pruned]


PLANTED = (
    "{outside}", "file://{outside}", "{root}/artifacts/../../outside", "{root}/artifacts/%2e%2e/%2e%2e/outside",
    "{home}", "{root}", "{root}/artifacts", "{root}/artifacts/{folder}", "../outside", "relative", "s3://bucket/{run}",
    "file://elsewhere{home}/artifacts/{folder}/{run}/artifacts",
    "{root}/artifacts/{folder}/{run}/artifacts?/../../../..",
)  # fmt: skip


def test_addresses_outside_the_store_are_refused(home: Path, bench: Make, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "model").mkdir(parents=True)
    (outside / "result.json").write_text("{}")
    loop = open_loop(bench("loop.name=plant"))
    registry, run_id = registry_of(bench("loop.name=plant"), loop), loop.datasets()[0].run_id
    before = files_below(tmp_path)
    loop.store.client.delete_registered_model_alias(registry.name, "previous")  # nothing protects version 1 any more
    for form in PLANTED:
        address = form.format(home=home, outside=outside, root=home.as_uri(), run=run_id, folder=folder_of("plant"))
        with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
            connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (address, run_id))
            connection.execute("UPDATE model_versions SET source = ?", (address,))
        for call in (
            partial(read_text, loop.store, run_id, "result.json"), partial(list_artifacts, loop.store, run_id),
            partial(fetch_artifacts, loop.store, run_id, "model", tmp_path / "out"),
            partial(assets.erase, loop, run_id),
            partial(delete_artifacts, loop.store, run_id, address), partial(registry.prune, 0),
        ):  # fmt: skip
            with pytest.raises(ForeignPathError, match="not in the store"):
                call()
    kept = files_below(tmp_path)
    assert kept.keys() == before.keys() and kept["outside/result.json"] == 2
    assert loop.store.client.get_run(run_id).info.lifecycle_stage == "active", "nothing was deleted, the run neither"


def test_a_path_that_climbs_out_of_its_run_is_refused(home: Path, bench: Make, tmp_path: Path) -> None:
    loop = open_loop(bench("loop.name=plant"))
    record = loop.datasets()[0]
    for path in ("../../../../mlflow.db", "/etc/passwd", "dataset/../../../other"):
        with pytest.raises(ForeignPathError):
            fetch_artifacts(loop.store, record.run_id, path, tmp_path / "out")
