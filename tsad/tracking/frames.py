"""DataFrames of people into series and back: what a registered model's ``predict`` takes and gives.

The frame has ``timestamp`` (datetime or ISO 8601 text, naive = UTC; whole numbers below 100,000,000 = an integer
index, larger ones and fractions are refused), an optional ``point_id`` and one
numeric column per channel, in any row order. What comes back has ``point_id``, ``timestamp``, ``score`` (0..1, higher =
more abnormal; of a detector without scores the confidence of what it considered there) and ``anomaly`` (the row lies in
a proposed interval) for each row, under the same index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import SeriesError
from tsad.core.intervals import intervals_to_mask, point_scores
from tsad.core.series import Series
from tsad.core.times import LEAST_EPOCH
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray, TimeKind

if TYPE_CHECKING:
    import pandas as pd

    from tsad.tracking.pyfunc_model import LoadedVersion


def predict_frame(version: LoadedVersion, frame: pd.DataFrame) -> pd.DataFrame:
    """Score the rows of a frame; see the module for the columns."""
    import pandas as pd

    parts = series_of(frame)
    scores, abnormal = np.zeros(len(frame)), np.zeros(len(frame), bool)
    found = version.detections([series for series, _ in parts])
    for (series, rows), one in zip(parts, found, strict=True):
        scores[rows] = point_scores(one, series.timestamps)
        abnormal[rows] = intervals_to_mask(one.intervals, series.timestamps)
    names = frame["point_id"].astype(str) if "point_id" in frame else pd.Series("", index=frame.index)
    return pd.DataFrame(
        {
            "point_id": names, "timestamp": frame["timestamp"], "score": scores,
            "anomaly": abnormal,
        },
        index=frame.index,
    )  # fmt: skip


def series_of(frame: pd.DataFrame) -> list[tuple[Series, IntArray]]:
    """The series in a frame, each with the positions of its rows in time order.

    Raises:
        SeriesError: no timestamps or numbers that are no index, no numeric column, a row without a point, or two rows
            of one point at the same time.
    """
    import pandas as pd

    if "timestamp" not in frame:
        raise SeriesError(f"The frame has no column timestamp (columns: {list(frame.columns)})", "Name it so.")
    channels = [c for c in frame.columns if c not in ("point_id", "timestamp")]
    if not channels or not all(pd.api.types.is_numeric_dtype(frame[c]) for c in channels):
        raise SeriesError(
            f"The frame's value columns {channels} are not all numeric", "Give one numeric column per channel."
        )
    index = pd.api.types.is_integer_dtype(frame["timestamp"])
    stamps = _stamps(frame["timestamp"])
    if "point_id" in frame and frame["point_id"].isna().any():
        row = _first(frame["point_id"].isna())
        raise SeriesError(f"The frame's row {row} has no point_id", "Name its point, or drop it.")
    raw = frame[channels].to_numpy(np.float64, na_value=np.nan)
    values: FloatArray = np.where(np.isfinite(raw), raw, np.nan)
    names = frame["point_id"].astype(str).to_numpy() if "point_id" in frame else np.full(len(frame), "")
    found = []
    for point_id in dict.fromkeys(names):
        rows = np.flatnonzero(names == point_id)
        rows = rows[np.argsort(stamps[rows], kind="stable")]
        if (np.diff(stamps[rows]) == 0).any():
            raise SeriesError(f"The frame has two rows of {point_id or 'its point'} at one time", "Drop one of them.")
        used = np.asarray(np.isfinite(values[rows]).any(axis=0))  # other points' channels are none of this one
        if not used.any():
            used[:] = True
        own = tuple(str(channel) for channel, mine in zip(channels, used, strict=True) if mine)
        kind: TimeKind = "index" if index else "time"
        found.append((Series(str(point_id), stamps[rows], values[rows][:, used], own, kind, source="frame"), rows))
    return found


def _stamps(column: pd.Series) -> IntArray:
    """Timestamps of a frame as ns UTC, in its order.

    Raises:
        SeriesError: none, or such as can be read in several ways.
    """
    import pandas as pd

    if column.isna().any():
        raise SeriesError(f"The frame's row {_first(column.isna())} has no timestamp", "Drop it.")
    if pd.api.types.is_integer_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(np.int64)
        large = (numbers >= LEAST_EPOCH) | (numbers <= -LEAST_EPOCH)
        if not large.any():
            return numbers * NS_PER_SECOND
        raise _unclear(numbers[large][0], _first(large))
    if pd.api.types.is_numeric_dtype(column) or column.map(type).isin((int, float, np.int64, np.float64)).any():
        raise _unclear(column.iloc[0], 0)
    try:
        return pd.DatetimeIndex(pd.to_datetime(column, utc=True, format="ISO8601")).as_unit("ns").asi8
    except (ValueError, TypeError, OverflowError) as error:
        raise SeriesError(
            f"The frame's timestamps cannot be read: {str(error).splitlines()[0][:160]}",
            "Give datetimes: pandas.to_datetime(frame['timestamp'], format=...).",
        ) from error


def _unclear(value: object, row: int) -> SeriesError:
    return SeriesError(
        f"The frame's timestamp {value} (row {row}) is a number that may count seconds, ms, us or ns since 1970",
        "Give datetimes: pandas.to_datetime(frame['timestamp'], unit='ms', utc=True); an index is below 100,000,000.",
    )


def _first(mask: Any) -> int:
    """Position of the first true entry."""
    return int(np.argmax(np.asarray(mask)))
