"""Artifacts of runs: reading, fetching to a folder in one move, deleting."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import TrackingError
from tsad.tracking.guard import guarded

if TYPE_CHECKING:
    from tsad.tracking.store import Store


def read_text(store: Store, run_id: str, path: str) -> str:
    """The text of an artifact.

    Raises:
        TrackingError: there is no such artifact.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(store.client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")
        except (OSError, TrackingError) as error:
            raise TrackingError(f"Artifact {path} of run {run_id} cannot be read ({error})") from error


def fetch_artifacts(store: Store, run_id: str, path: str, folder: Path) -> Path:
    """Copy an artifact (file or folder) of a run to ``folder``/its last name; an earlier copy is replaced.

    The copy appears complete or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / Path(path).name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as draft:
        got = Path(store.client.download_artifacts(run_id, path, draft))
        if target.is_dir():
            shutil.rmtree(target)
        got.replace(target)
    return target


def delete_artifacts(store: Store, artifact_uri: str) -> None:
    """Delete a folder of artifacts; one that is gone already is no error.

    Raises:
        TrackingError: the artifact store cannot delete (a server without ``--serve-artifacts``).
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with guarded("deleting artifacts", store.uri):
        get_artifact_repository(artifact_uri, tracking_uri=store.tracking_uri).delete_artifacts()
