"""Dispatchers: threads that take ids from the queues and have a process of its own work on each job.

One thread for each slot: a GPU, or one of ``service.cpu_jobs``. A slot's lock belongs to the process of its job, so two
services of one host share the slots, and a job that outlived its service keeps its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tsad.core.errors import TsadError
from tsad.jobs.devices import CPU, gpu_queue
from tsad.jobs.folder import JobFolder
from tsad.jobs.locks import held, slot_lock, worked_on
from tsad.jobs.process import Slot, Starter, ask_to_end, end_group
from tsad.jobs.recovery import Exit, recover, settle, taking
from tsad.jobs.schedules import Timetable
from tsad.jobs.stranded import Stranded
from tsad.jobs.working import BUSY, INTERRUPTED

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard
    from tsad.tracking.jobs import JobRecord

LOOK_SECONDS = 0.2  # between two looks into a queue, or at a process
RECOVER_SECONDS = 5.0
OUTAGE_SECONDS = 5.0  # before the store or the queue is asked again


class Dispatcher:
    """Has the jobs of a store worked on, on this host.

    Attributes:
        problem: why nothing is begun now; "" = all is well.
    """

    def __init__(self, board: JobBoard) -> None:
        self._board, self._stop, self._work = board, threading.Event(), threading.Event()
        self._hurried: dict[str, float] = {}  # jobs that were asked to stop, and since when
        self._signalled: set[str] = set()  # those of them that got SIGTERM: a second one would end them at once
        self._starter = Starter(board.home, board.bench.service.spare, board.queues.shared)
        self._starts: dict[str, int] = {}  # of jobs whose process ended before it began them
        self._stranded = Stranded(board)
        self._working: set[str] = set()  # jobs that go on when the dispatcher ends
        self.problem = ""
        board.woken = self._work.set

    @property
    def slots(self) -> list[Slot]:
        """The places that jobs of this host have."""
        cpu = [Slot(CPU, number, "") for number in range(self._board.bench.service.cpu_jobs)]
        return [*cpu, *(Slot(gpu_queue(number), 0, name) for number, name in enumerate(self._board.gpus))]

    @contextmanager
    def dispatching(self) -> Iterator[None]:
        """Begin jobs while the block runs; those that go on at its end go on by themselves."""
        names = [slot.name for slot in self.slots]
        threads = [threading.Thread(target=self._serve, args=(slot,), name=f"tsad-{slot.name}") for slot in self.slots]
        threads.append(threading.Thread(target=self._mend, name="tsad-recovery"))
        timetable = Timetable(self._board, datetime.now(UTC))
        threads.append(threading.Thread(target=timetable.follow, args=(self._stop,), name="tsad-schedules"))
        self._board.bench.context.progress.note(f"jobs: {', '.join(names) or 'none are begun here'}")
        for thread in threads:
            thread.daemon = True
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._work.set()
            for thread in threads:
                thread.join(10)
            self._starter.close()
            if self._working:
                told = ", ".join(sorted(self._working))
                self._board.bench.context.progress.note(f"jobs go on without the service: {told}")

    # --- slots ----------------------------------------------------------------------------------------------

    def _serve(self, slot: Slot) -> None:
        """Take one job after the other while the slot is free."""
        while not self._stop.is_set():
            try:
                some = not self._board.queues.empty(slot.queue) and self._free(slot)
                job_id = self._board.queues.take(slot.queue) if some else None
                if job_id is None:
                    self._work.wait(LOOK_SECONDS)
                    self._work.clear()
                    continue
                self._well()
                with taking(self._board, job_id):
                    self._run(job_id, slot)
            except Exception as error:  # an outage must not end the thread: what was lost by it is found again
                self._unwell(error)
                self._stop.wait(OUTAGE_SECONDS)

    def _free(self, slot: Slot) -> bool:
        with held(slot_lock(self._board.home, slot.name)) as got:
            return got

    def _run(self, job_id: str, slot: Slot) -> None:
        """Have a process work on the job, and wait for its end."""
        record = self._board.runs.get(job_id)
        if record is None or not record.open or worked_on(self._board.home, job_id):
            return
        if JobFolder(self._board.home, job_id).asked().stop:
            settle(self._board, job_id)
            return
        process = self._starter.start(record, self._words(record), slot)
        while process.poll() is None:
            if self._stop.wait(LOOK_SECONDS):
                self._working.add(job_id)  # it goes on by itself, and so does its lock
                return
        self._ended(record, process.returncode)

    def _words(self, record: JobRecord) -> list[str]:
        """The command line of a job: as it was submitted, where this service keeps its record, and how its log."""
        own = [word for word in self._board.bench.overrides if word.partition("=")[0].split(".")[0] == "tracking"]
        service = self._board.bench.service
        own += [f"service.log_mb={service.log_mb}", f"service.logs={service.logs}"]
        return [record.verb, *self._board.runs.overrides(record), *own]

    def _ended(self, before: JobRecord, code: int) -> None:
        """What its process has not said itself: that it was killed, or could not begin."""
        if code == BUSY:
            return
        starts = self._starts.get(before.id, 0) + (code != INTERRUPTED)
        if settle(self._board, before.id, Exit(code, before.attempt, starts)):
            self._starts[before.id] = starts
        else:
            self._starts.pop(before.id, None)

    # --- recovery -------------------------------------------------------------------------------------------

    def _mend(self) -> None:
        """Find what was lost, and end what does not stop, now and every few seconds."""
        while True:
            try:
                for job_id in recover(self._board):
                    self._board.bench.context.progress.note(f"job {job_id} was lost and waits again")
                for job_id in self._stranded.rescue(time.monotonic()):
                    self._board.bench.context.progress.note(f"job {job_id} waited for a GPU that is gone, and is moved")
                self._hurry()
                self._starter.prepare()
                self._well()
            except Exception as error:
                self._unwell(error)
            if self._stop.wait(RECOVER_SECONDS):
                return

    def _hurry(self) -> None:
        """End the processes of this host that were asked to stop and did not: SIGTERM once, then SIGKILL to all."""
        patience, now = self._board.bench.service.stop_seconds, time.monotonic()
        runs = self._board.runs
        here = [record for record in runs.unended()[0] if record.claim is not None and record.claim.place == runs.place]
        running = [record for record in here if record.state in ("running", "paused")]
        asked = {r.id: r for r in running if JobFolder(self._board.home, r.id).asked().stop}
        self._hurried = {job_id: since for job_id, since in self._hurried.items() if job_id in asked}
        self._signalled &= set(asked)
        for job_id, record in asked.items():
            waited = now - self._hurried.setdefault(job_id, now)
            if waited >= 2 * patience:
                end_group(record.process)
            elif waited >= patience and job_id not in self._signalled:
                self._signalled.add(job_id)
                ask_to_end(record.process)

    def _unwell(self, error: Exception) -> None:
        text = str(error) if isinstance(error, TsadError) else f"{type(error).__name__}: {error}"
        if text != self.problem:
            self.problem = text
            self._board.bench.context.progress.note(f"jobs are not begun now: {text}")

    def _well(self) -> None:
        self.problem = ""
