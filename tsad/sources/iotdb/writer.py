"""Detections beside the measurement: ``<point>.anomaly_score`` and ``<point>.anomaly`` at each of its timestamps."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.sources.iotdb.connection import Connection
from tsad.sources.iotdb.models import FLAG, SCORE, Place, TableModel, TreeModel
from tsad.sources.iotdb.names import identifier, quoted, strict

_ROWS = 100_000  # of one tablet: 2 MB
_BOOLEAN, _DOUBLE, _STRING = 0, 4, 11
_TAG, _FIELD = 0, 1


def write_detection(
    connection: Connection, model: TreeModel | TableModel, place: Place, stamps: IntArray, scores: FloatArray,
    flags: BoolArray,
) -> int:  # fmt: skip
    """Write scores and flags; the same again changes nothing. Returns the rows written.

    Args:
        stamps: [T] in the server's precision.
        scores, flags: [T].

    Raises:
        AccessError: the user lacks the right.
    """
    base = "" if model.layout == "device" else place.fields[0].name + "."
    names = [base + SCORE[1:], base + FLAG[1:]]
    if isinstance(model, TableModel):
        target = _table(connection, model, place, names)
    else:
        target = _tree(connection, place, names)
    for at in range(0, len(stamps), _ROWS):
        part = slice(at, at + _ROWS)
        count = len(stamps[part])
        connection.insert(
            **target(count, scores[part].astype(">f8").tobytes() + flags[part].astype(np.uint8).tobytes()),
            timestamps=stamps[part].astype(">i8").tobytes(),
            size=count,
        )
    return len(stamps)


def _tree(connection: Connection, place: Place, names: list[str]) -> Any:
    device = str(place.device[0])
    shown = connection.table(f"show devices {strict(device)}")
    aligned = any(str(row[1]).lower() == "true" for row in shown if row[0] == device)
    measurements = [quoted(name) for name in names]

    def target(count: int, values: bytes) -> dict[str, Any]:
        return {
            "prefixPath": device, "measurements": measurements, "types": [_DOUBLE, _BOOLEAN], "values": values,
            "isAligned": aligned,
        }  # fmt: skip

    return target


def _table(connection: Connection, model: TableModel, place: Place, names: list[str]) -> Any:
    for name, kind in zip(names, ("double", "boolean"), strict=True):
        connection.execute(f"alter table {model.place} add column if not exists {identifier(name)} {kind} field")
    tags = [(tag, value) for tag, value in zip(model.all_tags, place.device, strict=True) if value is not None]

    def target(count: int, values: bytes) -> dict[str, Any]:
        return {
            "prefixPath": model.table, "measurements": [*(tag for tag, _ in tags), *names],
            "types": [*[_STRING] * len(tags), _DOUBLE, _BOOLEAN], "values": b"".join(_repeat(tags, count)) + values,
            "isAligned": False, "writeToTable": True, "columnCategories": [*[_TAG] * len(tags), _FIELD, _FIELD],
        }  # fmt: skip

    return target


def _repeat(tags: list[tuple[str, str]], count: int) -> Iterator[bytes]:
    for _, value in tags:
        text = value.encode()
        yield (struct.pack(">i", len(text)) + text) * count
