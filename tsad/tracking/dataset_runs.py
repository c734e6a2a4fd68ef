"""Dataset versions: each kept once, as a run with its files and as a named input of the runs that read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import DatasetError
from tsad.tracking.artifacts import fetch_artifacts
from tsad.tracking.dataset_records import FOLDER, DatasetRecord, NewDataset, log_dataset
from tsad.tracking.experiment import Experiment
from tsad.tracking.iterations import Iteration
from tsad.tracking.states import tag_is

if TYPE_CHECKING:
    from mlflow.entities import Run


def put_dataset(loop: Experiment, dataset: NewDataset, folder: Path, iteration: Iteration | None = None) -> str:
    """Keep the files in ``folder`` as a dataset version; one that is kept already is found again.

    Files first, FINISHED last: a killed attempt stays behind as KILLED and never counts.

    Args:
        loop: holds the loop's lock.
        iteration: the one that made it.

    Returns:
        Id of the run that holds it.

    Raises:
        ClaimError: the lock is not held.
        DatasetError: the same version is kept for the other purpose.
    """
    loop.require_lock(f"Keeping dataset version {dataset.digest}")
    runs = loop.search(_with_version(dataset.digest))
    for run in runs:
        if run.info.status == "FINISHED":
            kept = run.data.tags["tsad.purpose"]
            if kept != dataset.purpose:
                raise DatasetError(
                    f"Dataset version {dataset.digest} is kept as {kept} and cannot also be {dataset.purpose}",
                    "A window is for training or for gold, never for both.",
                )
            return str(run.info.run_id)
    client = loop.store.client
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    loop.becomes_loop()
    run_id = loop.create_run(f"dataset-{dataset.purpose}-{dataset.digest}", _tags(dataset, iteration))
    client.log_artifacts(run_id, str(folder), FOLDER)
    log_dataset(client, run_id, _record(client.get_run(run_id)), dataset.purpose)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _tags(dataset: NewDataset, iteration: Iteration | None) -> dict[str, str]:
    about = {"source": dataset.source, "source_digest": dataset.source_digest, "channels": list(dataset.channels),
             "windows": dataset.windows}  # fmt: skip
    tags = {
        "tsad.kind": "dataset", "tsad.dataset_version": dataset.digest, "tsad.purpose": dataset.purpose,
        "tsad.name": dataset.name, "tsad.about": json.dumps(about, ensure_ascii=False),
    }  # fmt: skip
    if iteration is not None:
        tags |= {"mlflow.parentRunId": iteration.run_id, "tsad.iteration": str(iteration.number)}
    return tags


def find_dataset(loop: Experiment, version: str) -> DatasetRecord | None:
    """The kept dataset version of that hash."""
    found = loop.search(f"{_with_version(version)} AND attributes.status = 'FINISHED'")
    return _record(found[0]) if found else None


def datasets(loop: Experiment) -> list[DatasetRecord]:
    """All kept dataset versions, oldest first."""
    finished = f"{tag_is('tsad.kind', 'dataset')} AND attributes.status = 'FINISHED'"
    return [_record(run) for run in loop.search(finished)]


def fetch_dataset(loop: Experiment, version: str, folder: Path) -> Path:
    """Copy a dataset version's files to ``folder/dataset``; returns that folder.

    Raises:
        DatasetError: it was never kept in this loop.
    """
    record = find_dataset(loop, version)
    if record is None:
        raise DatasetError(f"Loop {loop.name} has no dataset version {version}", "`tsad data` lists them.")
    return fetch_artifacts(loop.store, record.run_id, FOLDER, folder)


def _with_version(version: str) -> str:
    return f"{tag_is('tsad.kind', 'dataset')} AND {tag_is('tsad.dataset_version', version)}"


def _record(run: Run) -> DatasetRecord:
    tags = run.data.tags
    about = json.loads(tags["tsad.about"])
    iteration = tags.get("tsad.iteration")
    return DatasetRecord(
        run_id=run.info.run_id,
        digest=tags["tsad.dataset_version"],
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
