"""The run that holds an iteration's claims: a child of it, so that people who compare iterations need not read them.

Which run that is, is itself decided once: its id is the write-once parameter ``claims`` of the iteration. Several
processes and hosts may make one at the same time, and each may be killed before it names its own: whichever is named
first counts, and the others are deleted by whoever sees them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsad.core.errors import TrackingError
from tsad.tracking.states import tag_is

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tsad.tracking.experiment import Experiment

CLAIMS = "claims"  # the iteration's parameter, and the kind of the run it names


def claims_place(run_id: str, params: Mapping[str, str]) -> str:
    """Where the claims of an iteration are: the run that it names; of an iteration of before the iteration itself, if
    it has any; "" where that is not decided yet.

    Args:
        run_id: of the iteration; ``params`` are its.
    """
    if CLAIMS in params:
        return params[CLAIMS]
    return run_id if any(key.startswith("claim.") for key in params) else ""


def decide_claims(loop: Experiment, run_id: str, number: int) -> str:
    """As :func:`claims_place`, decided now where it was not; returns the id of the run.

    Args:
        number: of the iteration.
    """
    client = loop.store.client
    known = claims_place(run_id, client.get_run(run_id).data.params)
    if known:
        return known
    unnamed = _made(loop, run_id)
    mine = unnamed[0] if unnamed else _make(loop, run_id, number)
    try:
        client.log_param(run_id, CLAIMS, mine)
    except TrackingError:  # whatever the store's words for "write-once": what counts is who is written there now
        if not claims_place(run_id, client.get_run(run_id).data.params):
            raise
    named = claims_place(run_id, client.get_run(run_id).data.params)
    for other in _made(loop, run_id):
        if other != named:
            _delete(loop, other)
    return named


def _made(loop: Experiment, run_id: str) -> list[str]:
    """Runs that were made to hold these claims, oldest first."""
    runs = loop.search(f"{tag_is('mlflow.parentRunId', run_id)} AND {tag_is('tsad.kind', CLAIMS)}")
    return [str(run.info.run_id) for run in runs]


def _make(loop: Experiment, run_id: str, number: int) -> str:
    """Nobody works on it: it is FINISHED from the beginning, and takes parameters and tags all the same."""
    tags = {"tsad.kind": CLAIMS, "tsad.iteration": str(number), "mlflow.parentRunId": run_id}
    made = loop.create_run(f"{CLAIMS}-{number}", tags)
    loop.store.client.set_terminated(made, "FINISHED")
    return made


def _delete(loop: Experiment, run_id: str) -> None:
    """Delete a run that lost; whoever made it may do so at the same time."""
    try:
        loop.store.client.delete_run(run_id)
    except TrackingError:
        if loop.store.client.get_run(run_id).info.lifecycle_stage == "active":
            raise
