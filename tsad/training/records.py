"""Reviewed windows as JSON records; exact both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal

BESIDE = ("verdict", "note", "seconds", "batch")  # of an annotation, kept where somebody gave it


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
                **{key: getattr(a, key) for key in BESIDE if getattr(a, key)},
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
        Annotation(
            a["annotator"], _unpack(a["intervals"]), a["submitted_at"], a["skipped"], a["annotation_id"],
            **{key: a[key] for key in BESIDE if key in a},
        )
        for a in record["annotations"]
    )
    return ReviewedWindow(choice, annotations, ReviewState(record["state"]), _unpack(record["intervals"]))


def _proposals(record: Mapping[str, Any]) -> tuple[Proposal, ...]:
    """All proposals of a record; a file of before holds the champion's alone."""
    own = [] if record["proposal"] is None else [[record["proposal"], record["origin"] or ["", "unversioned"]]]
    return tuple(Proposal(_unpack(rows), Origin(*origin)) for rows, origin in record.get("proposals", own))


def _origin(origin: Origin) -> list[str | None]:
    return [origin.detector, origin.model_version, origin.dataset_version, origin.config_hash]


def _pack(intervals: Sequence[Interval]) -> list[list[Any]]:
    return [[i.start, i.end, i.label, i.score, *([i.note] if i.note else [])] for i in intervals]


def _unpack(rows: Sequence[Sequence[Any]]) -> tuple[Interval, ...]:
    return tuple(Interval(*row) for row in rows)
