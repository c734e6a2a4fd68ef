"""The store: created once, refused where it cannot be trusted, unreachable ones named in time."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import errno
import shutil
import socket
import sqlite3
import time
from pathlib import Path

import pytest
import requests
from tracking_rig import home, options, raced, store

from tsad.core.errors import ConfigError, LoopError, StorageError, TrackingError
from tsad.core.masking import mask_urls
from tsad.tracking.guard import Client, guarded
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store, open_store


def test_six_processes_open_a_fresh_store_together() -> None:
    folder, seen = raced()
    assert seen == [[]] * 6
    assert sorted(path.name for path in folder.iterdir()) == ["locks", "mlflow.db"]


def test_looking_creates_nothing(store: Store) -> None:
    loop = LoopStore(store, "nab")
    assert loop.iterations() == [] and loop.open_iteration() is None and loop.datasets() == []
    assert loop.registry("patch").versions() == [] and loop.registry("patch").alias("champion") is None
    assert loop.reap() == 0
    assert store.loops() == []
    assert not store.is_server


def _set_revision(home: Path, revision: str) -> None:
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_store_of_an_older_mlflow_is_refused_and_left_alone(home: Path) -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    older = list(scripts.walk_revisions())[3].revision
    _set_revision(home, older)
    with sqlite3.connect(home / "mlflow.db") as connection:  # mlflow migrates unasked where a table is missing
        connection.execute("DROP TABLE logged_model_tags")
    before = (home / "mlflow.db").read_bytes()
    with pytest.raises(TrackingError, match=r"older MLflow.*backup.*mlflow db upgrade \"sqlite:///"):
        open_store(options(), home)
    assert (home / "mlflow.db").read_bytes() == before


def test_a_store_of_a_newer_mlflow_is_refused(home: Path) -> None:
    _set_revision(home, "ffffffffffff")
    with pytest.raises(TrackingError, match=r"newer MLflow.*pip install"):
        open_store(options(), home)


def test_a_damaged_store_is_refused_at_once(home: Path) -> None:
    (home / "mlflow.db").write_bytes(b"this is no database, it only has the name of one\n" * 100)
    started = time.time()
    with pytest.raises(TrackingError, match=r"cannot be read.*not a database.*backup"):
        open_store(options(), home)
    assert time.time() - started < 5


def test_somebody_elses_database_is_refused(home: Path) -> None:
    other = home / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(TrackingError, match=r"not MLflow's.*customers"):
        open_store(options(uri=f"sqlite:///{other}"), home)


def test_a_half_created_store_is_created_anew(home: Path) -> None:
    (home / "mlflow.db").rename(home / "whole.db")
    (home / "mlflow.creating").write_bytes(b"half of it")  # what kill -9 leaves
    (home / "mlflow.db").write_bytes(b"")
    shutil.copy(home / "whole.db", home / "mlflow.db")
    assert open_store(options(), home).loops() == []


def test_a_relative_sqlite_uri_is_made_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    store = open_store(options(uri="sqlite:///mlflow.db"), home)
    assert store.uri == f"sqlite:///{home / 'mlflow.db'}"
    assert store.artifact_root == (home / "artifacts").as_uri()


def test_an_unreachable_server_is_named_in_time(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.time()
    with pytest.raises(TrackingError, match=rf"http://ann:\*\*\*@127.0.0.1:{port} cannot be reached.*tracking.uri"):
        open_store(options(uri=f"http://ann:secret@127.0.0.1:{port}"), tmp_path)
    assert time.time() - started < 5


def test_a_server_that_never_answers_is_named_in_time(tmp_path: Path) -> None:
    with socket.socket() as mute:  # takes connections, says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen(16)
        started = time.time()
        with pytest.raises(TrackingError, match="does not answer while search experiments"):
            open_store(options(uri=f"http://127.0.0.1:{mute.getsockname()[1]}", timeout_seconds=6), tmp_path)
        assert time.time() - started < 9


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "databricks", "http://host:port", "sqlite://", "mlruns"])
def test_an_impossible_uri_is_named(tmp_path: Path, uri: str) -> None:
    with pytest.raises(TrackingError, match=r"tracking.uri|TSAD_HOME"):
        open_store(options(uri=uri), tmp_path)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="TSAD_HOME"):
        open_store(options(), tmp_path / "file" / "store")


def test_a_loop_name_that_mlflow_cannot_hold_is_refused(store: Store) -> None:
    for name in ("", " x", "a/b", "a:b", "it's", 'a"b', "a\nb", "x" * 101):
        with pytest.raises(ConfigError, match=r"loop\.name"):
            LoopStore(store, name)


def test_a_deleted_experiment_is_named(store: Store) -> None:
    store.client.delete_experiment(LoopStore(store, "nab").experiment_id)
    with pytest.raises(LoopError, match="restore"):
        LoopStore(store, "nab").iterations()


def test_passwords_are_not_shown() -> None:
    assert mask_urls("postgresql://ann:geheim@db:5432/x") == "postgresql://ann:***@db:5432/x"
    assert mask_urls("http://host:5000/a@b") == "http://host:5000/a@b"


class _Broken:
    """An MlflowClient whose calls end as told, one after the other."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)

    def set_tag(self) -> object:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def test_an_outage_says_what_was_being_done() -> None:
    client = Client(_Broken(requests.ConnectionError("refused")), "http://host")  # type: ignore[arg-type]
    with pytest.raises(TrackingError, match=r"http://host does not answer while tagging a run.*nothing.*lost"):
        client.set_tag()


@pytest.mark.parametrize("code", [401, 403])
def test_refused_credentials_are_named(code: int) -> None:
    from mlflow.exceptions import MlflowException

    error = MlflowException(f"API request to endpoint /api/2.0/x failed with error code {code} != 200. Response: ''")
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_USERNAME"):
        Client(_Broken(error), "http://host").set_tag()  # type: ignore[arg-type]


def test_a_full_disk_is_a_storage_error() -> None:
    client = Client(_Broken(OSError(errno.ENOSPC, "No space left on device", "/x")), "u")  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="disk is full"):
        client.set_tag()


def test_a_locked_database_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    monkeypatch.setattr("tsad.tracking.guard.time.sleep", lambda _: None)
    busy = MlflowException("(sqlite3.OperationalError) database is locked")
    assert Client(_Broken(busy, busy, "done"), "u").set_tag() == "done"  # type: ignore[arg-type]
    with pytest.raises(TrackingError, match="locked"):
        Client(_Broken(busy, busy, busy, busy), "u").set_tag()  # type: ignore[arg-type]


def test_our_own_mistakes_are_not_dressed_up() -> None:
    with pytest.raises(KeyError), guarded("working", "u"):
        raise KeyError("a bug")
