"""``tsad jobs``: what the service's jobs are, and what can be done with them from a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.jobs.board import JobBoard
from tsad.jobs.job import Job
from tsad.verbs.asking import Asking
from tsad.verbs.console import Console
from tsad.verbs.tables import seconds_text


class JobsKeys(Options):
    """Own keys of ``tsad jobs``; see ``conf/task/jobs.yaml``."""

    action: Literal["list", "show", "log", "submit", "stop", "pause", "resume", "checkpoint", "retry", "delete"]
    id: str | None
    verb: str | None
    overrides: list[str]
    state: Literal["pending", "running", "paused", "succeeded", "failed", "stopped"] | None
    of_loop: str | None
    limit: int = Field(ge=1)


keys_model = JobsKeys


@dataclass(frozen=True, eq=False)
class JobList(Result):
    """Jobs, newest first; ``total`` = how many there are in all."""

    jobs: tuple[Job, ...]
    total: int


@dataclass(frozen=True, eq=False)
class JobLog(Result):
    """What a job's process said."""

    id: str
    text: str


@dataclass(frozen=True, eq=False)
class JobDone(Result):
    """What was done with a job; ``job`` as it stands then, ``None`` = it is deleted."""

    action: str
    id: str
    job: Job | None


def run(bench: Workbench, keys: JobsKeys, console: Console) -> JobList | JobLog | JobDone:
    """List jobs, show one or its log, submit one, stop it, begin it again; a service has to run to work on them.

    Raises:
        ConfigError: a key that the action needs is missing, or what is submitted may not be asked of a job.
        JobError: the job is not in the state for it.
        UnknownJobError: no job has that id.
    """
    board = JobBoard(bench, Asking())
    try:
        return _done(board, keys, console)
    finally:
        board.close()


def _done(board: JobBoard, keys: JobsKeys, console: Console) -> JobList | JobLog | JobDone:
    if keys.action == "list":
        jobs, total = board.list(keys.state or "", keys.verb or "", keys.of_loop or "", keys.limit)
        return console.answer(JobList(tuple(jobs), total), _present_list)
    if keys.action == "submit":
        if keys.verb is None:
            raise ConfigError("verb is not set", "Give verb=train, and overrides=[...] where it takes any.")
        submitted = board.submit(keys.verb, keys.overrides)
        done = JobDone("submit" if submitted.new else "is open already", submitted.job.id, submitted.job)
        return console.answer(done, _present_done)
    if keys.id is None:
        raise ConfigError("id is not set", "Give id=..., or its first digits; `tsad jobs` lists them.")
    job_id = board.named(keys.id)
    if keys.action == "log":
        log = board.log(job_id)
        text = log if isinstance(log, str) else _read(log)
        return console.answer(JobLog(job_id, text), lambda answer, shown: shown.say(answer.text.rstrip("\n")))
    if keys.action == "delete":
        board.delete(job_id)
        return console.answer(JobDone(keys.action, job_id, None), _present_done)
    act = {
        "show": board.get, "stop": board.stop, "pause": board.pause, "resume": board.resume,
        "checkpoint": board.checkpoint, "retry": board.retry,
    }[keys.action]  # fmt: skip
    return console.answer(JobDone(keys.action, job_id, act(job_id)), _present_done)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""


def _present_list(answer: JobList, console: Console) -> None:
    console.table([_row(job) for job in answer.jobs], "jobs", spare=("overrides", "loop"))
    more = f" of {answer.total}" if answer.total > len(answer.jobs) else ""
    console.say(f"{len(answer.jobs)}{more} {'job' if answer.total == 1 else 'jobs'}" if answer.total else "no job yet")


def _row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id[:8], "verb": job.verb, "state": job.state, "loop": job.loop, "queue": job.queue,
        "created": job.created[:16].replace("T", " "), "took": seconds_text(job.seconds) if job.seconds else "",
        "exit": job.exit if job.exit != job.state else "", "overrides": " ".join(job.overrides),
    }  # fmt: skip


def _present_done(answer: JobDone, console: Console) -> None:
    if answer.job is None:
        console.say(f"job {answer.id} is deleted")
        return
    job = answer.job
    if answer.action != "show":
        asked = f", asked to {job.asked}" if job.asked else ""
        console.say(f"{answer.action}: job {job.id} ({job.verb}) is {job.state}{asked}")
        if job.state == "pending":
            console.say("a service has to run to begin it: tsad serve")
        return
    cells = {**_row(job), "id": job.id, "attempt": job.attempt, "host": job.host}
    if job.progress is not None and job.progress.parts:
        part = job.progress.parts[-1]
        cells["progress"] = f"{part.name}: {part.count}" + (f" of {part.total}" if part.total else "")
    console.table([{"key": key, "value": value} for key, value in cells.items() if value != ""], f"job {job.id[:8]}")
    if job.error is not None:
        console.say(f"{job.error['code']}: {job.error['message']}. {job.error['remedy']}")
