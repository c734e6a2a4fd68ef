"""Review queues on disk: the chosen windows with their values and proposals, before anybody has answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tsad.core.advice import give_up
from tsad.core.errors import DatasetError
from tsad.core.overview import SeriesOverview
from tsad.core.reviews import Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series
from tsad.files import atomic
from tsad.files.series_table import overview_table, overviews_of, series_of, series_table
from tsad.training import records

WINDOWS, SERIES, OVERVIEWS = "windows.json", "series.parquet", "overviews.parquet"


def save_queue(choices: Sequence[Choice], folder: Path) -> None:
    """Write the choices to ``folder``, whole or not at all; series without their labels.

    Raises:
        StorageError: disk full, read-only folder.
    """
    import pyarrow.parquet as pq

    unique: dict[int, Series] = {id(c.window.series): c.window.series for c in choices}
    row_of = {key: row for row, key in enumerate(unique)}
    overviews = {id(c.overview): c.overview for c in choices if c.overview is not None}
    overview_row = {key: row for row, key in enumerate(overviews)}
    rows = [
        {
            **records.window_record(ReviewedWindow(c, (), ReviewState.PENDING), row_of[id(c.window.series)]),
            "purpose": c.purpose.value, "iteration": c.iteration, "overview": overview_row.get(id(c.overview)),
        }
        for c in choices
    ]
    with atomic.new_folder(folder) as fresh:
        (fresh / WINDOWS).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        pq.write_table(series_table(list(unique.values())), fresh / SERIES, compression="zstd")
        if overviews:
            pq.write_table(overview_table(list(overviews.values())), fresh / OVERVIEWS, compression="zstd")


def load_queue(folder: Path) -> list[Choice]:
    """The choices that :func:`save_queue` wrote, in their order; those of an older tsad without overviews.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        series = series_of(pq.read_table(folder / SERIES, partitioning=None))
        rows = json.loads((folder / WINDOWS).read_text(encoding="utf-8"))
        kept = folder / OVERVIEWS
        overviews = overviews_of(pq.read_table(kept, partitioning=None)) if kept.is_file() else []
        choices = [records.window_of(row, series, Purpose(row["purpose"])).choice for row in rows]
        return [
            replace(choice, iteration=row.get("iteration", 0), overview=_at(overviews, row.get("overview")))
            for choice, row in zip(choices, rows, strict=True)
        ]
    except (OSError, KeyError, IndexError, TypeError, ValueError, pa.ArrowException) as error:
        raise DatasetError(
            f"The review queue in {folder} cannot be read ({type(error).__name__}: {error})",
            give_up(),
        ) from error


def _at(overviews: Sequence[SeriesOverview], row: int | None) -> SeriesOverview | None:
    return None if row is None else overviews[row]
