"""What detector versions have scored so far, read from the artifacts of their runs; there is no table of our own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tsad.core.errors import TrackingError
from tsad.core.intervals import Span
from tsad.tracking.artifacts import fetch_artifacts, list_artifacts
from tsad.tracking.experiment import Experiment
from tsad.tracking.states import tag_is

CHUNKS = "chunks"


def scored(loop: Experiment, identity: str) -> dict[str, list[Span]]:
    """Ranges of each point that earlier runs of this identity have finished, whatever became of those runs.

    Args:
        identity: tag ``tsad.scored`` of the runs: which version, over which source.

    Returns:
        Point -> ``[start, end)`` in ns UTC, in no order; they may overlap.
    """
    found: dict[str, list[Span]] = {}
    for run in loop.search(tag_is("tsad.scored", identity)):
        for chunk in _chunks(loop, run.info.run_id):
            for point, one in chunk["series"].items():
                found.setdefault(point, []).append((int(one["range"][0]), int(one["range"][1])))
    return found


def _chunks(loop: Experiment, run_id: str) -> list[dict[str, Any]]:
    if not list_artifacts(loop.store, run_id, CHUNKS):
        return []
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_artifacts(loop.store, run_id, CHUNKS, Path(scratch))
        out = []
        for path in sorted(folder.glob("*.json")):
            try:
                out.append(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise TrackingError(f"Artifact {CHUNKS}/{path.name} of run {run_id} is damaged ({error})") from error
        return out
