"""Iterations as parent runs, their steps as child runs, each finished exactly once."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import ClaimError, ConfigError, LoopError, TrackingError, TsadError
from tsad.tracking import reaper
from tsad.tracking.addresses import folder_of
from tsad.tracking.artifacts import read_text
from tsad.tracking.claims import (
    Claim,
    Heartbeat,
    LoopLock,
    Token,
    check_dead,
    claimed,
    claims_of,
    this_place,
    this_process,
)
from tsad.tracking.guard import Client, Unreachable, error_code
from tsad.tracking.recorder import RunRecorder
from tsad.tracking.states import ABANDONED, COMPLETED, CREATED, ENDED, FAILED, tag_is
from tsad.tracking.steps import RESULT, StepRecord, StepRun

__all__ = ["Iteration", "LoopStore", "StepRecord", "StepRun"]

if TYPE_CHECKING:
    from mlflow.entities import Run

    from tsad.tracking.dataset_runs import DatasetRecord
    from tsad.tracking.registry import Registry
    from tsad.tracking.store import Store

CONFIG = "config.yaml"
_PAGE = 1000


class Iteration:
    """One turn of a loop: a parent run whose children are its steps.

    Attributes:
        state: as of reading it or of the last ``set_state``; a FAILED iteration is open: it may be gone on with.
        status: MLflow's: RUNNING while worked on, SCHEDULED while it waits, FINISHED, FAILED or KILLED.
        started: ms since 1970 UTC.
        params: what people compare between iterations, as text.
        metrics: latest values; filled by ``complete``.
        recorder: writes into the parent run.
    """

    def __init__(self, loop: LoopStore, run: Run) -> None:
        self.loop, self.run_id = loop, str(run.info.run_id)
        self.recorder = RunRecorder(loop.store.client, self.run_id)
        tags = run.data.tags
        self.number = int(tags["tsad.iteration"])
        self.state, self.reason = tags.get("tsad.state", ""), tags.get("tsad.reason", "")
        self.status, self.started = run.info.status, run.info.start_time
        self.params: dict[str, str] = dict(run.data.params)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self._finished = loop.finished_steps.setdefault(run.info.run_id, {})

    def __repr__(self) -> str:
        return f"Iteration({self.loop.name!r}, {self.number}, {self.state})"

    @property
    def loop_name(self) -> str:
        return self.loop.name

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

    def wait_for_people(self) -> None:
        """Nobody works on it now: the run goes to SCHEDULED (as it does when the loop's lock is let go)."""
        self._client.update_run(self.run_id, status="SCHEDULED")
        self.status = "SCHEDULED"

    def fail(self, reason: str) -> None:
        """Mark the iteration as FAILED, with the reason; it stays open, and its next step begins it again."""
        self._end(FAILED, reason)

    def abandon(self, reason: str) -> None:
        """Close the iteration for good without completing it; its number may be used again."""
        self._end(ABANDONED, reason)

    def complete(self, metrics: Mapping[str, float]) -> None:
        """Close the iteration as COMPLETED with the metrics that iterations are compared by; idempotent."""
        self.recorder.metrics(metrics, step=self.number)
        self.recorder.flush()
        self.metrics |= metrics
        self._end(COMPLETED, "")

    def _end(self, state: str, reason: str) -> None:
        self.set_state(state, reason)
        self._client.set_terminated(self.run_id, ENDED[state])
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
                self._finished[name] = StepRecord(run.info.run_id, name, result, seconds, self.loop)
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
            claimed(self._client, self.run_id, name, attempt, self.loop.place, self.loop.lease) as claim,
            token.working(claim.token),
        ):
            for run in earlier:
                if run.info.status in ("RUNNING", "SCHEDULED"):
                    self._client.set_terminated(run.info.run_id, "KILLED")
            if self.status != "RUNNING":
                self._client.update_run(self.run_id, status="RUNNING")
                self.status = "RUNNING"
            tags = {
                "tsad.kind": "step", "tsad.step": name, "tsad.attempt": str(attempt), "tsad.claim": claim.token,
                "tsad.iteration": str(self.number), "mlflow.parentRunId": self.run_id,
            }  # fmt: skip
            run_id = self.loop.create_run(f"{name.lower()}-{self.number}", tags)
            yield from self.loop.work(StepRun(self.loop, run_id, name, attempt), lambda: self._check_mine(name, claim))

    def _attempts(self, name: str) -> list[Run]:
        parent, step = tag_is("mlflow.parentRunId", self.run_id), tag_is("tsad.step", name)
        return self.loop.search(f"{parent} AND {step}")

    def _next_attempt(self, name: str, token: Token) -> tuple[int, list[Run]]:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"step name {name!r} is not made of letters, digits, _ and -")
        data = self._client.get_run(self.run_id).data
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
        attempt, last = claims_of(self._client.get_run(self.run_id).data.params, name)[-1]
        if last.token != claim.token:
            raise ClaimError(f"Step {name} went to process {last.pid} on {last.host} (attempt {attempt}) meanwhile")


