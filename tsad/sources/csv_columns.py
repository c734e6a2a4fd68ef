"""Which column of a file is what: configured names first, then those that are usual."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsad.core.errors import SeriesError

TIME_NAMES = (
    "timestamp", "time", "datetime", "date_time", "date", "ts", "index", "时间戳", "时间", "日期", "", "unnamed: 0",
)  # fmt: skip
LABEL_NAMES = ("label", "labels", "is_anomaly", "anomaly", "标签")
POINT_NAMES = ("point_id", "point", "tag", "kpi id", "id", "测点")


@dataclass(frozen=True)
class Columns:
    """Which column is what, in one file."""

    time: str
    values: tuple[str, ...]
    label: str | None
    point: str | None


@dataclass(frozen=True)
class ColumnRules:
    """How columns are chosen.

    Attributes:
        layout: ``multichannel`` (columns are channels), ``wide`` (columns are points), ``long`` (a point column).
        time, point: names, or ``None`` for the usual ones; the time falls back to the first column.
        values: names, or ``None`` for all others.
        ignored: shell patterns of columns that are never values, unless named in ``values``.
        label: a name, ``auto`` for the usual ones where there is one, or ``None``. Wide files have none.
    """

    layout: str
    time: str | None
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
        time = _find(path, names, self.time, TIME_NAMES, "time_column")
        time = next(n for n in names if n != point) if time is None else time
        label = None
        if self.label is not None and self.layout != "wide":
            label = _find(path, names, None if self.label == "auto" else self.label, LABEL_NAMES, "label_column")
        if self.values is not None:
            for name in self.values:
                _find(path, names, name, (), "value_columns")
            return Columns(time, self.values, label, point)
        values = tuple(n for n in names if n not in (time, label, point) and not self._ignores(n))
        if not values:
            raise SeriesError(f"{path} has no value column among {', '.join(names)}", "Set source.value_columns.")
        return Columns(time, values, label, point)

    def _ignores(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in self.ignored)


def _find(path: Path, names: Sequence[str], wanted: str | None, usual: Sequence[str], key: str) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise SeriesError(
                f"{path} has no column {wanted!r}: it has {', '.join(names[:12])}", f"Change source.{key}."
            )
        return wanted
    lowered = {n.lower(): n for n in reversed(names)}
    return next((lowered[u] for u in usual if u in lowered), None)
