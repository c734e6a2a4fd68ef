"""What was lost is found again: jobs whose process or service was killed, at the start and every few seconds.

A job is lost where MLflow has it as pending or running, no process works on it and no queue holds it. It goes back into
its queue, so many times; then it has failed. Several services may look at once: each job is settled under its lock, and
an id that is queued twice is dropped the second time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import ClaimError, TsadError
from tsad.files.atomic import write_file
from tsad.jobs.folder import JobFolder
from tsad.jobs.job import STOPPED_WORDS
from tsad.jobs.locks import held, job_lock, worked_on
from tsad.jobs.process import ATTEMPT, end_leftovers, killed_words
from tsad.jobs.working import INTERRUPTED, finish_answered, keep_files

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard
    from tsad.tracking.jobs import JobRecord

Ending = tuple[str, str, dict[str, str] | None]  # state, in words, error
DRAFT_SECONDS = 60.0  # after which a run that was not made to its end is left over from a kill
TAIL = 64 * 1024  # bytes of a log in which the last word is looked for
OUTAGES = ("TrackingError", "StorageError", "QueueError")  # errors that may be over when the job is begun again


@dataclass(frozen=True)
class Exit:
    """How a job's process ended.

    Attributes:
        code: as :attr:`subprocess.Popen.returncode` has it. before: attempts at the job when the process was started.
        starts: how often such a process ended before it began the job.
    """

    code: int
    before: int
    starts: int = 0

    def about(self, record: JobRecord) -> bool:
        """Whether it says something about the job still: a process that began its attempt and closed it has said all
        itself, and the job may have been begun again since."""
        return record.attempt == self.before or not record.closed

    @property
    def signal(self) -> int:
        """That killed it; 0 = none."""
        return max(0, -self.code)


def recover(board: JobBoard) -> list[str]:
    """Look at every job that has not ended, and put the lost ones back; returns the ids of these.

    Raises:
        TsadError: the store or the queue does not answer.
    """
    records, drafts = board.runs.unended()
    _clear(board, drafts)
    waiting = {queue: set(board.queues.waiting(queue)) for queue in {r.queue for r in records if r.open}}
    back = []
    for record in records:
        if not record.open:
            board.runs.follow(record)  # its process was killed between the two
        elif record.state == "pending" and record.id in waiting[record.queue]:
            continue
        elif not in_hand(board, record.id) and _idle(board, record) and settle(board, record.id):
            back.append(record.id)
    return back


def settle(board: JobBoard, job_id: str, ended: Exit | None = None) -> bool:
    """Decide what becomes of a job that nobody works on: ended, or back into its queue, of which it tells.

    Args:
        ended: how its process did; ``None`` = nobody watched it.
    """
    runs, folder = board.runs, JobFolder(board.home, job_id)
    with held(job_lock(board.home, job_id), 1.0) as alone:
        record = runs.get(job_id) if alone else None
        if record is None or not record.open or not _dead(board, record) or finish_answered(runs, folder, record):
            return False
        ended = ended if ended is not None and ended.about(record) else None
        how = _ending(board, folder, record, ended)
        if how is not None:
            _end(board, folder, record, how)
            return False
        if record.claim is not None and not record.closed:
            words = killed_words(ended.signal) if ended is not None and ended.signal else "killed"
            folder.append("state", {"state": "pending", "exit": words})
            runs.wait(record, f"{words}; it is begun again", record.forgiven)
    if record.id in board.queues.waiting(record.queue):
        return False
    board.queues.put(record.queue, record.id)
    board.woken()
    return True


def _ending(board: JobBoard, folder: JobFolder, record: JobRecord, ended: Exit | None) -> Ending | None:
    """How a job ends that nobody works on; ``None`` = it is begun again."""
    if folder.asked().stop:
        return "stopped", STOPPED_WORDS, None
    if ended is not None and ended.code >= 0 and ended.code != INTERRUPTED:
        error, at_work = last_word(folder), record.attempt > ended.before
        if at_work or error["code"] not in OUTAGES or ended.starts >= board.bench.service.attempts:
            return "failed", error["message"], error
        return None
    died = record.claim is not None and not record.closed
    begun = max(record.begun if died else 0, ended.starts if ended is not None else 0)
    if begun < board.bench.service.attempts:
        return None
    words = killed_words(ended.signal) if ended is not None and ended.signal else "was killed"
    if begun > 1:
        words = f"was killed {begun} times" + (f" (signal {ended.signal})" if ended and ended.signal else "")
    return "failed", words, {"code": "Killed", "message": words, "remedy": "See its log and the system's; retry it."}


def in_hand(board: JobBoard, job_id: str) -> bool:
    """Whether a dispatcher of this host that lives has taken the job, whose process may just be starting."""
    from tsad.tracking.claims import process_lives

    try:
        return process_lives(_taken(board, job_id).read_text())
    except OSError:
        return False


@contextmanager
def taking(board: JobBoard, job_id: str) -> Iterator[None]:
    """The job is in this process's hand while the block runs."""
    from tsad.tracking.claims import this_process

    path = _taken(board, job_id)
    write_file(path, this_process().encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _taken(board: JobBoard, job_id: str) -> Path:
    return JobFolder(board.home, job_id).path / "taken"


def last_word(folder: JobFolder) -> dict[str, str]:
    """What a process that ended before it began the job said last, as an error."""
    lines: list[str] = []
    with suppress(OSError), folder.log.open("rb") as log:
        log.seek(max(0, folder.log.stat().st_size - TAIL))
        lines = log.read().decode(errors="replace").splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    lines = lines[begins[-1] + 1 :] if begins else lines  # an earlier attempt's words are not this one's
    for line in reversed(lines):
        told: Any = None
        with suppress(ValueError):
            told = json.loads(line)
        if isinstance(told, dict) and {"error", "found"} <= set(told):
            return {"code": str(told["error"]), "message": str(told["found"]), "remedy": str(told.get("remedy", ""))}
    said = next((line for line in reversed(lines) if line.strip()), "nothing")
    return {"code": "Ended", "message": f"its process ended and said: {said[:500]}", "remedy": "See its log."}


def _idle(board: JobBoard, record: JobRecord) -> bool:
    """Whether no process of this host works on it; helpers of one that was killed go first, for they hold its lock."""
    if record.claim is not None and record.claim.place == board.runs.place and not record.closed:
        end_leftovers(record.process)
    return not worked_on(board.home, record.id)


def _dead(board: JobBoard, record: JobRecord) -> bool:
    """Whether no other host works on it; this one's lock is held."""
    try:
        board.runs.check_dead(record)
    except ClaimError:
        return False
    return True


def _end(board: JobBoard, folder: JobFolder, record: JobRecord, how: Ending) -> None:
    state, reason, error = how
    with suppress(TsadError):  # the job's end does not depend on what watches it
        folder.append("state", {"state": state, "exit": reason})
    keep_files(board.runs, folder, record.id)
    board.runs.end(record.id, state, reason[:500], error)


def _clear(board: JobBoard, drafts: list[str]) -> None:
    """Delete runs that were not made to their end: nobody was ever told of them."""
    for run_id in drafts:
        born = board.runs.store.client.get_run(run_id).info.start_time / 1000
        if time.time() - born > DRAFT_SECONDS:
            board.runs.delete(run_id)
