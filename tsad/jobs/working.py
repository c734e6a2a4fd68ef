"""The process of a job: it claims the job, works under its Progress and Control, and writes down how it ended.

Nobody else ends a job while its process lives, so a job goes on when the service that started it is gone. Its lock is
freed by the kernel when the process dies; that it is dead then says so to whoever recovers.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.control import StopRequested, Switch
from tsad.core.environment import taken
from tsad.core.errors import ClaimError, TsadError
from tsad.core.results import Result
from tsad.files.atomic import write_file
from tsad.jobs.courier import carrying, fetch
from tsad.jobs.folder import Asked, JobFolder, Progressing, ProgressPart
from tsad.jobs.job import PEOPLE_WORDS, STOPPED_WORDS, SUCCEEDED_WORDS
from tsad.jobs.listening import JobListener
from tsad.jobs.locks import held, job_lock, slot_lock
from tsad.jobs.logs import logged

if TYPE_CHECKING:
    from tsad.config.checked import Settings
    from tsad.core.protocols import Progress
    from tsad.tracking.jobs import JobRecord, JobRuns

VARIABLE, SLOT_VARIABLE, SHARED_VARIABLE = "TSAD_JOB", "TSAD_JOB_SLOT", "TSAD_JOB_SHARED"
BUSY = 75  # exit code: it was not this process's to do, somebody else works on it or it has ended
INTERRUPTED = 130  # exit code: a signal from elsewhere, or a request, ended it
LOCK_SECONDS = 10.0  # whoever only looks at a job holds its lock for an instant
SLOT_SECONDS = 24 * 3600.0
LOOK_SECONDS = 0.2  # between two looks at what the job was asked
TELL_SECONDS = 0.5  # between two words on how far it is
OUTCOME = "outcome.json"  # how the job ended, written before its answer


class NotOurs(SystemExit):
    """The job is not this process's to do."""

    def __init__(self) -> None:
        super().__init__(BUSY)


@dataclass(frozen=True)
class JobCall:
    """What the service tells a process that it starts for a job, by its environment.

    Attributes:
        id: of the job. slot: whose lock it holds; "" = it has none.
        words: of the command line, where the process learns them later than it starts.
        shared: whether other hosts may ask something of it; the queue's address, which may hold a password, is not
            told.
    """

    id: str
    slot: str
    words: tuple[str, ...] | None = None
    shared: bool = False

    @classmethod
    def of_process(cls) -> JobCall | None:
        """The job that this process is for, once: processes that it starts itself are for none."""
        job_id, slot, shared = taken(VARIABLE), taken(SLOT_VARIABLE), bool(taken(SHARED_VARIABLE))
        return cls(job_id, slot, shared=shared) if job_id else None

    def environment(self) -> dict[str, str]:
        """The same as variables, without the words."""
        return {VARIABLE: self.id, SLOT_VARIABLE: self.slot, SHARED_VARIABLE: "1" if self.shared else ""}


class JobAtWork:
    """A job while its process works on it; safe to use from several threads.

    Attributes:
        id: of the job; "" = this call is none.
        progress, control, listener: of the call's context.
    """

    def __init__(self, progress: Progress, control: Switch, job_id: str = "", folder: JobFolder | None = None) -> None:
        self.id, self.progress, self.control = job_id, progress, control
        self._folder, self._telling = folder, threading.Lock()
        self.listener = JobListener(self.tell) if folder is not None else None

    def tell(self, kind: str, values: Mapping[str, Any]) -> None:
        """Tell an event to whoever watches; a full disk is no reason to end the work."""
        if self._folder is not None:
            with self._telling, suppress(TsadError):
                self._folder.append(kind, values)

    def answered(self, result: Result) -> None:
        """Keep what the verb answered: from now on the job is done, whatever becomes of this process."""
        if self._folder is not None:
            words = PEOPLE_WORDS if result.people_have_to_act else SUCCEEDED_WORDS
            write_file(self._folder.path / OUTCOME, json.dumps({"exit": words}).encode())
            text = json.dumps(result.to_json(), ensure_ascii=False, allow_nan=False)
            write_file(self._folder.answer, text.encode())


