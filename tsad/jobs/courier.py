"""Between hosts: what a job on another host is asked, and how far it is, by tags of its run.

On one host a job and whoever watches it share a folder. Where the queue is shared by hosts, each of them has folders of
its own: every few seconds the job's process takes what was asked elsewhere into its folder, and says how far it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tsad.core.errors import TsadError
from tsad.jobs.folder import Asked, JobFolder

if TYPE_CHECKING:
    from tsad.tracking.jobs import JobRecord, JobRuns

SECONDS = 3.0  # between two looks
ASKED, PROGRESS = "tsad.job.asked", "tsad.job.progress"  # tags of the run


def leave(runs: JobRuns, job_id: str, asked: Asked) -> None:
    """Leave what was asked here for the host that has the job."""
    runs.say(job_id, {"asked": json.dumps({"from": runs.place, **asked.to_json()})})


def fetch(runs: JobRuns, folder: JobFolder, record: JobRecord) -> None:
    """Take what was asked on another host into the folder."""
    told = json.loads(record.tags.get(ASKED) or "{}")
    if not told or told.pop("from") == runs.place:
        return
    elsewhere, here = Asked.from_json(told), folder.asked()
    if elsewhere.to_json() != here.to_json():
        folder.ask(elsewhere.stop, elsewhere.pause, elsewhere.checkpoints > here.checkpoints)


@contextmanager
def carrying(runs: JobRuns, folder: JobFolder, job_id: str, shared: bool) -> Iterator[None]:
    """Carry words while the block runs, where hosts share the queue; an outage of the store is waited out."""
    if not shared:
        yield
        return
    stop = threading.Event()

    def carry() -> None:
        said = ""
        while not stop.wait(SECONDS):
            with suppress(TsadError):
                fetch(runs, folder, runs.require(job_id))
                progress = folder.progress()
                if progress is not None and (text := json.dumps(progress.to_json())) != said:
                    runs.say(job_id, {"progress": text})
                    said = text

    thread = threading.Thread(target=carry, name="tsad-courier", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
