"""Which column of a file is what: configured names first, then those that are usual."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tsad.core.errors import SeriesError

TIME_NAMES = (
    "timestamp", "time", "datetime", "date_time", "date", "ts", "index", "时间戳", "时间", "日期", "", "unnamed: 0",
)  # fmt: skip
LABEL_NAMES = ("label", "labels", "is_anomaly", "anomaly", "标签")
POINT_NAMES = ("point_id", "point", "tag", "kpi id", "id", "测点")
# Columns of 0 and 1 that mark points in another way than a label: never channels, and no label unless named.
MARK_NAMES = frozenset({
    "changepoint", "change_point", "change point", "is_changepoint", "outlier", "is_outlier", "outliers", "anomalies",
    "anomalous", "is_anomalous", "abnormal", "is_abnormal", "attack", "is_attack", "fault", "is_fault", "faulty",
    "ground_truth", "groundtruth", "gt", "y_true", "target_anomaly", "anomaly_flag", "异常", "是否异常",
})  # fmt: skip
ROW_NAMES = frozenset({
    "", "index", "idx", "id", "row", "row_id", "rowid", "rownum", "row_number", "row number", "row no", "nr",
    "nr.", "no", "no.", "#", "num", "number", "lfd", "lfd. nr.", "lfd.nr.", "lfdnr", "zeile", "record", "rec", "seq",
    "sequence", "serial", "s.no", "s.no.", "sno", "entry", "序号", "编号", "行号",
})  # fmt: skip
COLUMNS = "columns"  # the note of a series that holds :func:`roles_text`
_NAMED = 8  # channels
_NAMELESS = re.compile(r"|unnamed: ?\d+(?:_level_\d+)?|__index_level_\d+__")


@dataclass(frozen=True)
class Columns:
    """Which column is what, in one file.

    Attributes:
        times: the columns that make the time, one behind the other.
        ignored: those that are not read, each with the reason.
    """

    times: tuple[str, ...]
    values: tuple[str, ...]
    label: str | None
    point: str | None
    ignored: tuple[tuple[str, str], ...] = ()

    @property
    def time(self) -> str:
        """The column of times, or the first of several."""
        return self.times[0]

    def read(self, values: Sequence[str]) -> list[str]:
        """All columns to read, each once, with these of the values."""
        return [n for n in dict.fromkeys((self.point, *self.times, self.label, *values)) if n is not None]


@dataclass(frozen=True)
class ColumnRules:
    """How columns are chosen.

    Attributes:
        layout: ``multichannel`` (columns are channels), ``wide`` (columns are points), ``long`` (a point column).
        time, point: names, or ``None`` for the usual ones; the time falls back to the first column. Several names of
            time columns are date and time of day.
        values: names, or ``None`` for all others.
        ignored: shell patterns of columns that are never values, unless named in ``values``.
        label: a name, ``auto`` for the usual ones where there is one, or ``None``. Wide files have none.
    """

    layout: str
    time: str | tuple[str, ...] | None
    point: str | None
    values: tuple[str, ...] | None
    ignored: tuple[str, ...]
    label: str | None

    def choose(self, path: Path, names: Sequence[str]) -> Columns:
        """The columns of one file.

        Raises:
            SeriesError: a configured column is not there, or nothing is left to be a value.
        """
        if len(names) < 2:
            raise SeriesError(f"{path} has the single column {names[0]!r}", "Set source.separator.")
        point = None
        if self.layout == "long":
            point = _find(path, names, self.point, POINT_NAMES, "point_column")
            if point is None:
                raise SeriesError(f"{path} has no point column among {', '.join(names)}", "Set source.point_column.")
        times = self._times(path, names, point)
        label = None
        if self.label is not None and self.layout != "wide":
            label = _find(path, names, None if self.label == "auto" else self.label, LABEL_NAMES, "label_column")
        taken = {*times, label, point}
        if self.values is not None:
            for name in self.values:
                _find(path, names, name, (), "value_columns")
            others = [(n, "not in source.value_columns") for n in names if n not in taken | set(self.values)]
            return Columns(times, self.values, label, point, tuple(others))
        reasons = {n: self._reason(n) for n in names if n not in taken}
        values = [n for n, why in reasons.items() if not why]
        if not values:  # a single column of values needs no name
            values = [n for n, why in reasons.items() if why == "no name"][:1]
        if not values:
            raise SeriesError(f"{path} has no value column among {', '.join(names)}", "Set source.value_columns.")
        ignored = tuple((n, why) for n, why in reasons.items() if why and n not in values)
        return Columns(times, tuple(values), label, point, ignored)

    def _times(self, path: Path, names: Sequence[str], point: str | None) -> tuple[str, ...]:
        if isinstance(self.time, tuple):
            for name in self.time:
                _find(path, names, name, (), "time_column")
            return self.time
        time = _find(path, names, self.time, TIME_NAMES, "time_column")
        return (next(n for n in names if n != point) if time is None else time,)

    def _reason(self, name: str) -> str:
        """Why a column is never a value; "" = it may be."""
        lowered = name.strip().lower()
        if any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in self.ignored):
            return "source.ignore_columns"
        if _NAMELESS.fullmatch(lowered):
            return "no name"
        if self.layout != "wide" and lowered in LABEL_NAMES:
            return "marks labels in another way"
        return ""


def roles_text(
    times: Sequence[str], point: str | None, channels: Sequence[str], label: str | None, ignored: Mapping[str, str]
) -> str:
    """What the columns of a file or table became, for people: ``time t; channel a; ignored note (words)``."""
    parts = [f"time {' + '.join(times)}"]
    if point:
        parts.append(f"point {point}")
    if channels:
        more = f" and {len(channels) - _NAMED} more" if len(channels) > _NAMED else ""
        parts.append(f"channel{'s' if len(channels) > 1 else ''} {', '.join(channels[:_NAMED])}{more}")
    if label:
        parts.append(f"label {label}")
    if ignored:
        parts.append(f"ignored {', '.join(f'{name or repr(name)} ({why})' for name, why in ignored.items())}")
    return "; ".join(parts)


def _find(path: Path, names: Sequence[str], wanted: str | None, usual: Sequence[str], key: str) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise SeriesError(
                f"{path} has no column {wanted!r}: it has {', '.join(names[:12])}", f"Change source.{key}."
            )
        return wanted
    lowered = {n.lower(): n for n in reversed(names)}
    return next((lowered[u] for u in usual if u in lowered), None)
