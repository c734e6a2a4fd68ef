"""Dataset versions: kept once, found by hash, fetched back whole, named by the runs that read them."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

from pathlib import Path

import pytest
from tracking_rig import die, home, killed, options, store

from tsad.core.errors import ClaimError, DatasetError
from tsad.core.reviews import Purpose
from tsad.tracking import assets, dataset_runs
from tsad.tracking.dataset_records import NewDataset
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store, open_store

VERSION = "0123456789abcdef"


def _files(folder: Path) -> Path:
    (folder / "values").mkdir(parents=True)
    (folder / "values" / "a.parquet").write_bytes(b"values")
    (folder / "windows.json").write_text("[]")
    return folder


def _put(loop: LoopStore, folder: Path, purpose: str = "train") -> str:
    iteration = loop.create_iteration(1, "a: 1\n", {})
    dataset = NewDataset(
        digest=VERSION, purpose=purpose, name="nab-train", source="csv:/data/nab", source_digest="beef",
        channels=("flow", "pressure"), windows=12,
    )  # fmt: skip
    return loop.put_dataset(dataset, folder, iteration)


def test_a_version_is_kept_once(store: Store, tmp_path: Path) -> None:
    loop, folder = LoopStore(store, "nab"), _files(tmp_path / "dataset")
    with pytest.raises(ClaimError, match="without the lock"):
        loop.put_dataset(NewDataset(digest=VERSION, purpose="train", name="x"), folder)
    with loop.lock() as loop:
        run_id = _put(loop, folder, Purpose.TRAIN)
        assert _put(loop, folder) == run_id
        with pytest.raises(DatasetError, match="kept as train and cannot also be gold"):
            _put(loop, folder, "gold")
    (record,) = loop.datasets()
    assert record == loop.find_dataset(VERSION)
    assert (record.digest, record.purpose, record.windows, record.iteration) == (VERSION, "train", 12, 1)
    assert (record.source, record.source_digest, record.channels) == ("csv:/data/nab", "beef", ("flow", "pressure"))
    got = loop.fetch_dataset(VERSION, tmp_path / "out")
    assert (got / "values" / "a.parquet").read_bytes() == b"values"
    with pytest.raises(DatasetError, match="no dataset version ffff"):
        loop.fetch_dataset("ffff", tmp_path / "out")


def test_the_ui_sees_digest_schema_source_and_context(store: Store, tmp_path: Path) -> None:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop:
        own = _put(loop, _files(tmp_path / "dataset"))
        record = loop.find_dataset(VERSION)
        assert record is not None
        with loop.run("TRAIN") as step:
            step.log_dataset(record, "training")
            step.log_dataset(record, "training")
    for run_id, context in ((own, "train"), (step.run_id, "training")):
        (seen,) = store.client.get_run(run_id).inputs.dataset_inputs
        assert seen.dataset.digest == VERSION and '"flow"' in seen.dataset.schema
        assert "csv:/data/nab" in seen.dataset.source and record.uri in seen.dataset.source
        assert [tag.value for tag in seen.tags] == [context]


def _put_and_die(home: Path, folder: Path, moment: str) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    if moment == "before the files":
        loop.store.client._client.log_artifacts = lambda *_: die()
    else:
        dataset_runs.log_dataset = lambda *_: die()  # type: ignore[assignment]
    with loop.lock() as loop:
        _put(loop, folder)


@pytest.mark.parametrize("moment", ["before the files", "after the files"])
def test_a_version_killed_while_kept_is_kept_once(home: Path, tmp_path: Path, moment: str) -> None:
    folder = _files(tmp_path / "dataset")
    killed(_put_and_die, home, folder, moment)
    loop = LoopStore(open_store(options(), home), "nab")
    assert loop.datasets() == [] and loop.find_dataset(VERSION) is None
    with loop.lock() as loop:
        run_id = _put(loop, folder)
    assert [record.run_id for record in loop.datasets()] == [run_id]
    kept = loop.search("tags.`tsad.kind` = 'dataset'")
    assert sorted(run.info.status for run in kept) == ["FINISHED", "KILLED"]


def test_an_asset_is_kept_once_and_deleted_whole(store: Store, tmp_path: Path) -> None:
    loop, folder = LoopStore(store, "nab"), _files(tmp_path / "upload")
    kept = assets.keep(loop, assets.UPLOAD, "ab12", {"points": 3}, folder, [{"point_id": "温度"}])  # needs no lock
    assert assets.keep(loop, assets.UPLOAD, "ab12", {"points": 4}, folder).run_id == kept.run_id
    assert assets.assets(loop, assets.UPLOAD) == [kept] and assets.assets(loop, assets.EXPORT) == []
    assert kept.about == {"points": 3} and assets.rows_of(loop, kept) == [{"point_id": "温度"}]
    place = assets.files_of(loop, kept)
    assert (place / "values" / "a.parquet").read_bytes() == b"values"
    assert assets.size_of(loop, kept.run_id, assets.FILES) == len(b"values") + len("[]")
    assets.erase(loop, kept.run_id)
    assert assets.assets(loop, assets.UPLOAD) == [] and not place.exists()


def test_a_deleted_version_is_not_found_and_may_be_kept_again(store: Store, tmp_path: Path) -> None:
    loop, folder = LoopStore(store, "nab"), _files(tmp_path / "dataset")
    with loop.lock() as loop:
        first = _put(loop, folder)
        assets.erase(loop, first)
        assert loop.datasets() == [] and loop.find_dataset(VERSION) is None
        again = _put(loop, folder)
    assert again != first and [record.run_id for record in loop.datasets()] == [again]


def test_versions_of_a_loop_are_its_own(store: Store) -> None:
    """A loop whose name begins like another's, and one with a wildcard of SQL in it."""
    for name in ("a_b", "a_b-2", "axb"):
        loop = LoopStore(store, name)
        with loop.lock() as loop, loop.run("TRAIN") as step:
            step.json({}, "model/MLmodel")
        loop.registry("tiny").register(run_id=step.run_id, model_uri=f"runs:/{step.run_id}/model", tags={})
    assert [v.name for v in assets.model_versions(LoopStore(store, "a_b-2"))] == ["tsad-a_b-2-tiny"]
    assert "tsad-axb-tiny" not in [v.name for v in assets.model_versions(LoopStore(store, "a_b"))]


def _keep_and_die(home: Path, folder: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    loop.store.client._client.log_artifacts = lambda *_: die()
    assets.keep(loop, assets.UPLOAD, "ab12", {}, folder)


def test_a_half_kept_asset_never_counts(home: Path, tmp_path: Path) -> None:
    folder = _files(tmp_path / "upload")
    killed(_keep_and_die, home, folder)
    loop = LoopStore(open_store(options(), home), "nab")
    assert assets.assets(loop, assets.UPLOAD) == []
    assert assets.keep(loop, assets.UPLOAD, "ab12", {}, folder) in assets.assets(loop, assets.UPLOAD)
    with loop.lock() as loop:  # the next holder of the lock closes what was left
        assert not loop.search("attributes.status = 'RUNNING'")
