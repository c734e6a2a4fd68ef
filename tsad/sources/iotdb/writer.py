"""Detections beside the measurement, at each of its timestamps: score, flag, and the version that says so."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.sources.iotdb.connection import Connection
from tsad.sources.iotdb.models import FLAG, SCORE, VERSION, Place, TableModel, TreeModel
from tsad.sources.iotdb.names import identifier, quoted, strict

_ROWS = 100_000  # of one tablet: 2 MB
_BOOLEAN, _DOUBLE, _TEXT, _STRING = 0, 4, 5, 11
_TAG, _FIELD = 0, 1


@dataclass(frozen=True, eq=False)
class JudgedPoints:
    """What is written.

    Attributes:
        stamps: [T] in the server's precision.
        scores, flags: [T].
        model_version: who says so; the same text at each timestamp.
    """

    stamps: IntArray
    scores: FloatArray
    flags: BoolArray
    model_version: str


def write_detection(connection: Connection, model: TreeModel | TableModel, place: Place, judged: JudgedPoints) -> int:
    """Write scores, flags and version; the same again changes nothing. Returns the rows written.

    Raises:
        AccessError: the user lacks the right.
    """
    base = "" if model.layout == "device" else place.fields[0].name + "."
    names = [base + SCORE[1:], base + FLAG[1:], base + VERSION[1:]]
    if isinstance(model, TableModel):
        target = _table(connection, model, place, names)
    else:
        target = _tree(connection, place, names)
    for at in range(0, len(judged.stamps), _ROWS):
        part = slice(at, at + _ROWS)
        count = len(judged.stamps[part])
        scores, flags = judged.scores[part].astype(">f8").tobytes(), judged.flags[part].astype(np.uint8).tobytes()
        connection.insert(
            **target(count, scores + flags + _repeated(judged.model_version, count)),
            timestamps=judged.stamps[part].astype(">i8").tobytes(),
            size=count,
        )
    return len(judged.stamps)


def _tree(connection: Connection, place: Place, names: list[str]) -> Any:
    device = str(place.device[0])
    shown = connection.table(f"show devices {strict(device)}")
    aligned = any(str(row[1]).lower() == "true" for row in shown if row[0] == device)
    measurements = [quoted(name) for name in names]

    def target(count: int, values: bytes) -> dict[str, Any]:
        return {
            "prefixPath": device, "measurements": measurements, "types": [_DOUBLE, _BOOLEAN, _TEXT],
            "values": values,
            "isAligned": aligned,
        }  # fmt: skip

    return target


def _table(connection: Connection, model: TableModel, place: Place, names: list[str]) -> Any:
    for name, kind in zip(names, ("double", "boolean", "string"), strict=True):
        connection.execute(f"alter table {model.place} add column if not exists {identifier(name)} {kind} field")
    tags = [(tag, value) for tag, value in zip(model.all_tags, place.device, strict=True) if value is not None]

    def target(count: int, values: bytes) -> dict[str, Any]:
        return {
            "prefixPath": model.table, "measurements": [*(tag for tag, _ in tags), *names],
            "types": [*[_STRING] * len(tags), _DOUBLE, _BOOLEAN, _STRING],
            "values": b"".join(_repeated(value, count) for _, value in tags) + values,
            "isAligned": False, "writeToTable": True, "columnCategories": [*[_TAG] * len(tags), *[_FIELD] * 3],
        }  # fmt: skip

    return target


def _repeated(text: str, count: int) -> bytes:
    """A column of one text."""
    raw = text.encode()
    return (struct.pack(">i", len(raw)) + raw) * count
