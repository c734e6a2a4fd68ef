"""The MLflow experiment of a loop: its runs found and created, and whether the loop's lock is held."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tsad.core.errors import ClaimError, ConfigError, ForeignPathError, LoopError, TrackingError
from tsad.tracking.addresses import folder_of
from tsad.tracking.artifacts import check_own
from tsad.tracking.claims import Heartbeat, LoopLock, Token, this_place
from tsad.tracking.guard import error_code
from tsad.tracking.pages import every_page
from tsad.tracking.store import LOOP, Store

if TYPE_CHECKING:
    from mlflow.entities import Run

LEASE = 120.0  # seconds
_PAGE = 1000


class Experiment:
    """One loop's experiment in a store; nothing is created until something is written.

    Args:
        lease: seconds after which a claim of another host without heartbeat is dead.

    Raises:
        ConfigError: a name that cannot name an experiment and a model.
    """

    def __init__(self, store: Store, name: str, lease: float = LEASE) -> None:
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
        self._experiment_id, self._is_loop = "", False
        self.job = ""  # id of the service's job that works on it; every run that it makes says so
        # by iteration, the records of its finished steps: what is finished never changes
        self.finished_steps: dict[str, dict[str, Any]] = {}

    @property
    def token(self) -> Token | None:
        """What shows that the loop's lock is held by whoever has this object; ``None`` where it is not."""
        return self._token if self._token is not None and self._token.valid else None

    def require_lock(self, what: str) -> Token:
        """Refuse work that is begun without the loop's lock; whoever shows its token may."""
        token = self.token
        if token is None:
            raise ClaimError(
                f"{what} was begun without the lock of loop {self.name}",
                "Use the object that LoopStore.lock() gives: with loop.lock() as held.",
            )
        return token

    def heartbeat(self, run_id: str) -> Heartbeat:
        """Says in the run's tags that it is being worked on."""
        return Heartbeat(lambda: self.store.client.set_tag(run_id, "tsad.heartbeat", f"{time.time():.3f}"), self.lease)

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
            self._is_loop = found is not None and LOOP in found.tags
        return self._experiment_id

    def _create_experiment(self) -> str:
        root = self.store.artifact_root
        location = f"{root}/{folder_of(self.name)}" if root else None
        try:
            self.store.client.create_experiment(self.name, artifact_location=location)
        except TrackingError as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":  # else another process was quicker
                raise
        return self._find_experiment()

    def becomes_loop(self) -> None:
        """From now on the store lists it as a loop: it gets an iteration, a dataset version, an upload or an export.

        Runs alone make none: verbs that only look keep theirs in an experiment that is no loop yet.
        """
        experiment_id = self.experiment_id
        if not self._is_loop:
            self.store.client.set_experiment_tag(experiment_id, LOOP, self.name)
            self._is_loop = True

    def search(self, filter_string: str) -> list[Run]:
        """Runs of the loop that match, oldest first; empty where the loop has no experiment yet."""
        experiment = self._find_experiment()
        if not experiment:
            return []
        return list(every_page(
            self.store.client.search_runs, experiment_ids=[experiment], filter_string=filter_string, max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
        ))  # fmt: skip

    def create_run(self, name: str, tags: Mapping[str, str]) -> str:
        """A new RUNNING run of this loop; returns its id."""
        every = {LOOP: self.name, "tsad.place": self.place, "mlflow.source.name": "tsad"}
        if self.job:
            every["tsad.job"] = self.job
        run = self.store.client.create_run(self.experiment_id, tags={**every, **tags}, run_name=name)
        run_id = str(run.info.run_id)
        try:
            check_own(self.store, run_id, run.info.artifact_uri)
        except ForeignPathError:  # of an experiment that somebody else made: nothing is written there
            self.store.client.delete_run(run_id)
            raise
        return run_id
