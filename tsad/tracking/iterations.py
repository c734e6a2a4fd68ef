"""An iteration as a parent run, its steps as child runs, each finished exactly once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from tsad.core.errors import ClaimError
from tsad.tracking.artifacts import read_text
from tsad.tracking.claims import Claim, Token, check_dead, claimed, claims_of
from tsad.tracking.claims_run import decide_claims
from tsad.tracking.experiment import Experiment
from tsad.tracking.guard import Client
from tsad.tracking.logged_models import close_dead
from tsad.tracking.recorder import RunRecorder
from tsad.tracking.states import ABANDONED, COMPLETED, ENDED, FAILED, tag_is
from tsad.tracking.steps import RESULT, StepRecord, StepRun

if TYPE_CHECKING:
    from mlflow.entities import Run

CONFIG = "config.yaml"


class Iteration:
    """One turn of a loop: a parent run whose children are its steps.

    Attributes:
        state: as of reading it or of the last ``set_state``; a FAILED iteration is open: it may be gone on with.
        status: MLflow's: RUNNING while worked on, SCHEDULED while it waits, FINISHED, FAILED or KILLED.
        reason: why it failed or waits; of a completed one what the gate decided and why.
        started, ended: ms since 1970 UTC; ``ended`` is ``None`` while it is not.
        params: what people compare between iterations, as text.
        metrics: latest values; filled by ``complete``.
        tags: as of reading it.
        recorder: writes into the parent run.
    """

    def __init__(self, loop: Experiment, run: Run) -> None:
        self.loop, self.run_id = loop, str(run.info.run_id)
        self.recorder = RunRecorder(loop.store.client, self.run_id)
        self.tags = tags = dict(run.data.tags)
        self.number = int(tags["tsad.iteration"])
        self.state, self.reason = tags.get("tsad.state", ""), tags.get("tsad.reason", "")
        self.status, self.started, self.ended = run.info.status, run.info.start_time, run.info.end_time
        self.params: dict[str, str] = dict(run.data.params)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self._finished: dict[str, StepRecord] = loop.finished_steps.setdefault(self.run_id, {})

    def __repr__(self) -> str:
        return f"Iteration({self.loop.name!r}, {self.number}, {self.state})"

    @property
    def open(self) -> bool:
        """Whether something is left to do."""
        return self.state not in (COMPLETED, ABANDONED)

    @cached_property
    def config_yaml(self) -> str:
        """The composed config frozen when the iteration was created."""
        return read_text(self.loop.store, self.run_id, CONFIG)

    def set_state(self, state: str, reason: str = "") -> None:
        """Write the state for people to read; what was done follows from the finished steps alone."""
        self.recorder.tags({"tsad.state": state, "tsad.reason": reason})
        self.state, self.reason = state, reason

    def fail(self, reason: str) -> None:
        """Mark the iteration as FAILED, with the reason; it stays open, and its next step begins it again."""
        self._end(FAILED, reason)

    def abandon(self, reason: str) -> None:
        """Close the iteration for good without completing it; its number may be used again."""
        self._end(ABANDONED, reason)

    def complete(self, metrics: Mapping[str, float], reason: str = "") -> None:
        """Close the iteration as COMPLETED with the metrics that iterations are compared by; idempotent.

        Args:
            reason: what was decided in it, and why.
        """
        self.recorder.metrics(metrics, step=self.number)
        self.recorder.flush()
        self.metrics |= metrics
        self._end(COMPLETED, reason)

    def _end(self, state: str, reason: str) -> None:
        self.set_state(state, reason)
        self.ended = time.time_ns() // 1_000_000
        self._client.set_terminated(self.run_id, ENDED[state], self.ended)
        self.status = ENDED[state]

    @property
    def _client(self) -> Client:
        return self.loop.store.client

    def finished(self, name: str) -> StepRecord | None:
        """The step's result where an attempt at it has finished."""
        for run in self._attempts(name) if name not in self._finished else []:
            if run.info.status == "FINISHED":
                result = json.loads(read_text(self.loop.store, run.info.run_id, RESULT))
                seconds = (run.info.end_time - run.info.start_time) / 1000
                self._finished[name] = StepRecord(run.info.run_id, name, result, seconds, self.loop.store)
                break
        return self._finished.get(name)

    def steps(self) -> list[Run]:
        """All attempts at all steps of this iteration, as MLflow's runs, oldest first."""
        return self.loop.search(f"{tag_is('mlflow.parentRunId', self.run_id)} AND {tag_is('tsad.kind', 'step')}")

    @contextmanager
    def step(self, name: str) -> Iterator[StepRun]:
        """Claim a step, run the block as its child run, and finish it with its result.

        An error of the block makes the run FAILED (KILLED on Ctrl-C) and passes on; the step may be tried again.

        Args:
            name: of letters, digits, ``_`` and ``-``; it becomes part of a parameter's name.

        Raises:
            ClaimError: the loop's lock is not held, the step is finished, or another process works on it.
        """
        token = self.loop.require_lock(f"Step {name}")
        attempt, earlier = self._next_attempt(name, token)
        with (
            claimed(self._client, self.claims_run, name, attempt, self.loop.place, self.loop.lease) as claim,
            token.working(claim.token),
        ):
            for run in earlier:
                if run.info.status in ("RUNNING", "SCHEDULED"):
                    close_dead(self.loop.store, run.info.run_id)
            if self.status != "RUNNING":
                self._client.update_run(self.run_id, status="RUNNING")
                self.status = "RUNNING"
            tags = {
                "tsad.kind": "step", "tsad.step": name, "tsad.attempt": str(attempt), "tsad.claim": claim.token,
                "tsad.iteration": str(self.number), "mlflow.parentRunId": self.run_id,
            }  # fmt: skip
            run_id = self.loop.create_run(f"{name.lower()}-{self.number}", tags)
            yield from StepRun(self.loop.store, run_id, name, attempt, self.claims_run).work(
                lambda: self._check_mine(name, claim)
            )

    @cached_property
    def claims_run(self) -> str:
        """Id of the run that holds the claims of this iteration's steps."""
        return decide_claims(self.loop, self.run_id, self.number)

    def _attempts(self, name: str) -> list[Run]:
        parent, step = tag_is("mlflow.parentRunId", self.run_id), tag_is("tsad.step", name)
        return self.loop.search(f"{parent} AND {step}")

    def _next_attempt(self, name: str, token: Token) -> tuple[int, list[Run]]:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"step name {name!r} is not made of letters, digits, _ and -")
        data = self._client.get_run(self.claims_run).data
        earlier = self._attempts(name)
        if any(run.info.status == "FINISHED" for run in earlier):
            raise ClaimError(f"Step {name} of iteration {self.number} is finished already", "Go on with the next step.")
        claims = claims_of(data.params, name)
        if not claims:
            return 1, earlier
        attempt, last = claims[-1]
        closed = any(run.data.tags.get("tsad.claim") == last.token and run.info.end_time for run in earlier)
        if not closed:
            check_dead(name, last, data.tags, self.loop.place, self.loop.lease, token.busy)
        return attempt + 1, earlier

    def _check_mine(self, name: str, claim: Claim) -> None:
        """Nobody may have opened a later attempt meanwhile (this process slept through its lease)."""
        attempt, last = claims_of(self._client.get_run(self.claims_run).data.params, name)[-1]
        if last.token != claim.token:
            raise ClaimError(f"Step {name} went to process {last.pid} on {last.host} (attempt {attempt}) meanwhile")
