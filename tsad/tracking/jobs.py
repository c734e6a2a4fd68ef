"""Jobs as MLflow has them: a run each, complete before its id is queued; who works on it claims it by a parameter.

They lie in an experiment of their own, which is no loop. What a run's tags say of its state is the truth; MLflow's
status follows it. A run without a state was not made to its end: its client was never told of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TrackingError
from tsad.tracking.artifacts import read_text
from tsad.tracking.claims import Claim, check_dead, claimed, claims_of
from tsad.tracking.experiment import Experiment
from tsad.tracking.guard import error_code
from tsad.tracking.pages import every_page
from tsad.tracking.recorder import TAG_LENGTH, RunRecorder
from tsad.tracking.states import tag_is
from tsad.tracking.store import LOOP, Store

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT, KIND, STEP = "tsad jobs", "job", "JOB"
PENDING, RUNNING, PAUSED, SUCCEEDED, FAILED, STOPPED = (
    "pending", "running", "paused", "succeeded", "failed", "stopped",
)  # fmt: skip
OPEN = (PENDING, RUNNING, PAUSED)
STATES = (*OPEN, SUCCEEDED, FAILED, STOPPED)
STATUSES = {
    PENDING: "SCHEDULED", RUNNING: "RUNNING", PAUSED: "RUNNING", SUCCEEDED: "FINISHED", FAILED: "FAILED",
    STOPPED: "KILLED",
}  # fmt: skip
LEASE = 120.0  # seconds: a job of another host whose heartbeat is older is dead
ELSEWHERE = "see artifact "  # what a parameter says whose value was too long for one
MESSAGE = 3000  # characters of an error that are kept
_PAGE = 1000
_NOT_ENDED = " AND ".join(f"attributes.status != '{status}'" for status in ("FINISHED", "FAILED", "KILLED"))


@dataclass(frozen=True)
class NewJob:
    """What a job is made of.

    Attributes:
        digest: of verb and overrides: two jobs of one digest are not open at once.
        key: what its client calls it; "" = nothing.
    """

    verb: str
    overrides: tuple[str, ...]
    loop: str
    queue: str
    digest: str
    key: str = ""


@dataclass(frozen=True)
class JobRecord:
    """A job as its run has it.

    Attributes:
        attempt: how often it was begun. forgiven: how many of those do not count against it.
        created, started, ended: ms since 1970 UTC; ``started`` of the newest attempt.
        exit: how it ended, in words. error: ``code``, ``message`` and ``remedy``.
        process: of the newest attempt, see :func:`~tsad.tracking.claims.this_process`.
        claim: of the newest attempt; ``None`` = it was never begun. closed: whether that one has ended by itself.
        deleted: only its client's key still finds it.
    """

    id: str
    verb: str
    overrides_text: str
    loop: str
    state: str
    queue: str
    digest: str
    key: str
    attempt: int
    forgiven: int
    created: int
    started: int | None
    ended: int | None
    exit: str
    error: Mapping[str, str] | None
    process: str
    claim: Claim | None
    closed: bool
    status: str
    tags: Mapping[str, str]
    deleted: bool = False

    @property
    def open(self) -> bool:
        """Whether it waits or is worked on."""
        return self.state in OPEN

    @property
    def begun(self) -> int:
        """Attempts that count."""
        return self.attempt - self.forgiven


class JobRuns(Experiment):
    """The jobs of a store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, EXPERIMENT, LEASE)

    def create(self, new: NewJob) -> JobRecord:
        """A job that waits, complete: its state is the last thing that is written."""
        tags = {
            LOOP: new.loop, "tsad.kind": KIND, "tsad.job.verb": new.verb, "tsad.job.queue": new.queue,
            "tsad.job.digest": new.digest, "tsad.job.key": new.key,
        }  # fmt: skip
        run_id = self.create_run(new.verb, tags)
        recorder = RunRecorder(self.store.client, run_id)
        recorder.params({"verb": new.verb, "overrides": list(new.overrides)})
        self.store.client.update_run(run_id, status=STATUSES[PENDING])
        recorder.tags({"tsad.job.state": PENDING})
        return self.require(run_id)

    def get(self, job_id: str) -> JobRecord | None:
        """The job of that id; ``None`` where there is none, or it was deleted."""
        try:
            run = self.store.client.get_run(job_id)
        except TrackingError as error:
            if error_code(error) in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        if run.info.lifecycle_stage != "active" or run.data.tags.get("tsad.kind") != KIND:
            return None
        return record_of_run(run) if run.data.tags.get("tsad.job.state") else None

    def require(self, job_id: str) -> JobRecord:
        """The same; raises TrackingError where there is none."""
        record = self.get(job_id)
        if record is None:
            raise TrackingError(f"the store has no job {job_id}", "It was deleted.")
        return record

    def newest(self, since: int = 0) -> Iterator[JobRecord]:
        """Jobs, newest first, read page by page as they are asked for.

        Args:
            since: created at that time or later; ms since 1970 UTC.
        """
        terms = [tag_is("tsad.kind", KIND), *([f"attributes.start_time >= {since}"] if since else [])]
        for run in self._found(" AND ".join(terms), "attributes.start_time DESC"):
            if run.data.tags.get("tsad.job.state"):
                yield record_of_run(run)

    def unended(self) -> tuple[list[JobRecord], list[str]]:
        """Jobs that MLflow does not know as ended, oldest first, and ids of runs that were not made to their end."""
        runs = list(self._found(f"{tag_is('tsad.kind', KIND)} AND {_NOT_ENDED}", "attributes.start_time ASC"))
        complete = [record_of_run(run) for run in runs if run.data.tags.get("tsad.job.state")]
        return complete, [str(run.info.run_id) for run in runs if not run.data.tags.get("tsad.job.state")]

    def alike(self, digest: str) -> JobRecord | None:
        """The open job of that digest."""
        runs = self._found(f"{tag_is('tsad.job.digest', digest)} AND {_NOT_ENDED}", "attributes.start_time ASC")
        return next((record_of_run(run) for run in runs if run.data.tags.get("tsad.job.state") in OPEN), None)

    def called(self, key: str) -> JobRecord | None:
        """The job that a client calls so, open, ended or deleted."""
        for wanted in (tag_is("tsad.job.key", key), tag_is(f"tsad.job.key.{key}", "1")):
            for run in self._found(wanted, "attributes.start_time ASC", deleted=True):
                if run.data.tags.get("tsad.job.state"):
                    return record_of_run(run)
        return None

    def call(self, record: JobRecord, key: str) -> None:
        """From now on another client calls the job so, beside what it was called before."""
        self._tag(record.id, {f"key.{key}": "1"})

    def overrides(self, record: JobRecord) -> list[str]:
        """What the job's verb is called with."""
        text = record.overrides_text
        if text.startswith(ELSEWHERE):
            text = read_text(self.store, record.id, text.removeprefix(ELSEWHERE))
        return [str(word) for word in json.loads(text)]

    def claimed(self, record: JobRecord) -> AbstractContextManager[Claim]:
        """Claim the next attempt, and say so now and then while the block runs; the job's file lock must be held.

        Raises:
            ClaimError: it is being worked on elsewhere, or was claimed just now.
        """
        self.check_dead(record)
        return claimed(self.store.client, record.id, STEP, record.attempt + 1, self.place, self.lease)

    def check_dead(self, record: JobRecord) -> None:
        """Make sure that no other host works on it; for this one the job's file lock speaks. Raises ClaimError."""
        if record.claim is not None and not record.closed:
            check_dead(STEP, record.claim, record.tags, self.place, self.lease)

    def begin(self, job_id: str, process: str) -> None:
        """It is being worked on from now."""
        self._tag(job_id, {"state": RUNNING, "started": _now(), "process": process, "exit": "", "error": ""})
        self.store.client.update_run(job_id, status=STATUSES[RUNNING])

    def holds(self, record: JobRecord) -> bool:
        """Whether the record's attempt is the newest still: one whose heart did not beat for a lease may not be."""
        newest = self.require(record.id).claim
        return newest is not None and record.claim is not None and newest.token == record.claim.token

    def wait(self, record: JobRecord, reason: str, forgive: int) -> None:
        """It waits again, for its next attempt; ``forgive`` = how many attempts so far do not count."""
        self.store.client.update_run(record.id, status=STATUSES[PENDING])
        token = record.claim.token if record.claim else ""
        self._tag(record.id, {"closed": token, "forgiven": forgive, "exit": reason, "error": "", "state": PENDING})

    def move(self, job_id: str, queue: str) -> None:
        """It waits in another queue from now on."""
        self._tag(job_id, {"queue": queue})

    def turn(self, job_id: str, state: str) -> None:
        """It is paused, or goes on."""
        self._tag(job_id, {"state": state})

    def end(
        self, job_id: str, state: str, reason: str, error: Mapping[str, str] | None = None, token: str = ""
    ) -> None:
        """It has ended: why in words, and the error that ended it.

        Args:
            token: of the claim of whoever says so: nothing is done where a newer attempt has begun. "" = nobody's.
        """
        ended = int(_now())
        record = self.require(job_id)
        if token and (record.claim is None or record.claim.token != token):
            return
        values = {
            "exit": reason, "error": _error_text(error) if error else "", "ended": ended,
            "closed": record.claim.token if record.claim else "", "state": state,
        }  # fmt: skip
        self._tag(job_id, values)
        self.store.client.set_terminated(job_id, STATUSES[state], ended)

    def follow(self, record: JobRecord) -> None:
        """Let MLflow's status be that of the state: somebody was killed between the two."""
        if record.open:
            self.store.client.update_run(record.id, status=STATUSES[record.state])
        else:
            self.store.client.set_terminated(record.id, STATUSES[record.state], record.ended)

    def keep(self, job_id: str, file: Path) -> None:
        """Keep a file of the job's folder as an artifact of its run, where there is one."""
        if file.is_file():
            self.store.client.log_artifact(job_id, str(file))

    def kept(self, job_id: str, name: str) -> str | None:
        """The text of such a file; ``None`` where the run has none."""
        try:
            return read_text(self.store, job_id, name)
        except TrackingError:
            return None

    def say(self, job_id: str, words: Mapping[str, str]) -> None:
        """Leave words of a job for other hosts, which have not its folder."""
        self._tag(job_id, words)

    def delete(self, job_id: str) -> None:
        """Delete the job's run, as MLflow deletes: it can be restored there."""
        self.store.client.delete_run(job_id)

    def _tag(self, job_id: str, values: Mapping[str, Any]) -> None:
        recorder = RunRecorder(self.store.client, job_id)
        recorder.tags({f"tsad.job.{key}": str(value) for key, value in values.items()})

    def _found(self, wanted: str, order: str, deleted: bool = False) -> Iterator[Run]:
        from mlflow.entities import ViewType

        experiment = self._find_experiment()
        if not experiment:
            return iter(())
        return every_page(
            self.store.client.search_runs, experiment_ids=[experiment], filter_string=wanted, max_results=_PAGE,
            order_by=[order], run_view_type=ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
        )  # fmt: skip


