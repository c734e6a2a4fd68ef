"""A table of labels: a row per interval and submission, by several annotators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from tsad.core.errors import LabelError, SeriesError, SourceError
from tsad.core.reviews import Annotation
from tsad.core.types import ANOMALY, IntArray, Interval
from tsad.sources.clock import as_arrow
from tsad.sources.sql.connection import Database
from tsad.sources.sql.options import PARTS
from tsad.sources.sql.tables import described, plain
from tsad.sources.times import TimeReader

_NAMES = 5_000  # points named in one statement


@dataclass(frozen=True)
class LabelsTable:
    """A table of labels.

    Attributes:
        columns: part -> column; without ``submitted_at`` all rows of an annotator are one submission.
        inclusive: an end is the last abnormal instant.
    """

    name: str
    schema: str | None
    columns: Mapping[str, str | None]
    inclusive: bool


def read_submissions(
    database: Database, table: LabelsTable, points: Sequence[str], times: TimeReader
) -> dict[str, list[Annotation]]:
    """What people submitted for these points; points that nobody labelled are absent.

    Args:
        times: how the times of a series are read; its labels' times alike.

    Raises:
        SourceError: no such table or column.
        LabelError: a row with a start but no end, an end before its start, a time that cannot be read.
    """
    picked = {part: column for part in PARTS if (column := table.columns.get(part))}
    rows: list[dict[str, Any]] = []
    for at in range(0, len(points), _NAMES):
        some = points[at : at + _NAMES]
        rows += database.run(
            partial(_rows, place=database.place, table=table, picked=picked, points=some)
        )
    where = f"{database.place}/{table.name}"
    start, end = (_stamps([r[p] for r in rows], times, f"{where}: column {picked[p]!r}") for p in ("start", "end"))
    said: dict[tuple[str, str, Any], list[Interval]] = defaultdict(list)
    for row in rows:
        marks = said[str(row["point"]), str(row.get("annotator")), row.get("submitted_at")]
        if row["start"] is None and row["end"] is None:
            continue  # she looked at it, and nothing is abnormal
        if row["start"] is None or row["end"] is None:
            raise LabelError(f"{where}: a row of {row['point']!r} has only a start or an end", "Give both, or neither.")
        first, stop = start[row["start"]], end[row["end"]] + int(table.inclusive)
        if stop <= first:
            raise LabelError(
                f"{where}: {row['point']!r} is labelled from {row['start']} to {row['end']}, which is not after it",
                "Swap them, or set source.labels_end=inclusive.",
            )
        marks.append(Interval(first, stop, row.get("label") or ANOMALY))
    return _submissions(said)


def _submissions(said: Mapping[tuple[str, str, Any], list[Interval]]) -> dict[str, list[Annotation]]:
    """Oldest first, those without a time before all others; ``submitted_at`` becomes the place in that order."""
    order = sorted({when for _, _, when in said if when is not None})
    place = {when: k for k, when in enumerate(order, start=1)}
    out: dict[str, list[Annotation]] = defaultdict(list)
    for (point, annotator, when), intervals in said.items():
        out[point].append(Annotation(annotator, tuple(sorted(intervals)), place.get(when, 0)))
    return dict(out)


def _rows(
    connection: sa.Connection, place: str, table: LabelsTable, picked: Mapping[str, str], points: Sequence[str]
) -> list[dict[str, Any]]:
    name, schema = table.name, table.schema
    there = described(sa.inspect(connection), name, schema, place)
    missing = [column for column in picked.values() if column not in there]
    if missing:
        raise SourceError(
            f"{place}/{name} has no column {missing[0]!r}: it has {', '.join(there)}",
            "Change source.labels_columns; null = there is none.",
        )
    made = {n: sa.column(n, plain(connection, kind)) for n, kind in there.items()}
    point = made[picked["point"]]
    rows = sa.table(name, *made.values(), schema=schema)
    # names are text here; an integer column is compared as text too, for label tables are small
    named = point if isinstance(point.type, sa.String) else sa.cast(point, sa.String)
    chosen = [made[column].label(part) for part, column in picked.items()]
    statement = sa.select(*chosen).select_from(rows).where(named.in_(points))
    return [dict(row) for row in connection.execute(statement).mappings()]


def _stamps(values: Sequence[Any], times: TimeReader, where: str) -> dict[Any, int]:
    """Each time as the column holds it -> ns UTC."""
    distinct = list({v: None for v in values if v is not None})
    if not distinct:
        return {}
    try:
        column = as_arrow(distinct)
        numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        reader = times if numbers else replace(times, time_format="auto")
        stamps: IntArray = reader.read(pa.chunked_array([column]), where, lambda k: k + 1).stamps
    except SeriesError as error:
        raise LabelError(f"{where}: {error.found}", error.remedy) from error
    return dict(zip(distinct, (int(s) for s in stamps), strict=True))
