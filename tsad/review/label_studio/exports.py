"""Label Studio's JSON export read as labels, and dataset versions written as one. Pure."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsad.core.errors import LabelError, TsadError
from tsad.core.intervals import merge_kinds
from tsad.core.names import of_markup_free
from tsad.core.reviews import ReviewedWindow
from tsad.core.types import ANOMALY, NS_PER_SECOND, IntArray, Interval, TimeKind
from tsad.review.label_studio import convert
from tsad.review.label_studio.clock import NS_PER_MS, instant, offset_ns, place_of
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import ASIDE, SERIES_KEY, TIME_COLUMN, Template

TimesOf = Callable[[Sequence[Any]], IntArray]  # times of series as files have them, text or numbers -> ns UTC


def read_export(path: Path, clock: TimesOf | None = None) -> dict[str, tuple[Interval, ...]]:
    """Labels of every point in a Label Studio JSON export (also of projects that tsad did not make).

    The last submitted annotation of a task that was not skipped counts; tasks without one say nothing. A point whose
    tasks were all judged normal gets an empty tuple. Times are read in the task's ``utc_offset``, and where it has none
    as those of the series. Ends, inclusive in Label Studio, become the next point of the task, or one median step after
    its last. A region with several labels is an interval of each.

    Args:
        clock: how the times of the series are read; ``None`` = ISO 8601 in UTC, or an index.

    Returns:
        point_id -> intervals in time order, ns UTC. The point is the task's ``point_id``, else its file's name.

    Raises:
        LabelError: no such file, no JSON export, a task without series or point, a region without valid times.
    """
    remedy = "Export the project as JSON (not JSON-MIN or CSV)."
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LabelError(f"{path} cannot be read as a Label Studio export: {error}", remedy) from error
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise LabelError(f"{path} is no list of Label Studio tasks", remedy)
    found: dict[str, list[Interval]] = defaultdict(list)
    for task in tasks:
        judged = [a for a in task.get("annotations") or () if not a.get("was_cancelled")]
        if not judged:
            continue
        latest = max(judged, key=lambda a: instant(a.get("updated_at") or a.get("created_at")))
        where = f"task {task.get('id')} of {path.name}"
        found[_point(task["data"], where)] += _said(task["data"], latest.get("result") or (), where, clock)
    return {point: merge_kinds(items) for point, items in found.items()}


def to_label_studio(windows: Sequence[ReviewedWindow], options: LabelStudioOptions) -> list[dict[str, Any]]:
    """Reviewed windows as tasks with annotations, as Label Studio imports them and :func:`read_export` reads.

    Args:
        options: ``utc_offset`` and ``max_channels`` as people saw them.
    """
    offset = offset_ns(options.utc_offset)
    whole = options.model_copy(update={"max_points": sys.maxsize})  # a file keeps every point
    out = []
    for reviewed in windows:
        window = reviewed.window
        drawn = min(window.values.shape[1], options.max_channels)
        form = Template("label", "ts", window.series.time_kind, drawn, (), frozenset())
        made = convert.task(reviewed.choice, form, whole, "export")
        result = convert.regions(window, reviewed.intervals, form, offset)
        out.append({**made, "annotations": [{"result": result, "was_cancelled": False}]})
    return out


def _point(data: Mapping[str, Any], where: str) -> str:
    if data.get("point_id"):
        return of_markup_free(str(data["point_id"]))
    for value in data.values():
        if isinstance(value, str) and re.search(r"\.(csv|tsv|json)(\?|$)", value):
            # Label Studio puts 8 hex digits in front of the name of an uploaded file.
            return re.sub(r"^[0-9a-f]{8}-", "", Path(value.split("?")[0]).name).rsplit(".", 1)[0]
    raise LabelError(f"{where} does not say which point it shows", "Give its data a point_id.")


def _said(
    data: Mapping[str, Any], result: Sequence[Mapping[str, Any]], where: str, clock: TimesOf | None
) -> list[Interval]:
    """Regions of one annotation, whatever their control; but not what tsad only showed."""
    marked = [r for r in result if r.get("type") == "timeserieslabels" and r.get("from_name") != ASIDE]
    if not marked:
        return []
    if clock is not None and "utc_offset" not in data:
        return _as_series(data, marked, where, clock)
    texts = _times(data)
    kind: TimeKind = "index" if texts and not isinstance(texts[0], str) else "time"
    if not texts:
        kind = "time" if isinstance((marked[0].get("value") or {}).get("start"), str) else "index"
    try:
        offset = offset_ns(str(data.get("utc_offset", "+00:00"))) if kind == "time" else 0
        unit = NS_PER_MS if kind == "time" else NS_PER_SECOND
        places = np.array([place_of(t, kind) for t in texts])
        return [i for r in marked for i in _intervals(r.get("value") or {}, kind, places, unit, offset)]
    except (ValueError, OverflowError) as error:
        raise LabelError(f"{where} has a time that cannot be read: {error}", "Correct it in the export.") from error


def _times(data: Mapping[str, Any]) -> list[Any]:
    """The time column inside a task, where it holds its series at all (uploaded files are elsewhere)."""
    rows = data.get(SERIES_KEY)
    if not isinstance(rows, dict):
        rows = next((v for v in data.values() if isinstance(v, dict) and TIME_COLUMN in v), {})
    return list(rows.get(TIME_COLUMN, ()))


def _as_series(
    data: Mapping[str, Any], marked: Sequence[Mapping[str, Any]], where: str, clock: TimesOf
) -> list[Interval]:
    """Regions of a task that names no offset: their times are written as those of the series."""
    texts, regions = _times(data), [r.get("value") or {} for r in marked]
    given = [*texts, *(v.get(k) for v in regions for k in ("start", "end"))]
    if any(v is None or isinstance(v, bool) or not isinstance(v, str | int | float) for v in given):
        raise LabelError(f"{where} has a region without start or end", "Correct it in the export.")
    try:
        stamps = np.concatenate([clock([v]) for v in given]) if len({type(v) for v in given}) > 1 else clock(given)
    except TsadError as error:
        raise LabelError(f"{where}: {error.found}", error.remedy) from error
    places, ends = np.sort(stamps[: len(texts)]), stamps[len(texts) :].reshape(-1, 2)
    said = []
    for value, pair in zip(regions, ends.tolist(), strict=True):
        start, stop = min(pair), _stop(places, max(pair), NS_PER_SECOND)
        said += [Interval(start, max(int(stop), start + 1), label) for label in _labels(value)]
    return said


def _labels(value: Mapping[str, Any]) -> list[str]:
    return [str(label) for label in value.get("timeserieslabels") or [ANOMALY]]


def _stop(places: Any, end: float, alone: float) -> float:
    """The instant after an inclusive end: the next of the task's points [K], sorted, or a median step after the last.

    Args:
        alone: the step where the points are not known.
    """
    step = float(np.median(np.diff(places))) if len(places) > 1 else alone
    after = int(np.searchsorted(places, end, side="right"))
    last = places[after - 1] if after else end
    return float(min(places[after], last + step)) if 0 < after < len(places) else max(last, end) + step


def _intervals(value: Mapping[str, Any], kind: TimeKind, places: Any, unit: int, offset: int) -> list[Interval]:
    start, end = sorted((place_of(value.get("start"), kind), place_of(value.get("end"), kind)))
    stop = _stop(places, end, NS_PER_SECOND / unit)
    first = round(start * unit)
    return [
        Interval(first - offset, max(round(stop * unit), first + 1) - offset, label) for label in _labels(value)
    ]
