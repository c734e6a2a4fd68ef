"""The record of one loop: its lock, its iterations, and what hangs on them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import ClaimError, TsadError
from tsad.files.hashing import digest_of_text
from tsad.tracking import reaper
from tsad.tracking.artifacts import read_text
from tsad.tracking.claims import this_process
from tsad.tracking.dataset_records import DatasetRecord, NewDataset
from tsad.tracking.dataset_runs import datasets, fetch_dataset, find_dataset, put_dataset
from tsad.tracking.experiment import Experiment
from tsad.tracking.guard import Unreachable
from tsad.tracking.iterations import CONFIG, Iteration
from tsad.tracking.registry import Registry
from tsad.tracking.states import ABANDONED, CREATED, tag_is
from tsad.tracking.steps import RESULT, StepRecord, StepRun

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Iteration", "LoopStore", "StepRecord", "StepRun"]


class LoopStore(Experiment):
    """The record of one loop: one experiment, its iterations, dataset versions and registered models."""

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

    @contextmanager
    def run(self, name: str, tags: Mapping[str, str] | None = None) -> Iterator[StepRun]:
        """A run outside of any iteration, e.g. of ``tsad detect``; needs the loop's lock, claims nothing."""
        token = self.require_lock(f"Run {name}")
        run_id = self.create_run(name.lower(), {"tsad.kind": "run", "tsad.step": name, **(tags or {})})
        with token.working(run_id), self.heartbeat(run_id):
            yield from StepRun(self.store, run_id, name, 1).work()

    @contextmanager
    def adding(self, name: str, tags: Mapping[str, str]) -> Iterator[StepRun]:
        """A run that needs no lock: it only adds, and counts once it is FINISHED.

        Who closes what dead processes left knows by the process's name that it lives, from another host by the heart.
        Those of before are closed first, unless somebody holds the lock.
        """
        self.reap()
        tags = {"tsad.step": name, "tsad.process": this_process(), **tags}
        run_id = self.create_run(name.lower(), tags)
        with self.heartbeat(run_id):
            yield from StepRun(self.store, run_id, name, 1).work()

    def finished_for_job(self, name: str) -> StepRecord | None:
        """The run of that verb which an earlier attempt of this job has finished: it is not done again."""
        return next(iter(self.finished_runs(name, self.job)), None) if self.job else None

    def finished_runs(self, name: str, job: str = "") -> list[StepRecord]:
        """Runs of a verb outside any iteration that have finished, oldest first, with what they answered.

        Args:
            job: only those of that job of the service.
        """
        of_job = f" AND {tag_is('tsad.job', job)}" if job else ""
        runs = self.search(f"{tag_is('tsad.kind', 'run')} AND {tag_is('tsad.step', name)}{of_job}")
        return [
            StepRecord(
                run.info.run_id, name, json.loads(read_text(self.store, run.info.run_id, RESULT)),
                (run.info.end_time - run.info.start_time) / 1000, self.store,
            )
            for run in runs if run.info.status == "FINISHED"
        ]  # fmt: skip

    def iterations(self, runs: Sequence[Run] | None = None) -> list[Iteration]:
        """All iterations, oldest first; those that were never fully created do not count.

        Args:
            runs: the iterations' runs, oldest first, where they are known already.
        """
        found: dict[int, Iteration] = {}
        for run in self.search(tag_is("tsad.kind", "iteration")) if runs is None else runs:
            iteration = Iteration(self, run)
            if iteration.state not in ("", ABANDONED):
                found.setdefault(iteration.number, iteration)
        return [found[number] for number in sorted(found)]

    def given_up(self) -> list[Iteration]:
        """Iterations that were closed without being completed, oldest first; several may bear one number."""
        runs = self.search(tag_is("tsad.kind", "iteration"))
        return [it for it in (Iteration(self, run) for run in runs) if it.state == ABANDONED]

    def open_iteration(self) -> Iteration | None:
        """The newest iteration that is neither COMPLETED nor abandoned; a FAILED one can be gone on with."""
        return next((it for it in reversed(self.iterations()) if it.open), None)

    def create_iteration(self, number: int, config_yaml: str, params: Mapping[str, Any]) -> Iteration:
        """Create iteration ``number`` with its frozen config; a creation that was killed half-way is finished.

        Raises:
            ClaimError: the lock is not held, or that iteration exists with another config.
        """
        self.require_lock(f"Iteration {number}")
        self.becomes_loop()
        digest = digest_of_text(config_yaml)[:16]
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

    def put_dataset(self, dataset: NewDataset, folder: Path, iteration: Iteration | None = None) -> str:
        """Keep a dataset version once; see ``dataset_runs.put_dataset``. Returns the id of its run."""
        return put_dataset(self, dataset, folder, iteration)

    def find_dataset(self, version: str) -> DatasetRecord | None:
        """The kept dataset version of that hash."""
        return find_dataset(self, version)

    def datasets(self) -> list[DatasetRecord]:
        """All kept dataset versions, oldest first."""
        return datasets(self)

    def fetch_dataset(self, version: str, folder: Path) -> Path:
        """Copy a dataset version's files to ``folder``; returns it."""
        return fetch_dataset(self, version, folder)

    def registry(self, detector_name: str) -> Registry:
        """The registered model ``tsad-<loop>-<detector>``."""
        return Registry(self.store, f"tsad-{self.name}-{detector_name}")
