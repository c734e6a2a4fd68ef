"""Artifacts of runs: reading, listing, fetching to a folder in one move, deleting; never outside the embedded store."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tsad.core.errors import ForeignPathError, TrackingError
from tsad.tracking.addresses import ARTIFACTS, local_path
from tsad.tracking.guard import guarded

if TYPE_CHECKING:
    from mlflow.entities import FileInfo

    from tsad.tracking.store import Store

_OWNER = re.compile(r"(?:m-)?[0-9a-f]{32}")  # MLflow's ids of runs and LoggedModels; folders are named by them


def read_text(store: Store, run_id: str, path: str) -> str:
    """The text of an artifact.

    Raises:
        TrackingError: there is no such artifact.
        ForeignPathError: its address leads out of the store.
    """
    _check_run(store, run_id, path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(store.client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")
        except (OSError, TrackingError) as error:
            raise TrackingError(f"Artifact {path} of run {run_id} cannot be read ({error})") from error


def list_artifacts(store: Store, run_id: str, path: str | None = None) -> list[FileInfo]:
    """A run's artifacts, or those below ``path``, one level deep.

    Raises:
        ForeignPathError: their address leads out of the store.
    """
    _check_run(store, run_id, path or "")
    return list(store.client.list_artifacts(run_id, path))


def fetch_artifacts(store: Store, run_id: str, path: str, folder: Path) -> Path:
    """Copy an artifact (file or folder) of a run to ``folder``/its last name; an earlier copy is replaced.

    The copy appears complete or not at all.

    Raises:
        ForeignPathError: its address leads out of the store.
    """
    _check_run(store, run_id, path)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / Path(path).name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as draft:
        got = Path(store.client.download_artifacts(run_id, path, draft))
        if target.is_dir():
            shutil.rmtree(target)
        got.replace(target)
    return target


def delete_artifacts(store: Store, run_id: str, artifact_uri: str) -> None:
    """Delete a folder of the artifacts of a run (or of a LoggedModel, by its id); one that is gone already is no error.

    Raises:
        ForeignPathError: the address leads out of the store, or into another run's artifacts.
        TrackingError: the artifact store cannot delete (a server without ``--serve-artifacts``).
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    check_own(store, run_id, artifact_uri)
    with guarded("deleting artifacts", store.uri):
        get_artifact_repository(artifact_uri, tracking_uri=store.tracking_uri).delete_artifacts()


def fetch_folder(store: Store, owner: str, artifact_uri: str, folder: Path) -> Path:
    """Copy a whole folder of artifacts to ``folder/files``; an earlier copy is replaced.

    Args:
        owner: id of the run or LoggedModel it belongs to.

    Raises:
        ForeignPathError: its address leads out of the store.
        TrackingError: it cannot be read.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    check_own(store, owner, artifact_uri)
    target = folder / "files"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with guarded("fetching artifacts", store.uri):
        get_artifact_repository(artifact_uri, tracking_uri=store.tracking_uri).download_artifacts("", str(target))
    return target


def check_own(store: Store, run_id: str, artifact_uri: str, path: str = "") -> None:
    """Refuse an address on this machine that is not the folder of that run, in the embedded store: of its artifacts.

    Where else a server keeps its artifacts is its own business; which files of this machine it names is not.

    Raises:
        ForeignPathError: it is not; whoever wrote it there, nothing is read, written or deleted.
    """
    if _OWNER.fullmatch(run_id) and _below(path) and _owned(store, run_id, artifact_uri, path):
        return
    raise ForeignPathError(
        f"Run {run_id} names {artifact_uri}{'/' if path else ''}{path} as its artifacts, which is not in the store "
        f"{store.home}",
        "Nothing was read or deleted there. If the store was put together from several, copy those files into it.",
    )


def _owned(store: Store, run_id: str, artifact_uri: str, path: str) -> bool:
    folder = local_path(artifact_uri)
    if folder is None:
        return not store.embedded and urlsplit(artifact_uri).scheme not in ("", "file")
    folder, root = folder.resolve(), (store.home / ARTIFACTS).resolve()
    if store.embedded and not folder.is_relative_to(root):
        return False
    parts = folder.relative_to(root).parts if store.embedded else folder.parts
    return run_id in parts and (folder / path).resolve().is_relative_to(folder)


def _below(path: str) -> bool:
    """Whether a path of an artifact leads down alone, so that its last part names a file or folder."""
    return ".." not in PurePosixPath(path.replace("\\", "/")).parts and not path.startswith("/")


def _check_run(store: Store, run_id: str, path: str) -> None:
    check_own(store, run_id, store.client.get_run(run_id).info.artifact_uri, path)
