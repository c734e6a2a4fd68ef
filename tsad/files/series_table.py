"""Series, and series in little, as Arrow tables and back; exact both ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.overview import SeriesOverview
from tsad.core.series import Series

if TYPE_CHECKING:
    import pyarrow as pa


def series_table(excerpts: Sequence[Series]) -> pa.Table:
    """One row per excerpt; timestamps are a list [T], values a flat list [T * C], point after point."""
    import pyarrow as pa

    return pa.table({
        "point_id": pa.array([s.point_id for s in excerpts], pa.string()),
        "time_kind": pa.array([s.time_kind for s in excerpts], pa.string()),
        "source": pa.array([s.source for s in excerpts], pa.string()),
        "channels": pa.array([list(s.channels) for s in excerpts], pa.list_(pa.string())),
        "notes": pa.array([json.dumps(dict(s.notes), ensure_ascii=False) for s in excerpts], pa.string()),
        "timestamps": _lists((s.timestamps for s in excerpts), np.int64),
        "values": _lists((s.values for s in excerpts), np.float64),
    })  # fmt: skip


def series_of(table: pa.Table) -> list[Series]:
    """The inverse of :func:`series_table`; labels are never stored."""
    plain = {name: table.column(name).to_pylist() for name in ("point_id", "time_kind", "source", "channels", "notes")}
    stamps, values = _arrays(table, "timestamps"), _arrays(table, "values")
    return [
        Series(
            plain["point_id"][k], stamps[k], values[k].reshape(len(stamps[k]), len(plain["channels"][k])),
            tuple(plain["channels"][k]), plain["time_kind"][k],
            source=plain["source"][k], notes=json.loads(plain["notes"][k]),
        )
        for k in range(table.num_rows)
    ]  # fmt: skip


def overview_table(overviews: Sequence[SeriesOverview]) -> pa.Table:
    """One row per series in little; its arrays as flat lists, stretch after stretch."""
    import pyarrow as pa

    return pa.table({
        "point_id": pa.array([o.point_id for o in overviews], pa.string()),
        "time_kind": pa.array([o.time_kind for o in overviews], pa.string()),
        "channels": pa.array([list(o.channels) for o in overviews], pa.list_(pa.string())),
        "edges": _lists((o.edges for o in overviews), np.int64),
        **{name: _lists((getattr(o, name) for o in overviews), np.float64) for name in ("low", "high", "usual")},
        "points": pa.array([o.points for o in overviews], pa.int64()),
        "step": pa.array([o.step for o in overviews], pa.int64()),
        "missing": pa.array([o.missing for o in overviews], pa.float64()),
    })  # fmt: skip


def overviews_of(table: pa.Table) -> list[SeriesOverview]:
    """The inverse of :func:`overview_table`."""
    plain = table.drop_columns(["edges", "low", "high", "usual"]).to_pylist()
    edges, low, high, usual = (_arrays(table, name) for name in ("edges", "low", "high", "usual"))
    out = []
    for k, row in enumerate(plain):
        width = len(row["channels"])
        arrays = (edges[k], low[k].reshape(-1, width), high[k].reshape(-1, width), usual[k].reshape(2, width))
        kind, names = row["time_kind"], tuple(row["channels"])
        out.append(SeriesOverview(row["point_id"], names, kind, *arrays, row["points"], row["step"], row["missing"]))
    return out


def _lists(arrays: Iterable[np.ndarray], kind: type) -> pa.Array:
    import pyarrow as pa

    flat: list[np.ndarray] = [np.ascontiguousarray(a, dtype=kind).ravel() for a in arrays]
    offsets = np.concatenate(([0], np.cumsum([len(a) for a in flat]))).astype(np.int64)
    joined = np.concatenate(flat) if flat else np.empty(0, kind)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(joined))  # NaN stays NaN, not null


def _arrays(table: pa.Table, name: str) -> list[np.ndarray]:
    out: list[np.ndarray] = []
    for chunk in table.column(name).chunks:
        flat, offsets = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        out += [flat[a:b] for a, b in itertools.pairwise(offsets)]
    return out
