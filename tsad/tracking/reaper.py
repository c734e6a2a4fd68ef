"""No run stays RUNNING that nobody works on."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tsad.core.errors import ClaimError
from tsad.tracking.claims import check_dead, claims_of, process_lives
from tsad.tracking.claims_run import claims_place
from tsad.tracking.experiment import Experiment
from tsad.tracking.logged_models import close_dead
from tsad.tracking.states import ENDED

if TYPE_CHECKING:
    from mlflow.entities import Run


def reap(loop: Experiment) -> int:
    """Close what dead processes left RUNNING: steps, datasets and single runs become KILLED, iterations SCHEDULED.

    ``loop`` must hold the lock: then every RUNNING run of this place is being worked on under its token, needs no lock
    and belongs to a process that lives, or is dead. Runs of other hosts are left alone until their heartbeat is older
    than the lease. Returns the number of runs closed.
    """
    busy_here = loop.require_lock("Closing what was left behind").busy
    running = loop.search("attributes.status = 'RUNNING'")
    parents = {run.info.run_id: run for run in running if run.data.tags.get("tsad.kind") == "iteration"}
    busy: set[str] = set()
    closed = 0
    for run in running:
        if run.info.run_id in parents:
            continue
        if _worked_on(loop, run, parents, busy_here):
            busy.add(run.data.tags.get("mlflow.parentRunId", ""))
        else:
            close_dead(loop.store, run.info.run_id)
            closed += 1
    for run_id, run in parents.items():
        if run_id not in busy and _ours(loop, run):
            _rest(loop, run)
            closed += 1
    return closed


def _ours(loop: Experiment, run: Run) -> bool:
    return bool(run.data.tags.get("tsad.place") == loop.place)


def _rest(loop: Experiment, run: Run) -> None:
    client, ended = loop.store.client, ENDED.get(run.data.tags.get("tsad.state", ""))
    if ended:  # killed between the state and the status
        client.set_terminated(run.info.run_id, ended)
    else:
        client.update_run(run.info.run_id, status="SCHEDULED")


def _worked_on(loop: Experiment, run: Run, parents: Mapping[str, Run], busy: Collection[str]) -> bool:
    """Whether this process, or one that needs no lock or is of another host, works on a RUNNING run of no iteration."""
    tags = run.data.tags
    parent = parents.get(tags.get("mlflow.parentRunId", ""))
    if tags.get("tsad.kind") != "step" or parent is None:
        if _ours(loop, run) and not process_lives(tags.get("tsad.process", "")):
            return run.info.run_id in busy
        beat = float(tags.get("tsad.heartbeat", run.info.start_time / 1000))
        return run.info.run_id in busy or time.time() - beat < loop.lease
    step, of = tags["tsad.step"], parent.data
    if (place := claims_place(parent.info.run_id, of.params)) not in ("", parent.info.run_id):
        of = loop.store.client.get_run(place).data
    for _, claim in claims_of(of.params, step):
        if claim.token == tags["tsad.claim"]:
            try:
                check_dead(step, claim, of.tags, loop.place, loop.lease, busy)
            except ClaimError:
                return True
    return False
