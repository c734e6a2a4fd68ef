"""The Data Manager's tabs: what is to do, where the model is unsure, conflicts, blind windows, what is done or skipped.

Every tab of ours carries a mark with the digest of what we wrote. Label Studio's page drops the mark as soon as
somebody changes the tab, so a marked one is still ours: it is brought up to date, and all others are left alone. Pure,
but for :func:`keep_tabs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsad.review.label_studio.client import Client
from tsad.review.label_studio.conflicts import CONFLICT, STATE
from tsad.review.label_studio.words import BLIND

MARK = "tsad"
# What an annotator wants to see of a task in the list; the raw series would come first and fill the screen.
SHOWN = (
    "point_id", "thumbnail", "start", "duration", "proposals", "confidence", "reason", "iteration", "model_version",
)  # fmt: skip
ADMINISTRATIVE = (
    "series", "overview", "window_id", "title", "end", "push", "utc_offset", "purpose", "strategy", "state", "priority",
)
_OWN = (  # Label Studio's columns that say nothing about a window
    "inner_id", "total_predictions", "annotations_results", "annotations_ids", "predictions_score",
    "predictions_model_versions", "predictions_results", "file_upload", "storage_filename", "created_at", "updated_at",
    "updated_by", "avg_lead_time", "draft_exists", "state", "comments", "comment_count", "comment_authors",
    "unresolved_comment_count",
)  # fmt: skip
_ANSWERS = ("total_annotations", "cancelled_annotations", "annotators", "completed_at")
_WIDTHS = {
    "point_id": 170, "thumbnail": 190, "start": 165, "duration": 130, "proposals": 100, "confidence": 105,
    "reason": 170, "iteration": 90, "model_version": 200,
}  # fmt: skip
_DISPLAYED = {"thumbnail": "Image", "confidence": "Number", "proposals": "Number", "priority": "Number"}
QUEUE = 1_000_000  # more windows than a queue has
# An untouched tab of before tabs had marks; it becomes "To do".
FORMER_TITLE, FORMER_ORDERING = "Review queue", ["tasks:id"]


@dataclass(frozen=True)
class Tab:
    """One tab.

    Attributes:
        titles: by language.
        filters: (column, operator, type, value), all of which hold.
        ordering: column that tasks are ordered by, ``-`` = downwards. Label Studio knows one alone.
        answers: whether it shows who answered and when.
    """

    name: str
    titles: Mapping[str, str]
    filters: tuple[tuple[str, str, str, Any], ...]
    ordering: str
    answers: bool = False


_OPEN = ("completed_at", "empty", "Datetime", True)
_DONE = ("completed_at", "empty", "Datetime", False)
_FIRST, _LAST = "-tasks:data.priority", "-tasks:completed_at"
TABS = (
    Tab("todo", {"en": "To do", "zh": "待标注"}, (_OPEN,), _FIRST),
    Tab("unsure", {"en": "Unsure", "zh": "没把握"},
        (_OPEN, ("data.strategy", "regex", "String", "^(low_confidence|disputed|conflict)$")), _FIRST),
    Tab("conflicts", {"en": "Conflicts", "zh": "有分歧"},
        ((f"data.{STATE}", "equal", "String", CONFLICT),), _FIRST, True),
    Tab("blind", {"en": "Blind", "zh": "盲测"}, (_OPEN, ("data.strategy", "equal", "String", BLIND)), _FIRST),
    Tab("done", {"en": "Done", "zh": "已完成"}, (_DONE, ("total_annotations", "greater", "Number", 0)), _LAST, True),
    Tab("skipped", {"en": "Skipped", "zh": "已跳过"},
        (("cancelled_annotations", "greater", "Number", 0),), _LAST, True),
)  # fmt: skip


def priority(iteration: int, rank: int) -> int:
    """What "To do" is ordered by, downwards: the latest iteration's windows first, each queue in its own order."""
    return iteration * QUEUE - rank


def arranged(data: Mapping[str, Any]) -> dict[str, Any]:
    """A task's data, what the tabs show first: their columns come in the order of its keys."""
    first = {key: data[key] for key in SHOWN if key in data}
    return {**first, **{key: value for key, value in data.items() if key not in first}}


def view_of(tab: Tab, language: str) -> dict[str, Any]:
    """A tab as Label Studio keeps it, with our mark."""
    hidden = [f"tasks:data.{key}" for key in ADMINISTRATIVE] + [f"tasks:{name}" for name in _OWN]
    hidden += [] if tab.answers else [f"tasks:{name}" for name in _ANSWERS]
    beside = ["tasks:id", *(f"tasks:data.{key}" for key in SHOWN if key not in ("point_id", "start"))]
    view = {
        "title": tab.titles[language], "type": "list", "target": "tasks", "ordering": [tab.ordering],
        "hiddenColumns": {"explore": hidden, "labeling": hidden + beside},
        "columnsWidth": {f"tasks:data.{key}": width for key, width in _WIDTHS.items()},
        "columnsDisplayType": {f"tasks:data.{key}": kind for key, kind in _DISPLAYED.items()},
        "filters": {"conjunction": "and", "items": [
            {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
            for column, operator, kind, value in tab.filters
        ]},
    }  # fmt: skip
    return {**view, MARK: {"tab": tab.name, "digest": _digest(view)}}


@dataclass(frozen=True)
class Change:
    """A tab to write: ``number`` of the one it replaces; ``None`` = a new one."""

    view: dict[str, Any]
    number: int | None = None


def changes(present: Sequence[Mapping[str, Any]], language: str) -> list[Change]:
    """What makes a project's tabs ours; none where they are so already.

    Args:
        present: the project's tabs, each with ``id`` and ``data``.
    """
    marked = {_mark(view).get("tab"): view for view in present if _mark(view)}
    titles = {view.get("data", {}).get("title") for view in present}
    out = []
    for tab in TABS:
        wanted, own = view_of(tab, language), marked.get(tab.name)
        if own is None and tab is TABS[0]:
            own = next((view for view in present if _is_former(view)), None)
        if own is not None:
            out += [Change(wanted, int(own["id"]))] * (_mark(own) != wanted[MARK])
        elif not titles & set(tab.titles.values()):  # else somebody made it their own
            out.append(Change(wanted))
    return out


def keep_tabs(client: Client, project: int, language: str) -> None:
    """Make a project's tabs, and bring those of ours up to date that an older tsad made."""
    for change in changes(client.views(project), language):
        client.save_view(project, change.view, change.number)


def _mark(view: Mapping[str, Any]) -> Mapping[str, Any]:
    mark = view.get("data", {}).get(MARK)
    return mark if isinstance(mark, Mapping) else {}


def _is_former(view: Mapping[str, Any]) -> bool:
    """Whether it is the tab that tsad made before there were six, as it made it."""
    data = view.get("data", {})
    return data.get("title") == FORMER_TITLE and data.get("ordering") == FORMER_ORDERING and "gridWidth" not in data


def _digest(view: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(view, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]
