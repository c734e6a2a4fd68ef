"""A job as it is answered: what its run says, and how far it is where it is worked on."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.results import Result
from tsad.jobs.courier import PROGRESS
from tsad.jobs.folder import JobFolder, Progressing

if TYPE_CHECKING:
    from tsad.tracking.jobs import JobRecord, JobRuns

SUCCEEDED_WORDS, PEOPLE_WORDS = "succeeded", "people have to review first"
STOPPED_WORDS = "stopped by request"


@dataclass(frozen=True, eq=False)
class Job(Result):
    """A verb that the service runs.

    Attributes:
        state: ``pending``, ``running``, ``paused``, ``succeeded``, ``failed`` or ``stopped``.
        queue: ``cpu``, or of a GPU, e.g. ``gpu0``.
        attempt: how often it was begun.
        created, started, ended: ISO 8601, UTC; ``None`` = not yet. seconds: of the newest attempt, so far.
        exit: how it ended, in words; of a job that waits again why.
        answer: what the verb answered; ``None`` where it did not, and in lists.
        error: ``code``, ``message``, ``remedy``.
        host: that works on it or did; "" = none yet.
        asked: what was asked of it and has not happened yet: ``stop`` or ``pause``; "" = nothing.
        url: of its run in MLflow; "" where no server shows it.
    """

    id: str
    verb: str
    overrides: tuple[str, ...]
    loop: str
    state: str
    queue: str
    attempt: int
    created: str
    started: str | None
    ended: str | None
    seconds: float | None
    exit: str
    answer: Mapping[str, Any] | None
    error: Mapping[str, str] | None
    host: str
    asked: str
    progress: Progressing | None
    url: str


def job_of(runs: JobRuns, home: Path, record: JobRecord, whole: bool = True) -> Job:
    """The job of a record.

    Args:
        whole: with its answer.
    """
    folder = JobFolder(home, record.id)
    asked = folder.asked() if record.open else None
    word = "stop" if asked and asked.stop else "pause" if asked and asked.pause and record.state != "paused" else ""
    host = record.claim.host if record.claim else ""
    return Job(
        id=record.id, verb=record.verb, overrides=tuple(runs.overrides(record)), loop=record.loop, state=record.state,
        queue=record.queue, attempt=record.attempt, created=_time(record.created) or "", started=_time(record.started),
        ended=_time(record.ended), seconds=_seconds(record), exit=record.exit,
        answer=_answer(runs, folder, record) if whole else None, error=record.error, host=host, asked=word,
        progress=_progress(folder, record, host), url=_url(runs, record),
    )  # fmt: skip


def _progress(folder: JobFolder, record: JobRecord, host: str) -> Progressing | None:
    """How far it is, told by the attempt that goes on."""
    if record.state not in ("running", "paused"):
        return None
    if host == socket.gethostname() or not record.tags.get(PROGRESS):
        return folder.progress()
    with suppress(ValueError, TypeError):  # cut where a tag ends
        return Progressing.from_json(json.loads(record.tags[PROGRESS]))
    return None


def _answer(runs: JobRuns, folder: JobFolder, record: JobRecord) -> Mapping[str, Any] | None:
    if record.state != "succeeded":
        return None
    text = folder.answer.read_text(encoding="utf-8") if folder.answer.is_file() else None
    text = text if text is not None else runs.kept(record.id, folder.answer.name)
    answer: Mapping[str, Any] | None = json.loads(text) if text else None
    return answer


def _seconds(record: JobRecord) -> float | None:
    if record.started is None or record.state == "pending":
        return None
    end = record.ended if record.ended is not None else datetime.now(UTC).timestamp() * 1000
    return max(0.0, (end - record.started) / 1000)


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _url(runs: JobRuns, record: JobRecord) -> str:
    if not runs.store.is_server:
        return ""
    return f"{runs.store.uri.rstrip('/')}/#/experiments/{runs.experiment_id}/runs/{record.id}"
