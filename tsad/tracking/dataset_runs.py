"""Dataset versions: each kept once, as a run with its files and as a named input of the runs that read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import DatasetError
from tsad.tracking.artifacts import fetch_artifacts
from tsad.tracking.guard import Client
from tsad.tracking.states import tag_is

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tsad.tracking.runs import Iteration, LoopStore

FOLDER = "dataset"


@dataclass(frozen=True)
class DatasetRecord:
    """A kept dataset version.

    Attributes:
        version: hash of its content.
        purpose: ``train`` or ``gold``.
        source: what its series were read from, in words; ``source_digest`` is that source's digest.
        channels: names of the value columns, for the schema shown in MLflow.
        windows: how many reviewed windows it holds.
        iteration_run: run id of the iteration that made it.
        created: ms since 1970 UTC.
    """

    run_id: str
    version: str
    purpose: str
    name: str
    iteration: int | None = None
    iteration_run: str = ""
    source: str = ""
    source_digest: str = ""
    channels: tuple[str, ...] = ("value",)
    windows: int = 0
    created: int = 0

    @property
    def uri(self) -> str:
        """Where its files are."""
        return f"runs:/{self.run_id}/{FOLDER}"


def put_dataset(
    loop: LoopStore,
    version_hash: str,
    purpose: str,
    folder: Path,
    *,
    iteration: Iteration | None,
    name: str,
    source: str = "",
    source_digest: str = "",
    channels: Sequence[str] = ("value",),
    windows: int = 0,
) -> str:
    """Keep the files in ``folder`` as dataset version ``version_hash``; a version that is kept already is found again.

    Files first, FINISHED last: a killed attempt stays behind as KILLED and never counts. The loop's lock must be held.

    Returns:
        Id of the run that holds it.

    Raises:
        DatasetError: the same version is kept for the other purpose.
    """
    loop.require_lock(f"Keeping dataset version {version_hash}")
    runs = loop.search(_with_version(version_hash))
    for run in runs:
        if run.info.status == "FINISHED":
            kept = run.data.tags["tsad.purpose"]
            if kept != purpose:
                raise DatasetError(
                    f"Dataset version {version_hash} is kept as {kept} and cannot also be {purpose}",
                    "A window is for training or for gold, never for both.",
                )
            return str(run.info.run_id)
    client = loop.store.client
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    about = {"source": source, "source_digest": source_digest, "channels": list(channels), "windows": windows}
    tags = {
        "tsad.kind": "dataset", "tsad.dataset_version": version_hash, "tsad.purpose": purpose, "tsad.name": name,
        "tsad.about": json.dumps(about, ensure_ascii=False),
    }  # fmt: skip
    if iteration is not None:
        tags |= {"mlflow.parentRunId": iteration.run_id, "tsad.iteration": str(iteration.number)}
    run_id = loop.create_run(f"dataset-{purpose}-{version_hash}", tags)
    client.log_artifacts(run_id, str(folder), FOLDER)
    log_dataset(client, run_id, _record(client.get_run(run_id)), purpose)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def find_dataset(loop: LoopStore, version_hash: str) -> DatasetRecord | None:
    """The kept dataset version of that hash."""
    found = loop.search(f"{_with_version(version_hash)} AND attributes.status = 'FINISHED'")
    return _record(found[0]) if found else None


def datasets(loop: LoopStore) -> list[DatasetRecord]:
    """All kept dataset versions, oldest first."""
    finished = f"{tag_is('tsad.kind', 'dataset')} AND attributes.status = 'FINISHED'"
    return [_record(run) for run in loop.search(finished)]


def fetch_dataset(loop: LoopStore, version_hash: str, folder: Path) -> Path:
    """Copy a dataset version's files to ``folder/dataset``; returns that folder.

    Raises:
        DatasetError: it was never kept in this loop.
    """
    record = find_dataset(loop, version_hash)
    if record is None:
        raise DatasetError(f"Loop {loop.name} has no dataset version {version_hash}", "`tsad data` lists them.")
    return fetch_artifacts(loop.store, record.run_id, FOLDER, folder)


def log_dataset(client: Client, run_id: str, record: DatasetRecord, context: str) -> None:
    """Show a dataset version as input of a run: digest, schema, source and profile (MLflow takes the same once)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [("string", "point_id"), ("datetime", "timestamp"), *(("double", name) for name in record.channels)]
    dataset = Dataset(
        name=record.name[:500],
        digest=record.version[:36],
        source_type="local",
        source=json.dumps({"uri": record.uri, "series": record.source, "series_digest": record.source_digest}),
        schema=json.dumps({"mlflow_colspec": [{"type": t, "name": n, "required": True} for t, n in columns]}),
        profile=json.dumps({"windows": record.windows}),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def _with_version(version_hash: str) -> str:
    return f"{tag_is('tsad.kind', 'dataset')} AND {tag_is('tsad.dataset_version', version_hash)}"


def _record(run: Run) -> DatasetRecord:
    tags = run.data.tags
    about = json.loads(tags["tsad.about"])
    iteration = tags.get("tsad.iteration")
    return DatasetRecord(
        run_id=run.info.run_id,
        version=tags["tsad.dataset_version"],
        purpose=tags["tsad.purpose"],
        name=tags["tsad.name"],
        iteration=int(iteration) if iteration else None,
        iteration_run=tags.get("mlflow.parentRunId", ""),
        source=about["source"],
        source_digest=about["source_digest"],
        channels=tuple(about["channels"]),
        windows=about["windows"],
        created=run.info.start_time,
    )
