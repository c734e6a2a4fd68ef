"""All jobs of a store in memory, for lists and counts: MLflow takes milliseconds for each run that it lists.

What has ended seldom changes, so a look asks for what has not, for what is new, and now and then for everything: a job
that another process has deleted may be listed for that long.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsad.tracking.jobs import JobRecord, JobRuns

ALL_SECONDS = 60.0  # between two looks at everything, or so many times what one takes
TIMES = 50


class JobIndex:
    """The jobs as of now; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[str, JobRecord] = {}
        self._due, self._lock = float("-inf"), threading.Lock()

    def records(self, runs: JobRuns) -> list[JobRecord]:
        """All of them, newest first. Raises TrackingError."""
        with self._lock:
            began = time.monotonic()
            if began >= self._due:
                self._known = {record.id: record for record in runs.newest()}
                self._due = time.monotonic() + max(ALL_SECONDS, TIMES * (time.monotonic() - began))
            else:
                self._follow(runs)
            return sorted(self._known.values(), key=lambda record: record.created, reverse=True)

    def forget(self, job_id: str) -> None:
        """A job was deleted here."""
        with self._lock:
            self._known.pop(job_id, None)

    def _follow(self, runs: JobRuns) -> None:
        latest = max((record.created for record in self._known.values()), default=0)
        before = [record.id for record in self._known.values() if record.open]
        fresh = {record.id: record for record in (*runs.unended()[0], *runs.newest(since=latest))}
        for job_id in set(before) - set(fresh):
            record = runs.get(job_id)
            if record is None:
                self._known.pop(job_id)
            else:
                fresh[job_id] = record
        self._known |= fresh
