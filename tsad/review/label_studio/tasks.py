"""Tasks of Label Studio back as windows: of the series that a task was made of, or of the values that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tsad.core.errors import ReviewError
from tsad.core.names import of_markup_free
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray, IntArray
from tsad.review.label_studio.clock import NS_PER_MS, offset_ns, place_of, places_of
from tsad.review.label_studio.template import SERIES_KEY, TIME_COLUMN, Template, column

MS_PER_SECOND = 1000
UTC = "+00:00"


def was_pushed(data: Mapping[str, Any]) -> bool:
    """Whether a push has made the task of these data."""
    return bool(data.get("window_id")) and bool(data.get("point_id"))


def point_of(data: Mapping[str, Any]) -> str:
    """The point that a task of ours shows."""
    return of_markup_free(str(data["point_id"]))


def located(data: Mapping[str, Any], series: Series) -> Window:
    """The very window that a task of ours was made of, in its series as that is now.

    Raises:
        ReviewError: the series does not hold it any more.
    """
    kind = series.time_kind
    places = places_of(series.timestamps, kind, offset_ns(str(data.get("utc_offset") or UTC)))
    shown = places if kind == "index" else places // MS_PER_SECOND  # a task tells its ends to the second
    try:
        ends = [place_of(data.get(key), kind) for key in ("start", "end")]
    except ValueError as error:
        found = f"the task of {series.point_id} does not say when it begins or ends: {error}"
        raise ReviewError(found, "Push it again.") from error
    first, last = (int(e) if kind == "index" else int(e // MS_PER_SECOND) for e in ends)
    for start in np.flatnonzero(shown == first):
        for stop in np.flatnonzero(shown == last) + 1:
            if start < stop and (window := Window(series, int(start), int(stop))).window_id == data["window_id"]:
                return window
    raise ReviewError(
        f"window {data['window_id']} is no longer in {series.point_id}",
        "The source has changed since: push the queue again.",
    )


def columns_of(task: Mapping[str, Any], template: Template) -> tuple[IntArray, FloatArray]:
    """Timestamps (ns UTC, [T]) and values ([T, C]) of a task that somebody else made for this template.

    Raises:
        ReviewError: it is no time series, or not one that the template shows.
    """
    rows, where = task["data"].get(SERIES_KEY), f"task {task.get('id')}"
    names = [column(number) for number in range(1, template.channels + 1)]
    if not isinstance(rows, Mapping):
        found = f"{where} is no time series: its data have no {SERIES_KEY}"
        raise ReviewError(found, "Only time series are pre-annotated.")
    absent = [name for name in (TIME_COLUMN, *names) if not isinstance(rows.get(name), list)]
    if absent:
        found = f"the series of {where} has no column {', '.join(absent)}"
        raise ReviewError(found, "See label_studio/timeseries.xml.")
    if len({len(rows[name]) for name in (TIME_COLUMN, *names)}) != 1:
        raise ReviewError(f"the columns of the series of {where} are of different lengths", "Import the task again.")
    try:
        places = [place_of(value, template.time_kind) for value in rows[TIME_COLUMN]]
        values = np.array([[np.nan if v is None else v for v in rows[name]] for name in names], np.float64).T
    except (TypeError, ValueError, OverflowError) as error:
        found = f"the series of {where} cannot be read: {error}"
        raise ReviewError(found, "It takes numbers, and times like 2026-01-31 08:00:00.") from error
    stamps = np.array(places, np.float64)
    if template.time_kind == "index":
        return stamps.astype(np.int64) * NS_PER_MS * MS_PER_SECOND, values
    offset = offset_ns(str(task["data"].get("utc_offset") or UTC))
    return np.round(stamps * 1000).astype(np.int64) * (NS_PER_MS // 1000) - offset, values
