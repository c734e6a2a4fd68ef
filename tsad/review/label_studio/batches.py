"""What batch actions do in Label Studio: answer windows that nobody answered, ask people, take answers back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tsad.core.reviews import Choice, ReviewedWindow
from tsad.core.types import Interval
from tsad.review.batch import AUDIT
from tsad.review.label_studio import convert
from tsad.review.label_studio.client import Client
from tsad.review.label_studio.conflicts import answers_of
from tsad.review.label_studio.language import Language
from tsad.review.label_studio.template import BATCH, Template
from tsad.review.label_studio.words import REASONS

REASON = "reason"  # key of a task's data: why people are asked
Answered = tuple[Choice, tuple[Interval, ...]]


def answer(client: Client, project: int, form: Template, answers: Sequence[Answered], batch: str) -> int:
    """Submit answers for windows that have none yet, in the name of the token's user, marked with the batch; how many.

    The mark is a region of a control that no template has: it stays with the answer wherever it goes, and the editor
    drops it as soon as a person saves the answer as hers.
    """
    by_window = {choice.window.window_id: (choice, intervals) for choice, intervals in answers}
    made = 0
    for task in _tasks(client, project, by_window):
        if answers_of(task):
            continue
        choice, intervals = by_window[task["data"]["window_id"]]
        offset = convert.offset_ns(str(task["data"].get("utc_offset", "+00:00")))
        drawn = convert.regions(choice.window, intervals, form, offset)
        client.annotate(task["id"], [*drawn, _mark(choice, form, batch)])
        if task["overlap"] > 1:  # a batch answers for everybody
            client.change_task(task["id"], overlap=1, is_labeled=True)
        made += 1
    return made


def ask(client: Client, project: int, choices: Iterable[Choice], language: Language) -> int:
    """Let people see why they are asked about these windows: as an audit. How many tasks say so now."""
    tasks = _tasks(client, project, [c.window.window_id for c in choices])
    asked, why = 0, REASONS[AUDIT][language]
    for number in (t["id"] for t in tasks if t["data"].get(REASON) != why):
        client.change_task(number, data={**client.task(number)["data"], REASON: why})
        asked += 1
    return asked


def take_back(client: Client, reviewed: Sequence[ReviewedWindow], each: Callable[[int], None]) -> int:
    """Delete every answer to these windows, so that people are asked again; how many.

    Args:
        each: is told how many were deleted so far.
    """
    numbers = [a.annotation_id for r in reviewed for a in r.annotations]
    for count, number in enumerate(numbers, start=1):
        client.delete_annotation(int(number))
        each(count)
    return len(numbers)


def _mark(choice: Choice, form: Template, batch: str) -> dict[str, Any]:
    return {
        "id": f"{choice.window.window_id}-{BATCH}", "from_name": BATCH, "to_name": form.to_name, "type": "textarea",
        "value": {"text": [batch]},
    }  # fmt: skip


def _tasks(client: Client, project: int, names: Iterable[str]) -> list[dict[str, Any]]:
    """The task of each window, the oldest where there are several."""
    tasks: dict[str, dict[str, Any]] = {}
    columns = ("data", "overlap", "total_annotations", "cancelled_annotations")
    for task in client.find(project, "window_id", list(names), columns):
        tasks.setdefault(task["data"]["window_id"], task)
    return list(tasks.values())
