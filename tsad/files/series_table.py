"""Series as an Arrow table and back; exact both ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.series import Series

if TYPE_CHECKING:
    import pyarrow as pa


def series_table(excerpts: Sequence[Series]) -> pa.Table:
    """One row per excerpt; timestamps are a list [T], values a flat list [T * C], point after point."""
    import pyarrow as pa

    def lists(arrays: Iterable[np.ndarray], kind: type) -> pa.Array:
        flat: list[np.ndarray] = [np.ascontiguousarray(a, dtype=kind).ravel() for a in arrays]
        offsets = np.concatenate(([0], np.cumsum([len(a) for a in flat]))).astype(np.int64)
        joined = np.concatenate(flat) if flat else np.empty(0, kind)
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(joined))  # NaN stays NaN, not null

    return pa.table({
        "point_id": pa.array([s.point_id for s in excerpts], pa.string()),
        "time_kind": pa.array([s.time_kind for s in excerpts], pa.string()),
        "source": pa.array([s.source for s in excerpts], pa.string()),
        "channels": pa.array([list(s.channels) for s in excerpts], pa.list_(pa.string())),
        "notes": pa.array([json.dumps(dict(s.notes), ensure_ascii=False) for s in excerpts], pa.string()),
        "timestamps": lists((s.timestamps for s in excerpts), np.int64),
        "values": lists((s.values for s in excerpts), np.float64),
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


def _arrays(table: pa.Table, name: str) -> list[np.ndarray]:
    out: list[np.ndarray] = []
    for chunk in table.column(name).chunks:
        flat, offsets = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        out += [flat[a:b] for a, b in itertools.pairwise(offsets)]
    return out
