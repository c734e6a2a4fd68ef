"""Jobs that wait for a GPU which nobody has any more: the machine lost it, or its services see fewer of them now."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tsad.jobs.devices import CPU, gpu_queue
from tsad.jobs.locks import held, job_lock
from tsad.jobs.recovery import in_hand

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard
    from tsad.tracking.jobs import JobRecord

SECONDS = 60.0  # for which nobody has worked on anything of a queue: another service, which sees other GPUs, would have


class Stranded:
    """What waits in queues of no place here."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board
        self._since: dict[str, float] = {}  # when a queue was first seen to be nobody's; monotonic

    def rescue(self, now: float) -> list[str]:
        """Put such jobs into a queue of this host; where other hosts take from the queues, say what they wait for.

        Args:
            now: monotonic.

        Returns:
            Ids of the jobs that were moved.

        Raises:
            TsadError: the store or the queue does not answer.
        """
        records = [record for record in self._board.runs.unended()[0] if record.open]
        late, moved = self._nobodys(records, now), []
        busy = [record.queue for record in records]
        for record in (record for record in records if record.queue in late):
            if self._board.queues.shared:
                self._say(record)
            elif self._moved(record, queue := self._board.least_busy(busy)):
                busy.append(queue)
                moved.append(record.id)
        return moved

    def _nobodys(self, records: list[JobRecord], now: float) -> set[str]:
        own = {CPU, *(gpu_queue(number) for number in range(len(self._board.gpus)))}
        served = {r.queue for r in records if r.state != "pending" or in_hand(self._board, r.id)}
        queues = {record.queue for record in records} - own - served
        self._since = {queue: self._since.get(queue, now) for queue in queues}
        return {queue for queue, since in self._since.items() if now - since >= SECONDS}

    def _say(self, record: JobRecord) -> None:
        words = f"waits for {record.queue}, which {socket.gethostname()} has not and nobody works on"
        if not record.exit:
            self._board.runs.say(record.id, {"exit": words})

    def _moved(self, record: JobRecord, queue: str) -> bool:
        """Its id stays in the old queue, too: an id that is queued twice is dropped the second time."""
        with held(job_lock(self._board.home, record.id)) as alone:
            now = self._board.runs.get(record.id) if alone else None
            if now is None or now.state != "pending" or now.queue != record.queue:
                return False
            self._board.runs.move(record.id, queue)
        self._board.queues.put(queue, record.id)
        self._board.woken()
        return True
