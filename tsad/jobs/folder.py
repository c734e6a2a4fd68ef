"""What a job's process and whoever watches it tell each other, by files: commands down; progress, events and a log up.

Each file has one writer. What is here can be lost without losing a job: its record is a run in MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tsad.core.results import Result
from tsad.files.atomic import storage, write_file

MOST_EVENTS = 10_000  # of one reading


@dataclass(frozen=True, eq=False)
class Asked(Result):
    """What a job was asked to do.

    Attributes:
        checkpoints: how often it was asked to keep its state, so that the next one is told from the one before.
    """

    stop: bool = False
    pause: bool = False
    checkpoints: int = 0


@dataclass(frozen=True, eq=False)
class ProgressPart(Result):
    """A part of the work that goes on; ``total`` is ``None`` where nobody knows how much there is."""

    name: str
    total: int | None
    count: int


@dataclass(frozen=True, eq=False)
class Progressing(Result):
    """How far a job is.

    Attributes:
        at: ISO 8601, UTC. parts: the outermost first.
        rate: items of the innermost part per second. seconds_left: of it; ``None`` = nobody knows.
    """

    at: str
    parts: tuple[ProgressPart, ...] = ()
    rate: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Event(Result):
    """Something that a job told.

    Attributes:
        id: 1, 2, ... within the job, over all its attempts. at: ISO 8601, UTC.
        kind: ``metrics``, ``note``, ``state`` or ``progress``.
    """

    id: int
    at: str
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)


class JobFolder:
    """The folder of one job, made when something is written.

    Args:
        home: the store's folder. job_id: of the job's run.
    """

    def __init__(self, home: Path, job_id: str) -> None:
        if not job_id.isalnum():
            raise ValueError(f"{job_id!r} is no id of a job")
        self.path = home / "service" / "jobs" / job_id
        self._next = 0

    @property
    def log(self) -> Path:
        """What the process said on standard error."""
        return self.path / "log.txt"

    @property
    def answer(self) -> Path:
        """What it said on standard output."""
        return self.path / "answer.json"

    @property
    def events_file(self) -> Path:
        """A line of JSON for each event; it only grows."""
        return self.path / "events.jsonl"

    def ask(self, stop: bool | None = None, pause: bool | None = None, checkpoint: bool = False) -> Asked:
        """Ask something of the job, beside what it was asked before; ``None`` = as it was.

        Raises:
            StorageError: the folder cannot be written.
        """
        from filelock import FileLock

        path = self._made() / "control.json"
        with FileLock(self.path / "control.lock"):
            before = self.asked()
            asked = Asked(
                before.stop if stop is None else stop, before.pause if pause is None else pause,
                before.checkpoints + checkpoint,
            )  # fmt: skip
            write_file(path, json.dumps(asked.to_json()).encode())
        return asked

    def asked(self) -> Asked:
        """What the job was asked so far."""
        values = _json(self.path / "control.json")
        return Asked.from_json(values) if values else Asked()

    def write_progress(self, progress: Progressing) -> None:
        """Say how far the job is, over what was said before. Raises StorageError."""
        write_file(self._made() / "progress.json", json.dumps(progress.to_json()).encode())

    def progress(self) -> Progressing | None:
        """How far the job said last that it is; ``None`` = it said nothing yet."""
        values = _json(self.path / "progress.json")
        return Progressing.from_json(values) if values else None

    def append(self, kind: str, values: Mapping[str, Any]) -> int:
        """Tell an event; returns its id. Only who holds the job's lock calls this, from one thread at a time.

        Raises:
            StorageError: the file cannot be written.
        """
        path = self._made() / self.events_file.name
        number, self._next = self._next, 0  # where the line is not written whole the next call mends the file
        with storage(path), path.open("ab") as file:
            number = number or self._mended(path) + 1
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            event = Event(number, at, kind, values)
            file.write(json.dumps(event.to_json(), ensure_ascii=False).encode() + b"\n")
        self._next = number + 1
        return number

    def events(self, after: int = 0, limit: int = MOST_EVENTS) -> list[Event]:
        """Events later than ``after``, oldest first; a line that is still being written is not one yet."""
        found: list[Event] = []
        try:
            with self.events_file.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n") or len(found) >= limit:
                        break
                    values = json.loads(line)
                    if values["id"] > after:
                        found.append(Event.from_json(values))
        except FileNotFoundError:
            return []
        return found

    def _made(self) -> Path:
        with storage(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def _mended(self, path: Path) -> int:
        """Number of whole lines; half a line that a killed attempt left behind is taken away."""
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
        return content.count(b"\n")


def _json(path: Path) -> dict[str, Any]:
    """An object that was written whole; empty where there is none."""
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return values
