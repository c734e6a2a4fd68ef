"""Jobs by the clock: each minute what is due is submitted, under a key of that minute, so that of several services one
submits it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tsad.core.errors import QueueError, StorageError, TooManyJobsError, TrackingError, TsadError
from tsad.core.options.service import Schedule, due_at
from tsad.files.hashing import digest_of_parts

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard

log = logging.getLogger("tsad")

MINUTE = timedelta(minutes=1)
LATE = 5 * MINUTE  # minutes that passed unseen (a busy or sleeping machine) and are still made up for
OVER_SOON = (TrackingError, QueueError, StorageError, TooManyJobsError)  # what was due then is tried again


class Timetable:
    """The schedules of a service: what is due between one look and the next."""

    def __init__(self, board: JobBoard, since: datetime) -> None:
        self._board, self._seen = board, _whole(since)
        self._told: set[str] = set()
        self._hindered = False  # by an outage, at this look

    def follow(self, stop: threading.Event) -> None:
        """Submit what is due, minute by minute, until told to stop."""
        while self._board.bench.service.schedules:
            now = datetime.now(UTC)
            if stop.wait((_whole(now) + MINUTE - now).total_seconds()):
                return
            try:
                self.submit_due(datetime.now(UTC))
            except Exception:  # the clock goes on: tomorrow's jobs do not depend on what is wrong today
                log.exception("what is due by the clock was not looked at")

    def submit_due(self, now: datetime) -> list[str]:
        """Submit what became due since the last look; returns the ids of the jobs.

        What an outage hindered is due at the next look, too. A clock that was set back submits nothing twice: the keys
        of its minutes are known.
        """
        minute = max(min(self._seen, _whole(now)), _whole(now) - LATE)
        ids, self._hindered = [], False
        seen = minute
        while minute < _whole(now):
            minute += MINUTE
            due = [one for one in self._board.bench.service.schedules if due_at(one.cron, minute)]
            ids += [job for one in due if (job := self._submitted(one, minute))]
            seen = seen if self._hindered else minute
        self._seen = min(seen, _whole(now))
        return ids

    def _submitted(self, schedule: Schedule, minute: datetime) -> str:
        key = digest_of_parts("schedule", schedule.cron, schedule.verb, *schedule.overrides, minute.isoformat())
        try:
            submitted = self._board.submit(schedule.verb, schedule.overrides, key)
        except TsadError as error:  # the clock goes on; what is wrong with a schedule is said once
            self._hindered |= isinstance(error, OVER_SOON)
            told = f"the schedule {schedule.cron} {schedule.verb} was not submitted: {error}"
            if told not in self._told:
                self._told.add(told)
                self._board.bench.context.progress.note(told)
            return ""
        return submitted.job.id


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
