"""The rows of a leaderboard: kept beside the scores they were made from, averaged, written, drawn."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsad.core.names import cell, safe_name
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray
from tsad.files.atomic import atomic
from tsad.metrics.figures import FIGURES, pooled_figures
from tsad.metrics.paired import mean_interval, mean_of_means

Row = dict[str, Any]
MEAN = "mean"  # in place of a set's or series' name
POOLED = "pooled"  # in place of a series' name: counts of all series added up
COSTS = ("points", "points_per_second", "peak_mb")
TSB_AD = "vus_pr_tsb_ad"  # VUS-PR whose widest buffer is the series' period, as in TSB-AD's tables
MEASURED = (*FIGURES, TSB_AD)
CHOSEN = "chosen_on"  # whether anything was chosen on a set: yes, no, partly
COLUMNS = ("set", CHOSEN, "detector", "series", *MEASURED, *COSTS,
           *(f"{f}_{end}" for f in MEASURED for end in ("low", "high")))  # fmt: skip
_META = b"tsad"  # key of the Parquet file's own record


def score_file(folder: Path, detector: str, set_name: str, point_id: str) -> Path:
    """Where the scores of one series lie: ``scores/<detector>/<set>/<series>.parquet``."""
    return folder / "scores" / safe_name(detector) / safe_name(set_name) / f"{safe_name(point_id)}.parquet"


def keep(path: Path, series: Series, scores: FloatArray, row: Row, key: str) -> None:
    """Write timestamps and scores, and with them the row and the key of what it was made from.

    Times are UTC; a series with an integer index keeps the index.

    Raises:
        StorageError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamps = (
        pa.array(series.timestamps // NS_PER_SECOND)
        if series.time_kind == "index"
        else pa.array(series.timestamps, pa.timestamp("ns", "UTC"))
    )
    about = json.dumps({"key": key, "row": row})
    table = pa.table({"timestamp": stamps, "score": scores}).replace_schema_metadata({_META: about.encode()})
    with atomic(path) as partial:
        pq.write_table(table, partial)


def kept(path: Path, key: str) -> Row | None:
    """The row that was kept under the same key; ``None`` where there is none, or only one of other data or options."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_META])
    except (OSError, KeyError, ValueError, pa.ArrowInvalid):
        return None
    return dict(about["row"]) if about.get("key") == key else None


def mean_rows(rows: Sequence[Row], *, resamples: int, seed: int) -> list[Row]:
    """Per detector a row for each set (mean over its series) and one over the sets (mean of their means).

    Each figure has its 95% bootstrap interval over series. Points add up, ``points_per_second`` is all of them by all
    seconds, ``peak_mb`` the highest.
    """
    found = []
    for detector in dict.fromkeys(row["detector"] for row in rows):
        mine = [row for row in rows if row["detector"] == detector]
        names = list(dict.fromkeys(row["set"] for row in mine))
        for name in [*names, MEAN]:
            members = [[row for row in mine if row["set"] == one] for one in (names if name == MEAN else [name])]
            found.append({"set": name, "detector": detector, "series": MEAN, **_summary(members, resamples, seed)})
    return found


def pooled_rows(rows: Sequence[Row]) -> list[Row]:
    """Per detector a row for each set with the F1 of its series' summed counts, and one with the mean over the sets."""
    found: list[Row] = []
    for detector in dict.fromkeys(row["detector"] for row in rows):
        mine = [row for row in rows if row["detector"] == detector]
        sets = {name: pooled_figures([row for row in mine if row["set"] == name]) for name in (r["set"] for r in mine)}
        sets[MEAN] = {key: float(np.mean([one[key] for one in sets.values()])) for key in next(iter(sets.values()))}
        found += [{"set": name, "detector": detector, "series": POOLED, **one} for name, one in sets.items()]
    return found


def _summary(members: Sequence[Sequence[Row]], resamples: int, seed: int) -> Row:
    said = {row[CHOSEN] for rows in members for row in rows}
    summary: Row = {CHOSEN: said.pop() if len(said) == 1 else "partly"}
    for figure in MEASURED:
        strata = [np.array([row[figure] for row in rows], np.float64) for rows in members]
        summary[figure] = mean_of_means(strata)
        low, high = mean_interval(strata, resamples=resamples, seed=seed)
        summary |= {f"{figure}_low": low, f"{figure}_high": high}
    every = [row for rows in members for row in rows]
    points = sum(row["points"] for row in every)
    seconds = sum(row["points"] / row["points_per_second"] for row in every)
    peak = max(row["peak_mb"] for row in every)
    return {**summary, "points": points, "points_per_second": points / seconds, "peak_mb": peak}


def write(path: Path, rows: Sequence[Row]) -> None:
    """``leaderboard.csv`` with COLUMNS; what a row does not have stays empty, what it has beside them is left out.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else cell(str(v)) for k, v in row.items()} for row in rows)
    with atomic(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def table(means: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What people look at: the mean rows, best mean first, VUS-PR with its interval."""
    overall = {row["detector"]: row["vus_pr"] for row in means if row["set"] == MEAN}
    order = sorted(overall, key=lambda name: -overall[name])
    sets = list(dict.fromkeys(row["set"] for row in means))
    shown = sorted(means, key=lambda row: (sets.index(row["set"]) + (row["set"] == MEAN) * len(sets),
                                           order.index(row["detector"])))  # fmt: skip
    return [_shown(row) for row in shown]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("vus_pr", TSB_AD, "auc_pr", "interval_f1", "rotated_interval_f1", "composite_f1", "oracle_interval_f1")
    titles = ("VUS-PR", "TSB-AD's", "AUC-PR", "interval F1", "rotated", "composite F1", "oracle interval F1")
    ends = [row["vus_pr_low"], row["vus_pr_high"]]
    return {
        "set": row["set"], "chosen on": row[CHOSEN], "detector": row["detector"],
        **{title: row[name] for title, name in zip(titles, names, strict=True)},
        "VUS-PR 95%": "-" if ends[0] != ends[0] else f"{ends[0]:.3f} to {ends[1]:.3f}",
        "points/s": f"{row['points_per_second']:,.0f}", "peak MB": f"{row['peak_mb']:.0f}",
    }  # fmt: skip
