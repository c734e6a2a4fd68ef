"""Assets beside dataset versions, each kept as a run: uploaded files, written exports; and deleting any of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsad.core.errors import ForeignPathError
from tsad.tracking.addresses import local_path
from tsad.tracking.artifacts import check_own, delete_artifacts, fetch_artifacts, list_artifacts, read_text
from tsad.tracking.pages import every_page
from tsad.tracking.registry import Registry, Version
from tsad.tracking.runs import LoopStore
from tsad.tracking.states import tag_is
from tsad.tracking.steps import RESULT
from tsad.tracking.store import Store

UPLOAD, EXPORT = "upload", "export"
FILES = "files"  # folder of an upload's artifacts


@dataclass(frozen=True)
class AssetRecord:
    """A kept asset.

    Attributes:
        kind: ``upload`` or ``export``.
        name: what people call it by; 12 hex digits.
        about: what it holds, as it was said when it was kept.
        created: ms since 1970 UTC.
    """

    run_id: str
    kind: str
    name: str
    about: Mapping[str, Any]
    created: int
    artifact_uri: str


def keep(
    loop: LoopStore, kind: str, name: str, about: Mapping[str, Any], files: Path | None = None, rows: Any = None
) -> AssetRecord:
    """Keep an asset; one of that kind and name that is kept already is found again.

    Args:
        files: a folder whose files become its artifacts.
        rows: what it holds one by one, as JSON; more than fits into ``about``.
    """
    found = [record for record in assets(loop, kind) if record.name == name]
    if found:
        return found[0]
    loop.becomes_loop()
    said = json.dumps(dict(about), ensure_ascii=False)
    with loop.adding(kind.upper(), {"tsad.kind": kind, "tsad.asset": name, "tsad.about": said}) as run:
        if files is not None:
            run.file(files, FILES)
        run.result({"rows": rows})
    return next(record for record in assets(loop, kind) if record.run_id == run.run_id)


def assets(loop: LoopStore, kind: str) -> list[AssetRecord]:
    """All kept assets of a kind, oldest first."""
    runs = loop.search(f"{tag_is('tsad.kind', kind)} AND attributes.status = 'FINISHED'")
    return [
        AssetRecord(
            run.info.run_id, kind, run.data.tags["tsad.asset"], json.loads(run.data.tags["tsad.about"]),
            run.info.start_time, run.info.artifact_uri,
        )
        for run in runs
    ]  # fmt: skip


def rows_of(loop: LoopStore, record: AssetRecord) -> Any:
    """What :func:`keep` was given as ``rows``."""
    return json.loads(read_text(loop.store, record.run_id, RESULT))["rows"]


def place_of(loop: LoopStore, record: AssetRecord) -> Path:
    """Where an upload's files are read from: the artifacts themselves; of a server's, a copy in the store's folder."""
    check_own(loop.store, record.run_id, record.artifact_uri)
    path = local_path(record.artifact_uri)
    if path is not None:
        return path / FILES
    if Path(record.name).name != record.name or record.name in ("", ".."):
        raise ForeignPathError(f"The upload {record.name!r} has no name but a path", "Do not trust this store.")
    return loop.home / "uploads" / record.name / FILES


def files_of(loop: LoopStore, record: AssetRecord) -> Path:
    """As :func:`place_of`; a copy that is not there yet is made."""
    place = place_of(loop, record)
    return place if place.is_dir() else fetch_artifacts(loop.store, record.run_id, FILES, place.parent)


def upload_folders(store: Store) -> list[Path]:
    """Where the files of all uploads of a store are read from."""
    loops = [LoopStore(store, name) for name in store.loops()]
    return [place_of(loop, record) for loop in loops for record in assets(loop, UPLOAD)]


def size_of(loop: LoopStore, run_id: str, path: str | None = None) -> int:
    """Bytes of a run's artifacts, or of those below ``path``."""
    total = 0
    for one in list_artifacts(loop.store, run_id, path):
        total += size_of(loop, run_id, one.path) if one.is_dir else one.file_size or 0
    return total


def erase(loop: LoopStore, run_id: str) -> None:
    """Delete a run and its artifacts; it is listed nowhere any more, though MLflow keeps the bare run as deleted.

    Raises:
        ForeignPathError: its artifacts are not in the store; nothing is deleted.
        TrackingError: the artifact store cannot delete; the run is gone all the same.
    """
    uri = loop.store.client.get_run(run_id).info.artifact_uri
    check_own(loop.store, run_id, uri)
    # the run first: a kill in between leaves files that nobody counts, never half a version
    loop.store.client.delete_run(run_id)
    delete_artifacts(loop.store, run_id, uri)


def model_versions(loop: LoopStore) -> list[Version]:
    """Registered versions of all the loop's models, whatever their detector."""
    prefix = f"tsad-{loop.name}-"
    models = every_page(loop.store.client.search_registered_models, filter_string=f"name LIKE '{prefix}%'")
    names = [model.name for model in models if model.name.startswith(prefix)]
    return [version for name in names for version in Registry(loop.store, name).versions()]
