"""Reviewed windows as JSON records, excerpts as an Arrow table; exact both ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal

if TYPE_CHECKING:
    import pyarrow as pa


def window_record(reviewed: ReviewedWindow, excerpt: int) -> dict[str, Any]:
    """One reviewed window as JSON-able values; ``excerpt`` is the row of its series in the table.

    Times are ns since 1970-01-01 UTC as integers, intervals ``[start, end, label, score]``, half-open, and a fifth
    item where there is a note. ``proposal`` and ``origin`` are the champion's; ``proposals`` holds all, where others
    than the champion propose.
    """
    choice, window = reviewed.choice, reviewed.window
    several = {"proposals": [[_pack(p.intervals), _origin(p.origin)] for p in choice.proposals]}
    return {
        "window_id": window.window_id, "point_id": window.point_id,
        "excerpt": excerpt, "start": window.start, "stop": window.stop,
        "state": reviewed.state.value, "intervals": _pack(reviewed.intervals),
        "annotations": [
            {
                "annotator": a.annotator, "intervals": _pack(a.intervals), "submitted_at": a.submitted_at,
                "skipped": a.skipped, "annotation_id": a.annotation_id,
            }
            for a in reviewed.annotations
        ],
        "probability": choice.probability, "strategy": choice.strategy, "score": choice.score,
        "proposal": None if choice.proposal is None else _pack(choice.proposal),
        "origin": None if choice.origin is None else _origin(choice.origin),
    } | (several if len(choice.proposals) > 1 else {})  # fmt: skip


def window_of(record: Mapping[str, Any], excerpts: Sequence[Series], purpose: Purpose) -> ReviewedWindow:
    """The inverse of :func:`window_record`."""
    choice = Choice(
        Window(excerpts[record["excerpt"]], record["start"], record["stop"]),
        record["probability"], record["strategy"], purpose, _proposals(record), record["score"],
    )  # fmt: skip
    annotations = tuple(
        Annotation(a["annotator"], _unpack(a["intervals"]), a["submitted_at"], a["skipped"], a["annotation_id"])
        for a in record["annotations"]
    )
    return ReviewedWindow(choice, annotations, ReviewState(record["state"]), _unpack(record["intervals"]))


def _proposals(record: Mapping[str, Any]) -> tuple[Proposal, ...]:
    """All proposals of a record; a file of before holds the champion's alone."""
    own = [] if record["proposal"] is None else [[record["proposal"], record["origin"] or ["", "unversioned"]]]
    return tuple(Proposal(_unpack(rows), Origin(*origin)) for rows, origin in record.get("proposals", own))


def _origin(origin: Origin) -> list[str | None]:
    return [origin.detector, origin.model_version, origin.dataset_version, origin.config_hash]


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


def _pack(intervals: Sequence[Interval]) -> list[list[Any]]:
    return [[i.start, i.end, i.label, i.score, *([i.note] if i.note else [])] for i in intervals]


def _unpack(rows: Sequence[Sequence[Any]]) -> tuple[Interval, ...]:
    return tuple(Interval(*row) for row in rows)
