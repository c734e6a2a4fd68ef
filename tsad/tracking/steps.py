"""A step of an iteration: while it runs, and as the record that a resumed loop reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TsadError
from tsad.tracking.artifacts import fetch_artifacts
from tsad.tracking.guard import Unreachable
from tsad.tracking.logged_models import discard
from tsad.tracking.recorder import RunRecorder, plain
from tsad.tracking.store import Store
from tsad.tracking.system_metrics import sampled

if TYPE_CHECKING:
    from tsad.core.protocols import Listener

RESULT = "result.json"


@dataclass(frozen=True)
class StepRecord:
    """A finished step, as a resumed loop reads it.

    Attributes:
        result: what the step said with ``StepRun.result``.
        seconds: how long the attempt that finished took.
    """

    run_id: str
    name: str
    result: dict[str, Any]
    seconds: float
    store: Store = field(repr=False, compare=False)

    def fetch(self, path: str, folder: Path) -> Path:
        """Copy an artifact (file or folder) of the step to ``folder``; returns where it lies."""
        return fetch_artifacts(self.store, self.run_id, path, folder)


class StepRun(RunRecorder):
    """A step while it runs: a Recorder that also takes the step's result."""

    def __init__(self, store: Store, run_id: str, name: str, attempt: int, claims_run: str = "") -> None:
        super().__init__(store.client, run_id)
        self.store, self.name, self.attempt, self._claims_run = store, name, attempt, claims_run or run_id
        self._result: dict[str, Any] | None = None

    def result(self, value: Mapping[str, Any]) -> None:
        """What the step leaves for the steps after it, JSON-able; kept when the step ends without an error."""
        self._result = dict(value)

    def once(self, key: str, value: str) -> None:
        """Write down what nobody may change, for programs: beside the claims of the iteration, of a run outside any on
        itself.

        Raises:
            TrackingError: it is written with another value.
        """
        self._client.log_param(self._claims_run, key, value)

    @contextmanager
    def system_metrics(self, seconds: float = 5.0, listeners: Sequence[Listener] = ()) -> Iterator[None]:
        """Sample CPU, memory and GPU into this run while the block works; nothing where ``tracking`` says so.

        Args:
            listeners: hear the samples too.
        """
        if not self.store.options.system_metrics:
            yield
            return

        def record(values: Mapping[str, float], step: int) -> None:
            self._metrics.add_aside(values, step, listeners)

        with sampled(record, seconds):
            yield

    def close(self) -> None:
        """Everything out, the result last: only a FINISHED run with ``result.json`` counts as done."""
        self.flush()
        body = json.dumps(plain(self._result or {}, nan=float), ensure_ascii=False, indent=1)
        self._client.log_text(self.run_id, body, RESULT)

    def work(self, check: Callable[[], None] | None = None) -> Iterator[StepRun]:
        """Yield this run to its block and close it as FINISHED, FAILED or KILLED (body of a context manager)."""
        try:
            yield self
            self.close()
            if check is not None:
                check()
        except Unreachable:
            raise  # the next holder of the lock closes the run
        except BaseException as error:
            with suppress(TsadError):  # the block's own error says more than a store that is gone
                self.flush()
            with suppress(TsadError):
                self.tags({"tsad.error": f"{type(error).__name__}: {error}"})
                self._client.set_terminated(self.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
                discard(self.store, self.run_id)
            raise
        self._client.set_terminated(self.run_id, "FINISHED")
