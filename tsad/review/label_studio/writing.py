"""Tasks made, given new pre-annotations and deleted, so that a window has one and nobody's work is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tsad.core.reviews import Choice
from tsad.review.label_studio.client import Client, LostCallError
from tsad.review.label_studio.known import KnownTask, TaskReader, short_values

STATE = ("draft_exists", "total_annotations", "cancelled_annotations")  # columns that tell what people have done


class TaskWriter:
    """Writes to the project whose tasks ``reader`` knows, and lets it know.

    Raises:
        ReviewError: from every method; see :class:`~tsad.review.label_studio.client.Client`.
    """

    def __init__(self, client: Client, reader: TaskReader) -> None:
        self._client, self._reader, self._project = client, reader, reader.known.project[0]

    def make(self, part: Sequence[Choice], task_of: Callable[[Choice], dict[str, Any]]) -> None:
        """Make the tasks of these windows; where the connection broke meanwhile, those that did not arrive again."""
        while part:
            tasks = [task_of(choice) for choice in part]
            try:
                numbers = self._client.import_tasks(self._project, tasks)
            except LostCallError:
                there = self._reader.locate([choice.window.window_id for choice in part])
                part = [choice for choice in part if not there[choice.window.window_id]]
                continue
            for number, task in zip(numbers, tasks, strict=True):
                self._reader.known.add({"id": number, **task}, next(iter(versions_of(task)), ""))
            return

    def one_each(self, wanted: Collection[str]) -> dict[str, KnownTask]:
        """The one task of each window that has one. Of several, the answered or else the oldest stays."""
        tasks = self._reader.locate(wanted)
        several = [task.id for own in tasks.values() if len(own) > 1 for task in own]
        if several:
            rows = self._client.tasks(self._project, STATE, ids=several)
            begun = {row["id"] for row in rows if _touched(row)}
            for own in tasks.values():
                own.sort(key=lambda task: (task.id not in begun, task.id))
            self.delete_untouched([t.id for own in tasks.values() for t in own[1:] if t.id not in begun])
            tasks = self._reader.locate(wanted)
        return {name: own[0] for name, own in tasks.items() if own}

    def delete_untouched(self, ids: Sequence[int]) -> int:
        """Delete those of these tasks that nobody has answered or begun to; how many are gone."""
        if not ids:
            return 0
        self._client.delete_untouched(self._project, ids)
        gone = set(ids) - {row["id"] for row in self._client.tasks(self._project, (), ids=ids)}
        self._reader.known.drop(gone)
        return len(gone)

    def refresh(
        self, versions: Mapping[int, str], tasks: Collection[KnownTask],
        draw: Callable[[KnownTask], dict[str, Any]], chunk: int,
    ) -> None:
        """New pre-annotations for tasks that still wait with those of another model version; title, columns and
        thumbnail say the new one too.

        Args:
            versions: what each task is to show, by its id. draw: the task as it would be made today.
        """
        by_id = {task.id: task for task in tasks}
        stale: list[KnownTask] = []
        asked = [task.id for task in tasks if task.shown != versions[task.id]]
        for row in self._client.tasks(self._project, ("predictions", *STATE), ids=asked):
            task, there = by_id[row["id"]], versions_of(row)
            if not _touched(row) and there != {versions[task.id]}:
                stale.append(task)
            elif len(there) == 1:
                task.shown = there.pop()
        for at in range(0, len(stale), chunk):
            part = {task.id: draw(task) for task in stale[at : at + chunk]}
            predictions = [{"task": number, **one} for number, made in part.items() for one in made["predictions"]]
            for number, made in part.items():  # first, so that a kill in between leaves the old version to be replaced
                self._client.change_task(number, data=made["data"])
                by_id[number].data = short_values(made["data"])  # answers are read in the offset that it shows now
            if predictions:
                self._client.replace_predictions(self._project, predictions)
            for one in predictions:
                by_id[one["task"]].shown = one["model_version"]


def versions_of(row: Mapping[str, Any]) -> set[str]:
    """Model versions whose proposals a task holds."""
    return {str(p.get("model_version")) for p in row.get("predictions") or ()}


def _touched(row: Mapping[str, Any]) -> bool:
    """Somebody has answered, skipped or begun the task; of a row with the columns of ``STATE``."""
    return any(row[column] for column in STATE)
