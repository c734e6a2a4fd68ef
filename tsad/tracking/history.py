"""The learning curve of a loop as MLflow draws it: one run whose metrics have the iterations as steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tsad.tracking.experiment import Experiment
from tsad.tracking.states import tag_is

HISTORY = "history"  # kind of the run, and its name
WRITTEN = "tsad.written"  # numbers of the iterations in it
NOTE = "Figures of the champion on the gold set after each iteration (step = iteration, time = its end)."


@dataclass(frozen=True)
class Point:
    """An iteration as a step of the curve.

    Attributes:
        ended: ms since 1970 UTC.
    """

    iteration: int
    ended: int
    figures: Mapping[str, float]


def history_run(loop: Experiment) -> str:
    """Id of the loop's history run, "" where it has none yet; of two that were made at once the older one counts."""
    runs = loop.search(tag_is("tsad.kind", HISTORY))
    return str(runs[0].info.run_id) if runs else ""


def write_history(loop: Experiment, points: list[Point]) -> str:
    """Put iterations into the loop's history run; what is in it already is left alone, and a repeated write is one
    point, since step, time and value are those of the iteration.

    The run is FINISHED between writes: nobody works on it, and MLflow takes metrics all the same.

    Returns:
        Id of the run; "" where there is nothing to write.

    Raises:
        ClaimError: the loop's lock is not held.
    """
    loop.require_lock("Writing the loop's history")
    client, runs = loop.store.client, loop.search(tag_is("tsad.kind", HISTORY))
    written = set(runs[0].data.tags.get(WRITTEN, "").split()) if runs else set()
    missing = [point for point in points if str(point.iteration) not in written]
    if not missing:
        return str(runs[0].info.run_id) if runs else ""
    run_id = str(runs[0].info.run_id) if runs else _made(loop)
    if not runs or runs[0].info.status != "FINISHED":  # new, or killed while it was made
        client.set_terminated(run_id, "FINISHED")
    _write(loop, run_id, missing)
    numbers = sorted(int(number) for number in written | {str(point.iteration) for point in missing})
    client.set_tag(run_id, WRITTEN, " ".join(map(str, numbers)))
    return run_id


def _made(loop: Experiment) -> str:
    """A new run; where another host has made one meanwhile, its own is taken back if it is the younger one."""
    run_id = loop.create_run(HISTORY, {"tsad.kind": HISTORY, "mlflow.note.content": NOTE})
    oldest = history_run(loop) or run_id
    if oldest != run_id:
        loop.store.client.delete_run(run_id)
    return oldest


def _write(loop: Experiment, run_id: str, points: list[Point]) -> None:
    from mlflow.entities import Metric

    for point in points:
        figures = {key: value for key, value in point.figures.items() if math.isfinite(value)}
        metrics = [Metric(key, value, point.ended, point.iteration) for key, value in figures.items()]
        loop.store.client.log_batch(run_id, metrics=metrics)