@contextmanager
def working(call: JobCall | None, checked: Settings, progress: Progress, control: Switch) -> Iterator[JobAtWork]:
    """Work on the job while the block runs; of a call that is no job nothing is done.

    Raises:
        NotOurs: it has ended, or somebody else works on it.
    """
    if call is None:
        yield JobAtWork(progress, control)
        return
    from tsad.tracking.jobs import JobRuns
    from tsad.tracking.store import open_store

    with ExitStack() as locks:
        _hold(locks, checked.home, call)
        runs, folder = JobRuns(open_store(checked.tracking, checked.home)), JobFolder(checked.home, call.id)
        record = _ours(runs, folder, call.id)
        try:
            claim = locks.enter_context(runs.claimed(record))
        except ClaimError as error:
            raise NotOurs from error
        record = replace(record, attempt=record.attempt + 1, claim=claim, closed=False)
        at_work = JobAtWork(progress, control, call.id, folder)
        locks.enter_context(logged(checked.home, checked.service, call.id, checked.loop.name))
        at_work.progress = JobProgress(progress, folder, at_work.tell)
        at_work.control = JobControl(control, folder, lambda state: _turned(runs, record, at_work, state))
        locks.enter_context(carrying(runs, folder, call.id, call.shared))
        yield from _worked(runs, record, at_work, folder)


def _hold(locks: ExitStack, home: Path, call: JobCall) -> None:
    """The slot's lock, then the job's."""
    if call.slot and not locks.enter_context(held(slot_lock(home, call.slot), SLOT_SECONDS)):
        raise NotOurs
    if not locks.enter_context(held(job_lock(home, call.id), LOCK_SECONDS)):
        raise NotOurs


def _ours(runs: JobRuns, folder: JobFolder, job_id: str) -> JobRecord:
    """The record of the job, where there is something to do still."""
    record = runs.get(job_id)
    if record is None or not record.open:
        raise NotOurs
    if finish_answered(runs, folder, record):
        raise NotOurs
    fetch(runs, folder, record)
    if folder.asked().stop:
        with suppress(TsadError):
            folder.append("state", {"state": "stopped", "exit": STOPPED_WORDS})
        runs.end(job_id, "stopped", STOPPED_WORDS)
        raise NotOurs
    return record


def finish_answered(runs: JobRuns, folder: JobFolder, record: JobRecord) -> bool:
    """End a job whose process was killed after it had answered; tells whether it was so. Its lock must be held."""
    if not folder.answer.is_file():
        return False
    told = json.loads((folder.path / OUTCOME).read_bytes())
    keep_files(runs, folder, record.id)
    runs.end(record.id, "succeeded", str(told["exit"]))
    return True


def keep_files(runs: JobRuns, folder: JobFolder, job_id: str) -> None:
    """Answer, log and events as artifacts of the job's run; the job's end does not depend on it."""
    for file in (folder.answer, folder.log, folder.events_file):
        with suppress(TsadError):
            runs.keep(job_id, file)


def _worked(runs: JobRuns, record: JobRecord, at_work: JobAtWork, folder: JobFolder) -> Iterator[JobAtWork]:
    """Body of a context manager: the job begun, and ended as its block ends."""
    from tsad.tracking.claims import this_process

    runs.begin(record.id, this_process())
    at_work.tell("state", {"state": "running", "attempt": record.attempt})
    try:
        yield at_work
    except KeyboardInterrupt:
        _interrupted(runs, record, at_work, folder)
        raise
    except Exception as error:
        if not isinstance(error, TsadError):
            traceback.print_exc()  # into the job's log: nobody else sees it
        asked = folder.asked().stop  # what it was doing may have failed by the stop itself
        how = ("stopped", STOPPED_WORDS, None) if asked else ("failed", str(error), error_of(error))
        _end(runs, record, at_work, folder, how)
        raise
    said = json.loads((folder.path / OUTCOME).read_bytes())["exit"]
    _end(runs, record, at_work, folder, ("succeeded", said, None))


def _end(
    runs: JobRuns, record: JobRecord, at_work: JobAtWork, folder: JobFolder,
    how: tuple[str, str, Mapping[str, str] | None],
) -> None:  # fmt: skip
    """End the job, but for an attempt that lost its lease: the job is that of another process then."""
    state, reason, error = how
    if not runs.holds(record):
        return
    at_work.tell("state", {"state": state, "exit": reason})
    keep_files(runs, folder, record.id)
    runs.end(record.id, state, reason[:500], error, record.claim.token if record.claim else "")


def _interrupted(runs: JobRuns, record: JobRecord, at_work: JobAtWork, folder: JobFolder) -> None:
    """Stopped because it was asked to; or by a signal from elsewhere, as when the machine goes down: then it waits to
    be begun again, and that attempt does not count."""
    if folder.asked().stop:
        _end(runs, record, at_work, folder, ("stopped", STOPPED_WORDS, None))
    elif runs.holds(record):
        at_work.tell("state", {"state": "pending", "exit": "interrupted"})
        runs.wait(record, "interrupted; it goes on", record.forgiven + 1)