class LoopStore:
    """The record of one loop: one experiment, its iterations, dataset versions and registered models."""

    def __init__(self, store: Store, name: str, lease: float) -> None:
        if not re.fullmatch(r"[^\s/\\:'\"`%][^/\\:'\"`%\x00-\x1f]{0,99}", name):
            raise ConfigError(
                f"loop.name={name!r} cannot name an experiment and a model",
                "Use up to 100 characters without / \\ : % or quotes.",
            )
        self.store, self.name, self.home, self.lease = store, name, store.home, lease
        locks = self.home / "locks"
        self.place = this_place(locks)
        self._lock = LoopLock(locks, name)
        self._token: Token | None = None  # only the LoopStore that ``lock`` yields has one
        self._experiment_id = ""
        self.finished_steps: dict[str, dict[str, StepRecord]] = {}  # by iteration; what is finished never changes

    @property
    def token(self) -> Token | None:
        """What shows that the loop's lock is held by whoever has this object; ``None`` where it is not."""
        return self._token if self._token is not None and self._token.valid else None

    @contextmanager
    def lock(self, timeout: float = 1.0) -> Iterator[LoopStore]:
        """Be the one that works on the loop, of all threads and processes of this host.

        Yields a LoopStore that holds the lock while the block runs. What writes needs that very object (or an iteration
        of it), so it is passed along; its own ``lock()`` gives itself.

        On the way in, runs left behind by killed processes are closed; on the way out, whatever the block was ended
        by, those of its own, and an open iteration goes to SCHEDULED: nobody works on it now.

        Raises:
            ClaimError: another thread or process holds it after ``timeout`` seconds (``reap`` takes it for a moment);
                the message names it.
        """
        if self.token is not None:
            yield self
            return
        with self._lock.hold(timeout) as token:
            held = copy.copy(self)
            held._token = token
            reaper.reap(held)
            try:
                yield held
            except Unreachable:
                raise
            except BaseException:
                with suppress(TsadError):  # the block's own error says more than a store that is gone
                    reaper.reap(held)
                raise
            reaper.reap(held)

    @property
    def experiment_id(self) -> str:
        """Id of the loop's experiment, created on first use."""
        return self._find_experiment() or self._create_experiment()

    def _find_experiment(self) -> str:
        if not self._experiment_id:
            found = self.store.client.get_experiment_by_name(self.name)
            if found is not None and found.lifecycle_stage != "active":
                raise LoopError(
                    f"The experiment {self.name!r} of this loop was deleted in MLflow",
                    f"Restore it with `mlflow experiments restore -x {found.experiment_id}`, or use another loop.name.",
                )
            self._experiment_id = found.experiment_id if found else ""
        return self._experiment_id

    def _create_experiment(self) -> str:
        root = self.store.artifact_root
        location = f"{root}/{folder_of(self.name)}" if root else None
        try:
            self.store.client.create_experiment(self.name, artifact_location=location, tags={"tsad.loop": self.name})
        except TrackingError as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":  # else another process was quicker
                raise
        return self._find_experiment()

    def search(self, filter_string: str) -> list[Run]:
        """Runs of the loop that match, oldest first; empty where the loop has no experiment yet."""
        experiment = self._find_experiment()
        runs: list[Run] = []
        token = None
        while experiment:
            page = self.store.client.search_runs(
                [experiment], filter_string, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                break
        return runs

    def create_run(self, name: str, tags: Mapping[str, str]) -> str:
        """A new RUNNING run of this loop; returns its id."""
        every = {"tsad.loop": self.name, "tsad.place": self.place, "mlflow.source.name": "tsad"}
        run = self.store.client.create_run(self.experiment_id, tags={**every, **tags}, run_name=name)
        return str(run.info.run_id)

    def work(self, step: StepRun, check: Callable[[], None] | None = None) -> Iterator[StepRun]:
        """Yield the run to its block and close it as FINISHED, FAILED or KILLED (body of a context manager)."""
        client = self.store.client
        try:
            yield step
            step.close()
            if check is not None:
                check()
        except Unreachable:
            raise  # the next holder of the lock closes the run
        except BaseException as error:
            with suppress(TsadError):  # the block's own error says more than a store that is gone
                step.flush()
            with suppress(TsadError):
                step.tags({"tsad.error": f"{type(error).__name__}: {error}"})
                client.set_terminated(step.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        client.set_terminated(step.run_id, "FINISHED")

    @contextmanager
    def run(self, name: str, tags: Mapping[str, str] | None = None) -> Iterator[StepRun]:
        """A run outside of any iteration, e.g. of ``tsad detect``; needs the loop's lock, claims nothing."""
        token = self.require_lock(f"Run {name}")
        run_id = self.create_run(name.lower(), {"tsad.kind": "run", "tsad.step": name, **(tags or {})})
        with token.working(run_id), self.heartbeat(run_id):
            yield from self.work(StepRun(self, run_id, name, 1))

    @contextmanager
    def adding(self, name: str, tags: Mapping[str, str]) -> Iterator[StepRun]:
        """A run that needs no lock: it only adds, and counts once it is FINISHED.

        Who closes what dead processes left knows by the process's name that it lives, from another host by the heart.
        """
        tags = {"tsad.step": name, "tsad.process": this_process(), **tags}
        run_id = self.create_run(name.lower(), tags)
        with self.heartbeat(run_id):
            yield from self.work(StepRun(self, run_id, name, 1))

    def heartbeat(self, run_id: str) -> Heartbeat:
        """Says in the run's tags that it is being worked on."""
        return Heartbeat(lambda: self.store.client.set_tag(run_id, "tsad.heartbeat", f"{time.time():.3f}"), self.lease)

    def require_lock(self, what: str) -> Token:
        """Refuse work that is begun without the loop's lock; whoever shows its token may."""
        token = self.token
        if token is None:
            raise ClaimError(
                f"{what} was begun without the lock of loop {self.name}",
                "Use the object that LoopStore.lock() gives: with loop.lock() as held.",
            )
        return token

    def iterations(self) -> list[Iteration]:
        """All iterations, oldest first; those that were never fully created do not count."""
        found: dict[int, Iteration] = {}
        for run in self.search(tag_is("tsad.kind", "iteration")):
            iteration = Iteration(self, run)
            if iteration.state not in ("", ABANDONED):
                found.setdefault(iteration.number, iteration)
        return [found[number] for number in sorted(found)]

    def open_iteration(self) -> Iteration | None:
        """The newest iteration that is neither COMPLETED nor abandoned; a FAILED one can be gone on with."""
        return next((it for it in reversed(self.iterations()) if it.open), None)

    def create_iteration(self, number: int, config_yaml: str, params: Mapping[str, Any]) -> Iteration:
        """Create iteration ``number`` with its frozen config; a creation that was killed half-way is finished.

        Raises:
            ClaimError: the lock is not held, or that iteration exists with another config.
        """
        self.require_lock(f"Iteration {number}")
        digest = hashlib.sha256(config_yaml.encode()).hexdigest()[:16]
        iteration = self._draft(number, digest)
        if not iteration.state:
            client = self.store.client
            client.log_text(iteration.run_id, config_yaml, CONFIG)
            iteration.recorder.params(params)
            iteration.set_state(CREATED)
            iteration = Iteration(self, client.get_run(iteration.run_id))
        return iteration

    def _draft(self, number: int, digest: str) -> Iteration:
        """The run of that number: the complete one, the half-made one of the same config, or a new one."""
        same = f"{tag_is('tsad.kind', 'iteration')} AND {tag_is('tsad.iteration', str(number))}"
        runs = [run for run in self.search(same) if run.data.tags.get("tsad.state") != ABANDONED]
        complete = [run for run in runs if run.data.tags.get("tsad.state")]
        for run in complete or runs:
            if run.data.tags.get("tsad.config") == digest:
                return Iteration(self, run)
        if complete:
            raise ClaimError(f"Iteration {number} of loop {self.name} exists with another config")
        for run in runs:
            Iteration(self, run).abandon("killed while it was created")
        tags = {"tsad.kind": "iteration", "tsad.iteration": str(number), "tsad.config": digest}
        return Iteration(self, self.store.client.get_run(self.create_run(f"iteration-{number}", tags)))

    def reap(self) -> int:
        """Close runs that nobody works on: steps and datasets to KILLED, an open iteration to SCHEDULED.

        Does nothing while another thread or process of this host holds the lock; leaves runs of other hosts alone
        until their heartbeat is older than the lease. Returns the number of runs closed.
        """
        if self.token is not None:
            return reaper.reap(self)
        try:
            with self._lock.hold() as token:
                held = copy.copy(self)
                held._token = token
                return reaper.reap(held)
        except ClaimError:
            return 0  # they are being worked on

    def put_dataset(
        self, version_hash: str, purpose: str, folder: Path, *, iteration: Iteration | None, name: str, **about: Any
    ) -> str:
        """Keep a dataset version once; see ``dataset_runs.put_dataset``. Returns the id of its run."""
        from tsad.tracking.dataset_runs import put_dataset

        return put_dataset(self, version_hash, purpose, folder, iteration=iteration, name=name, **about)

    def find_dataset(self, version_hash: str) -> DatasetRecord | None:
        """The kept dataset version of that hash."""
        from tsad.tracking.dataset_runs import find_dataset

        return find_dataset(self, version_hash)

    def datasets(self) -> list[DatasetRecord]:
        """All kept dataset versions, oldest first."""
        from tsad.tracking.dataset_runs import datasets

        return datasets(self)

    def fetch_dataset(self, version_hash: str, folder: Path) -> Path:
        """Copy a dataset version's files to ``folder``; returns it."""
        from tsad.tracking.dataset_runs import fetch_dataset

        return fetch_dataset(self, version_hash, folder)

    def registry(self, detector_name: str) -> Registry:
        """The registered model ``tsad-<loop>-<detector>``."""
        from tsad.tracking.registry import Registry

        return Registry(self.store, f"tsad-{self.name}-{detector_name}")
