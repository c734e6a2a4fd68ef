"""The jobs of a store, for whoever asks: submit, list, stop, pause, resume, retry, delete.

The service, the terminal and the tests use the same functions; several of them may do so at once. What a job is asked
takes effect in its own process, or, where none works on it, here under its lock.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.composing import flatten, override_key
from tsad.config.workbench import Workbench
from tsad.core.errors import (
    ClaimError,
    JobError,
    JobRefusedError,
    QueueError,
    StorageError,
    TooManyJobsError,
    UnknownJobError,
)
from tsad.files.hashing import digest_of_parts
from tsad.jobs.courier import leave
from tsad.jobs.devices import CPU, gpu_queue, gpus
from tsad.jobs.folder import JobFolder
from tsad.jobs.index import JobIndex
from tsad.jobs.job import STOPPED_WORDS, Job, job_of
from tsad.jobs.locks import held, job_lock, submitting
from tsad.jobs.queues import JobQueues
from tsad.jobs.words import check_paths, check_words

if TYPE_CHECKING:
    from tsad.config.checked import Settings
    from tsad.core.serving import Verbs
    from tsad.tracking.jobs import JobRecord, JobRuns

TRAINING = ("iterate", "train", "pretrain", "learning_curve")  # verbs that go to a GPU where there is one
ID_LENGTH = 32
OPEN_SECONDS = 1.0  # for which one look at which jobs are open serves everybody
MOST_WORDS, MOST_LENGTH = 200, 20_000  # overrides of a job, and their characters together


@dataclass(frozen=True)
class Submitted:
    """A job, and whether it is new: the same was open already, or its client has called another so."""

    job: Job
    new: bool


@dataclass(eq=False)
class JobBoard:
    """The jobs of a store.

    Args:
        bench: of the call that asks: its store, its ``service`` options, its own config.
        verbs: what verbs there are and what they take.
        woken: called when something was put into a queue, so that who waits for it looks at once.
    """

    bench: Workbench
    verbs: Verbs
    woken: Callable[[], None] = lambda: None
    queues: JobQueues = field(init=False)
    _runs: JobRuns | None = field(init=False, default=None)
    _index: JobIndex = field(init=False, default_factory=JobIndex)
    _open: frozenset[str] = field(init=False, default=frozenset())
    _looked: float = field(init=False, default=float("-inf"))
    _looking: threading.Lock = field(init=False, default_factory=threading.Lock)
    _opening: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.home: Path = self.bench.home
        self.queues = JobQueues(self.bench.service.queue, self.home)
        self.gpus = tuple(gpus())

    @property
    def runs(self) -> JobRuns:
        """What MLflow has of them; the store is opened at the first use."""
        with self._opening:
            if self._runs is None:
                from tsad.tracking.jobs import JobRuns
                from tsad.tracking.store import open_store

                self._runs = JobRuns(open_store(self.bench.tracking, self.home))
            return self._runs

    def submit(self, verb: str, overrides: Sequence[str] = (), key: str = "") -> Submitted:
        """Have a verb run; the same verb with the same overrides is one job while it is open.

        What the service itself was started with (``review.url=...``) is the job's too, where that says nothing else.

        Args:
            key: what the client calls it: the same key is the same job, ever. "" = nothing.

        Raises:
            ConfigError: it may not be asked, or its config is wrong; names the key.
            JobError: the key was given to another job, or to one that was deleted.
            TooManyJobsError: ``service.pending`` wait already.
        """
        words = (*self._inherited(overrides), *overrides)
        loop, queue = self._checked(verb, overrides, words)
        digest, key = digest_of_parts("job", verb, *words), digest_of_parts("key", key) if key else ""
        with submitting(self.home), self.queues.submitting():
            known = self._known(digest, key)
            if known is not None:
                return Submitted(self._job(known), False)
            self._check_room()
            from tsad.tracking.jobs import NewJob

            made = self.runs.create(NewJob(verb, words, loop, queue, digest, key))
            self._put(made)
        return Submitted(self._job(made), True)

    def list(
        self, state: str = "", verb: str = "", loop: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[list[Job], int]:
        """Jobs without their answers, newest first, and how many there are in all; "" = any."""
        records = [
            record for record in self._index.records(self.runs)
            if state in ("", record.state) and verb in ("", record.verb) and loop in ("", record.loop)
        ]  # fmt: skip
        return [self._job(record, whole=False) for record in records[offset : offset + limit]], len(records)

    def is_open(self, job_id: str) -> bool:
        """Whether the job waits or is worked on, as of a second ago; one look at the store serves all who ask."""
        with self._looking:
            if time.monotonic() - self._looked > OPEN_SECONDS:
                self._open = frozenset(record.id for record in self.runs.unended()[0] if record.open)
                self._looked = time.monotonic()
            return job_id in self._open

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        from tsad.tracking.jobs import STATES

        found = dict.fromkeys(STATES, 0)
        for record in self._index.records(self.runs):
            found[record.state] += 1
        return found

    def get(self, job_id: str) -> Job:
        """A job with its answer. Raises UnknownJobError."""
        return self._job(self._record(job_id))

    def named(self, digits: str) -> str:
        """The id of the one job whose id begins so. Raises UnknownJobError where there is none, or several."""
        if len(digits) == ID_LENGTH:
            return self._record(digits).id
        found = [record.id for record in self.runs.newest() if record.id.startswith(digits)] if digits else []
        if len(found) != 1:
            what = f"{len(found)} jobs have ids that begin with" if found else "no job has an id that begins with"
            raise UnknownJobError(f"{what} {digits[:40]!r}", "`tsad jobs` lists them.")
        return found[0]

    def folder(self, job_id: str) -> JobFolder:
        """What the job's process writes. Raises UnknownJobError."""
        return JobFolder(self.home, self._record(job_id).id)

    def stop(self, job_id: str) -> Job:
        """Have it stop at its next safe point; one that nobody works on yet stops at once.

        Raises:
            JobError: it has ended. UnknownJobError.
        """
        self._ask(job_id, stop=True)
        with self._alone(job_id) as record:
            if record is not None and record.open:
                self._tell(job_id, {"state": "stopped", "exit": STOPPED_WORDS})
                self.runs.end(job_id, "stopped", STOPPED_WORDS)
        return self.get(job_id)

    def pause(self, job_id: str) -> Job:
        """Have it wait at its next safe point, or before it begins. Raises as :meth:`stop`."""
        return self._ask(job_id, pause=True)

    def resume(self, job_id: str) -> Job:
        """Have it go on after a pause. Raises as :meth:`stop`."""
        return self._ask(job_id, pause=False)

    def checkpoint(self, job_id: str) -> Job:
        """Have it keep its state at its next safe point, where it can. Raises as :meth:`stop`."""
        return self._ask(job_id, checkpoint=True)

    def retry(self, job_id: str) -> Job:
        """Have a failed or stopped job begun again, under its id.

        Raises:
            JobError: it is open or succeeded, or the same was submitted again and is open. UnknownJobError.
        """
        with submitting(self.home), self.queues.submitting():
            record = self._record(job_id)
            if record.state not in ("failed", "stopped"):
                raise JobError(f"job {job_id} is {record.state}", "Only a failed or stopped job is begun again.")
            other = self.runs.alike(record.digest)
            if other is not None:
                raise JobError(f"job {other.id} does the same and is {other.state}", "Wait for it.")
            self._check_room()
            with self._alone(job_id) as mine:
                if mine is None:
                    raise JobError(f"job {job_id} is just ending", "Try again in a second.")
                folder = JobFolder(self.home, job_id)
                folder.answer.unlink(missing_ok=True)
                asked = folder.ask(stop=False, pause=False)
                if self.queues.shared:
                    leave(self.runs, job_id, asked)
                self._tell(job_id, {"state": "pending"})  # or whoever listens takes its last end for its end
                self.runs.wait(mine, "", mine.attempt)
            self._put(record)
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """Delete an ended job: its run and its folder.

        Raises:
            JobError: it has not ended. UnknownJobError.
        """
        with self._alone(job_id) as record:
            if record is None or record.open:
                raise JobError(f"job {job_id} has not ended", "Stop it first.")
            self.runs.delete(job_id)
            self._index.forget(job_id)
            shutil.rmtree(JobFolder(self.home, job_id).path, ignore_errors=True)

    def log(self, job_id: str) -> Path | str:
        """The file of the job's log, or, where there is none here, its text as kept with the run."""
        record = self._record(job_id)
        path = JobFolder(self.home, record.id).log
        return path if path.is_file() or record.open else self.runs.kept(record.id, path.name) or ""

    def close(self) -> None:
        """Let connections go."""
        self.queues.close()

    def _inherited(self, overrides: Sequence[str]) -> tuple[str, ...]:
        """Of the words that the service was started with those that a job has, too: no key and no group of its own."""
        keys = {override_key(word) for word in overrides}
        own = [word for word in self.bench.overrides if override_key(word).partition(".")[0] != "tracking"]
        return tuple(w for w in own if not {override_key(w), override_key(w).partition(".")[0]} & keys)

    def _checked(self, verb: str, overrides: Sequence[str], words: Sequence[str]) -> tuple[str, str]:
        """Loop and queue of a job that may be asked; ``words`` are those of the service and its own."""
        if len(overrides) > MOST_WORDS or sum(map(len, overrides)) > MOST_LENGTH:
            found = f"{len(overrides)} overrides are too much for a job"
            raise JobRefusedError(found, "Write them into an experiment's YAML.")
        check_words(verb, overrides, self.verbs.names())
        roots = [*map(Path, self.bench.service.roots), self.home / "service" / "exports"]
        check_paths(overrides, roots, [self.home / "service" / "uploads"], self._own() | self._uploads())
        checked: Settings = self.verbs.check(verb, list(words))
        return checked.loop.name, self._queue(verb, checked)

    def _uploads(self) -> frozenset[str]:
        """The folders of registered uploads: they may be read whole, and nothing may be written below them."""
        from tsad.tracking.assets import upload_folders

        return frozenset(map(str, upload_folders(self.runs.store)))

    def _own(self) -> frozenset[str]:
        """Every text that the service's own config has."""
        import yaml

        leaves = flatten(yaml.safe_load(self.bench.config_yaml) or {}).values()
        texts = [item for leaf in leaves for item in (leaf if isinstance(leaf, list) else [leaf])]
        return frozenset(text for text in texts if isinstance(text, str) and text)

    def _queue(self, verb: str, checked: Settings) -> str:
        """The GPU that has least to do, for what needs one; else the queue beside them."""
        needs_gpu = checked.parts["detector"].kind.needs().device == "cuda"
        if not self.gpus or (verb not in TRAINING and not needs_gpu):
            return CPU
        return self.least_busy([record.queue for record in self.runs.unended()[0] if record.open])

    def least_busy(self, busy: Sequence[str]) -> str:
        """The GPU of this host that has least to do, where it has one; ``busy`` = queues of the open jobs."""
        names = [gpu_queue(number) for number in range(len(self.gpus))]
        return min(names, key=lambda name: (busy.count(name), names.index(name)), default=CPU)

    def _known(self, digest: str, key: str) -> JobRecord | None:
        """The job that this submission is, where there is one."""
        called = self.runs.called(key) if key else None
        if called is not None and called.digest != digest:
            raise JobError(f"this key was given to job {called.id}, which is another", "Use a key for one job only.")
        if called is not None and called.deleted:
            raise JobError(f"this key was given to job {called.id}, which was deleted", "Use another key.")
        found = called or self.runs.alike(digest)
        if key and found is not None and called is None:
            self.runs.call(found, key)
        return found

    def _check_room(self) -> None:
        waiting = sum(record.state == "pending" for record in self.runs.unended()[0])
        if waiting >= self.bench.service.pending:
            raise TooManyJobsError(f"{waiting} jobs wait already", "Come again later, or raise service.pending.")

    def _put(self, record: JobRecord) -> None:
        """Into its queue; where that does not answer, whoever recovers will do it."""
        try:
            self.queues.put(record.queue, record.id)
        except QueueError as error:
            self.bench.context.progress.note(f"job {record.id} waits for its queue: {error}")
        self.woken()

    def _ask(self, job_id: str, stop: bool | None = None, pause: bool | None = None, checkpoint: bool = False) -> Job:
        record = self._record(job_id)
        if not record.open:
            raise JobError(f"job {job_id} has ended: {record.exit or record.state}", "Only an open job can be asked.")
        asked = JobFolder(self.home, job_id).ask(stop, pause, checkpoint)
        if self.queues.shared:
            leave(self.runs, job_id, asked)
        return self._job(record)

    def _tell(self, job_id: str, values: Mapping[str, str]) -> None:
        """Tell whoever listens to a job that nobody works on; its lock must be held."""
        with suppress(StorageError):  # what becomes of the job does not depend on it
            JobFolder(self.home, job_id).append("state", values)

    @contextmanager
    def _alone(self, job_id: str) -> Iterator[JobRecord | None]:
        """The job's record while nobody works on it here or elsewhere; ``None`` where somebody does."""
        self._record(job_id)
        with held(job_lock(self.home, job_id), 1.0) as got:
            record = self._record(job_id) if got else None
            try:
                if record is not None:
                    self.runs.check_dead(record)
            except ClaimError:
                record = None
            yield record

    def _record(self, job_id: str) -> JobRecord:
        record = self.runs.get(job_id)
        if record is None:
            raise UnknownJobError(f"there is no job {job_id[:40]!r}", "GET /api/v1/jobs or `tsad jobs` lists them.")
        return record

    def _job(self, record: JobRecord, whole: bool = True) -> Job:
        return job_of(self.runs, self.home, record, whole)
