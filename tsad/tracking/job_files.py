"""What a job has left: the artifacts of its own run, and those of every run that it made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tsad.tracking.addresses import local_path
from tsad.tracking.artifacts import check_own, fetch_artifacts, list_artifacts
from tsad.tracking.pages import every_page
from tsad.tracking.states import tag_is
from tsad.tracking.store import Store

_PAGE = 1000


@dataclass(frozen=True)
class JobFile:
    """An artifact of a job.

    Attributes:
        name: within all that the job has left; those of other runs than its own lie in a folder each.
        path: among the artifacts of its run. bytes: its size; 0 where the store does not tell.
    """

    name: str
    run_id: str
    path: str
    bytes: int


def files_of_job(store: Store, job_id: str) -> list[JobFile]:
    """Every artifact, by name.

    Raises:
        TrackingError: there is no such run. ForeignPathError: an address leads out of the store.
    """
    found = [JobFile(path, job_id, path, size) for path, size in _artifacts(store, job_id)]
    experiments = [e.experiment_id for e in every_page(store.client.search_experiments)]
    runs = every_page(
        store.client.search_runs, experiment_ids=experiments, filter_string=tag_is("tsad.job", job_id),
        max_results=_PAGE,
    )  # fmt: skip
    for run in runs:
        run_id = str(run.info.run_id)
        folder = f"{run.data.tags.get('tsad.step', 'run').lower()}-{run_id[:8]}"
        found += [JobFile(f"{folder}/{path}", run_id, path, size) for path, size in _artifacts(store, run_id)]
    return sorted(found, key=lambda file: file.name)


@contextmanager
def file_at_hand(store: Store, file: JobFile) -> Iterator[Path]:
    """Where the artifact can be read while the block runs: where it lies, or a copy of a server's.

    Raises:
        ForeignPathError: its address leads out of the store. TrackingError: it cannot be read.
    """
    uri = store.client.get_run(file.run_id).info.artifact_uri
    check_own(store, file.run_id, uri, file.path)
    folder = local_path(uri)
    if folder is not None:
        yield folder / file.path
        return
    scratch = Path(tempfile.mkdtemp(prefix="tsad-result-"))
    try:
        yield fetch_artifacts(store, file.run_id, file.path, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _artifacts(store: Store, run_id: str, path: str | None = None) -> Iterator[tuple[str, int]]:
    """Path and size of each file below a folder of a run's artifacts."""
    for entry in list_artifacts(store, run_id, path):
        if entry.is_dir:
            yield from _artifacts(store, run_id, entry.path)
        else:
            yield entry.path, entry.file_size or 0
