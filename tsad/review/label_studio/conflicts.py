"""Who is asked about a window: two people about a share of them, and one more where those who answered disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsad.agreement.latest import by_people
from tsad.core.reviews import ReviewedWindow, ReviewState
from tsad.core.series import Window
from tsad.review.label_studio import convert
from tsad.review.label_studio.client import Client
from tsad.review.label_studio.language import Language
from tsad.review.label_studio.layers import Layer
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template

STATE, CONFLICT, SETTLED = "state", "conflict", ""  # key of a task's data, and what it says there
ANSWER = {"en": "Answer", "zh": "回答"}  # names of layers, before a number
ASKED = ("overlap", "is_labeled", "total_annotations", "cancelled_annotations")  # columns: how many, and how far
# Where a title goes on with what each of them said, and how that is said: of none, one or more intervals.
TOLD = {"en": "; people disagree: ", "zh": "；标注有分歧："}
SAYS = {
    "en": ("{0} marks none", "{0} marks 1 interval", "{0} marks {1} intervals"),
    "zh": ("{0} 未标注区间", "{0} 标注 1 个区间", "{0} 标注 {1} 个区间"),
}


def people_for(window: Window, overlap: float) -> int:
    """Whose answers a window waits for, counted: two for a share of the windows, the same ones every time."""
    return 2 if int(window.window_id[8:], 16) / 2**32 < overlap else 1


def share_out(client: Client, project: int, ids: Sequence[int]) -> None:
    """Let Label Studio hand these tasks to two people; what more people are asked for stays."""
    for task in list(client.tasks(project, ASKED, ids=ids)):
        if task["overlap"] < 2:
            client.change_task(task["id"], **_asking(task, 2))


def answer_layers(reviewed: ReviewedWindow, language: Language) -> tuple[Layer, ...]:
    """What each person marks, a layer each, in the order in which they answered; the note says whose it is."""
    return tuple(
        Layer(f"{ANSWER[language]} {number}", a.intervals, f"by {a.annotator}")
        for number, a in enumerate(by_people(reviewed.annotations), start=1)
    )


def settle(
    client: Client, project: int, form: Template, reviewed: Sequence[ReviewedWindow], settings: LabelStudioOptions
) -> int:
    """Ask one more person about every window in conflict, and show what was said; mark those that are settled so.

    Done again it changes nothing, unless people have answered meanwhile.

    Returns:
        For how many windows a further person is asked now.
    """
    by_window = {r.window.window_id: r for r in reviewed}
    conflicts = [name for name, r in by_window.items() if r.state is ReviewState.CONFLICT]
    marked = [t for t in client.find(project, STATE, [CONFLICT], ("data",)) if t["data"].get("window_id") in by_window]
    known = {t["data"]["window_id"] for t in marked}
    tasks = [*marked, *client.find(project, "window_id", [n for n in conflicts if n not in known], ())]
    asked, stale = 0, []
    for number in (t["id"] for t in tasks):
        task = client.task(number)
        found = by_window[task["data"]["window_id"]]
        made = _shown(task, form, found, settings)
        if made is not None:
            stale.append({"task": number, **made})
        fields = _fields(task, found, settings.language)
        if fields:
            client.change_task(number, **fields)
            asked += fields.get("overlap", 0) > task["overlap"]
    if stale:
        client.replace_predictions(project, stale)
    return asked


def _shown(
    task: Mapping[str, Any], form: Template, reviewed: ReviewedWindow, settings: LabelStudioOptions
) -> dict[str, Any] | None:
    """The prediction that shows what people said beside the rest; ``None`` where the task has it, or needs none."""
    if reviewed.state is not ReviewState.CONFLICT or not form.aside:
        return None
    before = (task.get("predictions") or [{}])[0]
    made = convert.prediction(
        reviewed.choice, convert.drawn(reviewed.choice, form, settings), form,
        str(task["data"].get("utc_offset", "+00:00")), str(before.get("model_version", "")),
        answer_layers(reviewed, settings.language),
    )  # fmt: skip
    same = made is None or _regions(made) == _regions(before)
    return None if same else made


def _regions(prediction: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(r.get("from_name"), r.get("value")) for r in prediction.get("result") or ()]


def _fields(task: Mapping[str, Any], reviewed: ReviewedWindow, language: Language) -> dict[str, Any]:
    """What of a task has to change."""
    data, answers = dict(task["data"]), answers_of(task)
    title = str(data.get("title", ""))
    for told in TOLD.values():  # the project's language may have been another one
        title = title.partition(told)[0]
    if reviewed.state is ReviewState.CONFLICT:
        changed = {**data, STATE: CONFLICT, "title": f"{title}{TOLD[language]}{in_words(reviewed, language)}"}
        fields = _asking(task, max(task["overlap"], answers + 1))
    else:
        changed = {**data, STATE: SETTLED, "title": title}
        fields = _asking(task, max(1, answers))
    return fields | ({"data": changed} if changed != data else {})


def in_words(reviewed: ReviewedWindow, language: Language = "en") -> str:
    """What each person said, by id: ``3 marks 2 intervals, 5 marks none``."""
    says, between = SAYS[language], {"en": ", ", "zh": "，"}[language]
    answers = by_people(reviewed.annotations)
    return between.join(says[min(len(a.intervals), 2)].format(a.annotator, len(a.intervals)) for a in answers)


def _asking(task: Mapping[str, Any], people: int) -> dict[str, Any]:
    """What makes Label Studio hand the task out until so many have answered; nothing where it does."""
    # The server does not look again whether a task is done when its overlap changes (seen with 1.23.2).
    done = answers_of(task) >= people
    fields = {"overlap": people, "is_labeled": done}
    return {} if (task["overlap"], bool(task["is_labeled"])) == (people, done) else fields


def answers_of(task: Mapping[str, Any]) -> int:
    """Submitted and skipped ones; a project of ours counts both."""
    return int(task.get("total_annotations") or 0) + int(task.get("cancelled_annotations") or 0)