def import_mlflow() -> None:
    """Import what a store and its runs take: seconds, which a process can spend before anybody waits for it."""
    import mlflow.store.artifact.artifact_repository_registry
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import pandas  # noqa: F401


def record_of_run(run: Run) -> JobRecord:
    """The job that a run is."""
    tags = dict(run.data.tags)
    own = {key.removeprefix("tsad.job."): value for key, value in tags.items() if key.startswith("tsad.job.")}
    claims = claims_of(run.data.params, STEP)
    attempt, claim = claims[-1] if claims else (0, None)
    state = own.get("state", "")
    ended = int(own["ended"]) if own.get("ended") and state not in OPEN else None
    return JobRecord(
        id=str(run.info.run_id), verb=run.data.params.get("verb", ""),
        overrides_text=run.data.params.get("overrides", "[]"), loop=tags.get(LOOP, ""), state=state,
        queue=own.get("queue", ""), digest=own.get("digest", ""), key=own.get("key", ""), attempt=attempt,
        forgiven=int(own.get("forgiven") or 0), created=int(run.info.start_time),
        started=int(own["started"]) if own.get("started") else None, ended=ended, exit=own.get("exit", ""),
        error=_error_of(own.get("error", "")), process=own.get("process", ""), claim=claim,
        closed=claim is not None and own.get("closed", "") == claim.token, status=str(run.info.status), tags=tags,
        deleted=run.info.lifecycle_stage != "active",
    )  # fmt: skip


def _error_text(error: Mapping[str, str]) -> str:
    """An error as JSON that fits into a tag: of what is too long the longest goes first."""
    kept = {key: text[:MESSAGE] for key, text in error.items()}
    while len(text := json.dumps(kept, ensure_ascii=False)) > TAG_LENGTH:
        longest = max(kept, key=lambda key: len(json.dumps(kept[key], ensure_ascii=False)))
        kept[longest] = kept[longest][: len(kept[longest]) * 3 // 4]
    return text


def _error_of(text: str) -> Mapping[str, str] | None:
    """The same read again; ``None`` where it is none, or was cut: one job's words must not hide all the others."""
    with suppress(ValueError):
        error = json.loads(text)
        return error if isinstance(error, dict) else None
    return None


def _now() -> str:
    """ms since 1970 UTC."""
    return str(time.time_ns() // 1_000_000)
