"""Whether a column of a file that is read as one series names points: then its rows are of several series."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from tsad.core.types import FloatArray, IntArray
from tsad.sources.csv_columns import POINT_NAMES

_LIKE = frozenset(POINT_NAMES) | {
    "tagname", "tag_name", "tag name", "sensor", "sensor_id", "sensorid", "sensor_name", "sensor name", "name",
    "variable", "parameter", "param", "channel", "channel_name", "item", "item_id", "itemid", "unique_id", "series",
    "series_id", "metric", "metric_name", "measurement", "signal", "signal_name", "signalname", "kpi", "kpi_id",
    "kpiid",
    "device", "device_id", "deviceid", "asset", "machine", "machine_id", "equipment", "station", "station_id",
    "stations_id", "node", "host", "hostname", "instance", "entity_id", "messstelle", "sensorname", "kanal", "ts_id",
    "point_name", "pointname", "pointid", "symbol", "ticker", "位号", "点位", "点名", "变量", "设备", "测点名称",
}  # fmt: skip
_SHARED = 0.5  # of the rows that have their time in common with others: one row per point and time
_EXPLAINED, _ALL = 0.9, 1 - 1e-9  # of the variance, by which point a row is of


def names_points(name: str, column: pa.ChunkedArray, stamps: IntArray, values: Iterable[FloatArray]) -> bool:
    """Whether this column says which series a row is of.

    It does where it is called so, or where times are there once for each of its entries, or where its entries come one
    behind the other, each beginning anew in time, or in turns, and tell the values apart.

    Args:
        column: [T] text or integers.
        stamps: [T] ns UTC, in the order of the rows.
        values: [T] of each channel.
    """
    named, text = name.strip().lower() in _LIKE, pa.types.is_string(column.type)
    if not named and not text:
        return False
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    number, rows = len(encoded.dictionary), len(codes)
    if not 2 <= number <= rows // 2:
        return False
    return named or _shared(codes, stamps) or _blocks(codes, number, stamps) or _turns(codes, number, values)


def _shared(codes: IntArray, stamps: IntArray) -> bool:
    _, inverse, counts = np.unique(stamps, return_inverse=True, return_counts=True)
    if (counts[inverse] > 1).mean() < _SHARED:
        return False
    return len(np.unique(np.stack((stamps, codes)), axis=1).T) == len(codes)


def _blocks(codes: IntArray, number: int, stamps: IntArray) -> bool:
    changes = np.flatnonzero(np.diff(codes)) + 1
    return len(changes) == number - 1 and bool((stamps[changes] <= stamps[changes - 1]).all())


def _turns(codes: IntArray, number: int, values: Iterable[FloatArray]) -> bool:
    rows = len(codes)
    if rows < 3 * number or not (codes == codes[np.arange(rows) % number]).all():
        return False
    # a state that alternates with the values explains all of them, points vary themselves
    return any(_EXPLAINED < _explained(codes, number, column) < _ALL for column in values)


def _explained(codes: IntArray, number: int, values: FloatArray) -> float:
    """The share of the variance between the entries."""
    known = ~np.isnan(values)
    codes, values = codes[known], values[known]
    total = float(np.var(values)) if len(values) else 0.0
    if not total:
        return 0.0
    counts = np.maximum(np.bincount(codes, minlength=number), 1)
    means = np.bincount(codes, weights=values, minlength=number) / counts
    return 1.0 - float(np.mean((values - means[codes]) ** 2)) / total