def _turned(runs: JobRuns, record: JobRecord, at_work: JobAtWork, state: str) -> None:
    """It pauses, or goes on; the store's outage is no reason to end the work."""
    at_work.tell("state", {"state": state})
    with suppress(TsadError):
        if runs.holds(record):
            runs.turn(record.id, state)


def error_of(error: Exception) -> dict[str, str]:
    """Code, message and remedy of an error."""
    if isinstance(error, TsadError):
        return {"code": type(error).__name__, "message": error.found, "remedy": error.remedy}
    return {"code": type(error).__name__, "message": f"{type(error).__name__}: {error}", "remedy": "See the job's log."}


class JobControl(Switch):
    """The :class:`~tsad.core.protocols.Control` of a job: signals of its process, and what its folder asks.

    Args:
        signals: what Ctrl-C and SIGTERM reach. turned: told of a pause and of its end.
    """

    def __init__(self, signals: Switch, folder: JobFolder, turned: Callable[[str], None]) -> None:
        super().__init__()
        self._signals, self._folder, self._turned = signals, folder, turned
        self._looked, self._checkpoints, self._looking = 0.0, folder.asked().checkpoints, threading.Lock()
        self._asked = Asked()  # at the last look, whoever took it

    def safe_point(self) -> None:
        """See :class:`~tsad.core.protocols.Control`."""
        self._signals.safe_point()
        known = time.monotonic() - self._looked < LOOK_SECONDS
        if known and not (self._asked.stop or self._asked.pause):
            return
        with self._looking:
            asked = self._look()
            if asked.pause and not asked.stop:
                self._turned("paused")
                while asked.pause and not asked.stop:
                    time.sleep(LOOK_SECONDS)
                    self._signals.safe_point()
                    asked = self._look()
                self._turned("running")
        if asked.stop:
            raise StopRequested
        super().safe_point()

    def checkpoint_asked(self) -> bool:
        """See :class:`~tsad.core.protocols.Control`."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            with self._looking:
                self._look()
        return super().checkpoint_asked()

    def _look(self) -> Asked:
        asked = self._asked = self._folder.asked()
        if asked.checkpoints > self._checkpoints:
            self._checkpoints = asked.checkpoints
            self.checkpoint()
        self._looked = time.monotonic()
        return asked


class JobProgress:
    """The :class:`~tsad.core.protocols.Progress` of a job: into its folder, and into its log as the terminal has it."""

    def __init__(self, log: Progress, folder: JobFolder, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._log, self._folder, self._tell = log, folder, tell
        self._parts: list[_Doing] = []
        self._told, self._lock = 0.0, threading.RLock()

    @contextmanager
    def task(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """See :class:`~tsad.core.protocols.Progress`."""
        part = _Doing(name, total, done, done, time.monotonic())
        with self._logged(name, total, done) as shown:

            def reached(count: int) -> None:
                part.count = count
                shown(count)
                self._say()

            with self._lock:
                self._parts.append(part)
            self._say(now=True)
            try:
                yield reached
            finally:
                with self._lock:
                    self._parts.remove(part)
                self._say(now=True)

    def note(self, text: str) -> None:
        """See :class:`~tsad.core.protocols.Progress`."""
        self._log.note(text)
        self._tell("note", {"text": text})

    def _logged(self, name: str, total: int | None, done: int) -> AbstractContextManager[Callable[[int], None]]:
        return self._log.task(name, total, done)

    def _say(self, now: bool = False) -> None:
        if not now and time.monotonic() - self._told < TELL_SECONDS:
            return
        with self._lock:
            self._told = time.monotonic()
            parts = tuple(ProgressPart(part.name, part.total, part.count) for part in self._parts)
            rate, left = self._parts[-1].speed() if self._parts else (None, None)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            progress = Progressing(at, parts, rate, left)
            with suppress(TsadError):
                self._folder.write_progress(progress)
        if parts:
            self._tell("progress", progress.to_json())


@dataclass
class _Doing:
    """A part of the work while it goes on."""

    name: str
    total: int | None
    first: int
    count: int
    begun: float

    def speed(self) -> tuple[float | None, float | None]:
        """Items per second, and seconds left, where they can be told."""
        rate = (self.count - self.first) / max(time.monotonic() - self.begun, 1e-9)
        if rate <= 0:
            return None, None
        return rate, (self.total - self.count) / rate if self.total else None
