"""What was read of a project's tasks, so that the next look asks Label Studio for what has changed alone.

Label Studio owns tasks and answers; this is a copy that may be deleted at any time. It is held against the numbers that
a project tells of itself (tasks, answers, skips): whatever changed without being asked for, a deleted task or an answer
taken back, shows as a number that does not add up, and then the windows are read anew.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tsad.core.errors import StorageError
from tsad.files.atomic import write_file
from tsad.review.label_studio.client import ANSWERED, Client, Filter, where

FORM = 2  # how the file is written; another number is read anew
LATE = timedelta(seconds=60)  # a change becomes visible a little after the time it bears
LONG = 200  # of a task's data, longer texts (pictures) and whole series are not kept
# The server asks of answers, too, which columns are wanted; their writers' addresses are not.
ANSWER = ("annotations", "updated_at", "result", "completed_by", "was_cancelled", "created_at", "lead_time")
SHARE = 20  # searching for more than one in so many of a project's tasks takes longer than reading them all
log = logging.getLogger(__name__)


@dataclass
class KnownTask:
    """A task as it was last read.

    Attributes:
        id: its number. data: the short values of its data. annotations: as Label Studio gives them, without addresses.
        read: whether they were read yet.
        shown: model version of the pre-annotation that it has from us; "" = not known.
    """

    id: int
    data: dict[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    read: bool = False
    shown: str = ""

    def take(self, row: Mapping[str, Any]) -> None:
        """What the server says of its answers now, their writers by id alone."""
        self.read, self.annotations = True, [_plain(a) for a in row["annotations"]]

    def as_given(self) -> dict[str, Any]:
        """As Label Studio gives a task."""
        return {"id": self.id, "data": self.data, "annotations": self.annotations}


@dataclass
class KnownTasks:
    """Tasks of the windows that were last asked for, in one project.

    Attributes:
        project: its id and when it was made: one made anew is another.
        tasks: how many it had. others: answers it counted beside those known here. top: the newest task's id.
        mark: the latest change seen. seen: when, in seconds since 1970; settled: whether a look so much later that
            nothing before ``mark`` can still turn up found nothing.
        windows: the tasks of a window by its id; none where it was looked for and there is none up to ``top``.
    """

    project: tuple[int, str]
    tasks: int = 0
    others: int = 0
    top: int = 0
    mark: str = ""
    seen: float = 0.0
    settled: bool = False
    windows: dict[str, list[KnownTask]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None, project: Mapping[str, Any]) -> Self:
        """What was kept of this project; nothing where there is no such file, or a damaged one."""
        made = cls((int(project["id"]), str(project.get("created_at", ""))))
        try:
            kept = json.loads(path.read_text(encoding="utf-8")) if path else {}
            if kept.pop("form", None) != FORM or tuple(kept.pop("project")) != made.project:
                return made
            windows = {w: [KnownTask(**task) for task in tasks] for w, tasks in kept.pop("windows").items()}
            return cls(made.project, windows=windows, **kept)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            log.debug("%s is read anew: %s", path, error)
            return made

    def is_of(self, project: Mapping[str, Any]) -> bool:
        """Whether this is the project that it tells of."""
        return self.project == (int(project["id"]), str(project.get("created_at", "")))

    def save(self, path: Path | None) -> None:
        """Keep it; a disk that refuses costs the next look time, no more."""
        if path is None:
            return
        try:
            write_file(path, json.dumps({"form": FORM, **asdict(self)}).encode())
        except StorageError as error:
            log.warning("%s", error)

    @property
    def answers(self) -> int:
        """How many the tasks known here have, skips included."""
        return sum(len(task.annotations) for task in self.of(self.windows))

    def of(self, wanted: Iterable[str]) -> list[KnownTask]:
        """The tasks of these windows."""
        return [task for name in wanted for task in self.windows.get(name, ())]

    def only(self, wanted: Collection[str]) -> None:
        """Forget the other windows: those of earlier queues would add up."""
        before = self.answers
        self.windows = {name: tasks for name, tasks in self.windows.items() if name in wanted}
        self.others += before - self.answers

    def add(self, task: Mapping[str, Any], shown: str = "") -> None:
        """A task that was read with its data, or made with a pre-annotation of this version."""
        name = str(task["data"].get("window_id"))
        same = self.windows.setdefault(name, [])
        if all(other.id != task["id"] for other in same):
            same.append(KnownTask(int(task["id"]), short_values(task["data"]), shown=shown))

    def drop(self, gone: Collection[int]) -> None:
        """Tasks that were deleted."""
        self.windows = {w: [t for t in tasks if t.id not in gone] for w, tasks in self.windows.items()}


class TaskReader:
    """Brings what is known of a project's tasks up to date.

    Args:
        project: as it has just been looked up. look: looks it up once more. progress: is told how many tasks were read.
    """

    def __init__(
        self, client: Client, known: KnownTasks, project: Mapping[str, Any], look: Callable[[], Mapping[str, Any]],
        progress: Callable[[int], None],
    ) -> None:
        self.known, self._client, self._progress = known, client, progress
        self._given: Mapping[str, Any] | None = project
        self._again, self._project, self._read = look, known.project[0], 0

    def answers(self, wanted: Collection[str]) -> dict[str, list[KnownTask]]:
        """The tasks of these windows with their answers; a window whose tasks were deleted has none."""
        for _ in range(2):  # what does not add up may have been answered between two calls: look again
            project = self._look()
            self._locate(project, wanted)
            if self._answer(project, wanted):
                break
        else:
            self._fetch(self.known.of(self.known.windows))
            self.known.others = _counted(project) - self.known.answers
        self.known.only(wanted)
        return {name: self.known.windows[name] for name in wanted}

    def locate(self, wanted: Collection[str]) -> dict[str, list[KnownTask]]:
        """The tasks of these windows, of whichever push; their answers may have changed since."""
        self._locate(self._look(), wanted)
        return {name: self.known.windows[name] for name in wanted}

    def _look(self) -> Mapping[str, Any]:
        """The project as it is now."""
        given, self._given = self._given, None
        return given or self._again()

    def _locate(self, project: Mapping[str, Any], wanted: Collection[str]) -> None:
        known, total = self.known, int(project["task_number"])
        asked_for = known.windows.keys()
        if not known.windows:
            known.top = int(self._client.newest(self._project, "id") or 0)
        else:
            mine = {t.id for t in known.of(asked_for)}
            newer = [t["id"] for t in self._rows((), [where("id", "greater", known.top)])]
            for task in self._rows(("data",), ids=[n for n in newer if n not in mine]):
                if task["data"].get("window_id") in asked_for:
                    known.add(task)
            if known.tasks + len(newer) != total:
                self._drop_deleted(wanted)
            known.top = max([known.top, *newer])
        unknown = [name for name in wanted if name not in asked_for]
        for task in list(self._search(unknown, total)):
            known.add(task)
        for name in unknown:
            known.windows.setdefault(name, [])
        known.tasks = total

    def _answer(self, project: Mapping[str, Any], wanted: Collection[str]) -> bool:
        """Read the answers that changed; whether everything that the project counts is then accounted for."""
        known, first = self.known, not self.known.mark
        if first:
            known.mark, known.seen = str(self._client.newest(self._project, "updated_at") or ""), time.time()
        else:
            self._read_changed()
        accounted = first or _counted(project) - known.answers == known.others
        unread = [t for t in known.of(wanted) if not t.read]
        self._fetch(unread)
        new = sum(len(t.annotations) for t in unread)
        known.others = _counted(project) - known.answers if first else known.others - new
        return accounted

    def _search(self, names: list[str], total: int) -> Iterator[dict[str, Any]]:
        """Tasks with the data of these windows."""
        if len(names) * SHARE > total:
            sought = set(names)
            yield from (t for t in self._rows(("data",)) if total and t["data"].get("window_id") in sought)
            return
        yield from self._watched(self._client.find(self._project, "window_id", names, ("data",)))

    def _drop_deleted(self, wanted: Collection[str]) -> None:
        ids = [t.id for t in self.known.of(wanted)]
        if self._client.count_tasks(self._project, ids) < len(ids):
            self.known.drop(set(ids) - {t["id"] for t in self._rows((), ids=ids)})

    def _read_changed(self) -> None:
        """Read the tasks that changed since the last look, and shortly before it, as long as that can add any."""
        known, before, now = self.known, self.known.mark, time.time()
        since = datetime.fromisoformat(before) - (timedelta() if known.settled else LATE)
        later = where("updated_at", "greater", f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z", "Datetime")
        read = {t.id: t for t in known.of(known.windows) if t.read}
        for row in self._rows(ANSWER, [later]):
            known.mark = max(known.mark, row["updated_at"])
            if row["id"] in read:
                read[row["id"]].take(row)
        # Measured by this machine's clock alone: the server's may be another.
        known.seen = now if known.mark != before else known.seen
        known.settled = known.mark == before and now - known.seen > LATE.total_seconds()

    def _fetch(self, tasks: Iterable[KnownTask]) -> None:
        """Read these tasks' answers; those that do not come back have none (any more)."""
        by_id = {t.id: t for t in tasks}
        for task in by_id.values():
            task.read, task.annotations = True, []
        # SQLite walks through all tasks of a project for every query, whichever are asked for.
        ids = None if len(by_id) * SHARE > self.known.tasks else sorted(by_id)
        for answered in ANSWERED if by_id else ():
            for row in self._rows(ANSWER, answered, ids):
                if row["id"] in by_id:
                    by_id[row["id"]].take(row)

    def _rows(
        self, columns: Sequence[str], conditions: Sequence[Filter] = (), ids: Sequence[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        return self._watched(self._client.tasks(self._project, columns, conditions, ids))

    def _watched(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Tasks from the server, each of them progress."""
        for row in rows:
            self._read += 1
            self._progress(self._read)
            yield row


def short_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a task's data: neither the series nor pictures."""
    return {k: v for k, v in data.items() if not isinstance(v, list | dict) and len(str(v)) <= LONG}


def _counted(project: Mapping[str, Any]) -> int:
    """Answers and skips that a project counts."""
    return int(project["total_annotations_number"] or 0) + int(project["skipped_annotations_number"] or 0)


def _plain(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """An annotation whose writer is known by id alone."""
    who = annotation.get("completed_by")
    return {**annotation, "completed_by": who.get("id") if isinstance(who, Mapping) else who}
