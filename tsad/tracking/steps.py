"""A step of an iteration: while it runs, and as the record that a resumed loop reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.tracking.artifacts import fetch_artifacts
from tsad.tracking.recorder import RunRecorder, plain
from tsad.tracking.system_metrics import sampled

if TYPE_CHECKING:
    from tsad.tracking.dataset_runs import DatasetRecord
    from tsad.tracking.runs import LoopStore

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
    loop: LoopStore = field(repr=False, compare=False)

    def fetch(self, path: str, folder: Path) -> Path:
        """Copy an artifact (file or folder) of the step to ``folder``; returns where it lies."""
        return fetch_artifacts(self.loop.store, self.run_id, path, folder)


class StepRun(RunRecorder):
    """A step while it runs: a Recorder that also takes the step's result."""

    def __init__(self, loop: LoopStore, run_id: str, name: str, attempt: int) -> None:
        super().__init__(loop.store.client, run_id)
        self.loop, self.name, self.attempt = loop, name, attempt
        self._result: dict[str, Any] | None = None

    def result(self, value: Mapping[str, Any]) -> None:
        """What the step leaves for the steps after it, JSON-able; kept when the step ends without an error."""
        self._result = dict(value)

    def log_dataset(self, record: DatasetRecord, context: str) -> None:
        """Name a dataset version as input of this run, e.g. with context ``training`` or ``gold``."""
        from tsad.tracking.dataset_runs import log_dataset

        log_dataset(self._client, self.run_id, record, context)

    @contextmanager
    def system_metrics(self, seconds: float = 5.0) -> Iterator[None]:
        """Sample CPU, memory and GPU into this run while the block works; nothing where ``tracking`` says so."""
        if not self.loop.store.options.system_metrics:
            yield
            return
        with sampled(self._metrics.add_aside, seconds):
            yield

    def close(self) -> None:
        """Everything out, the result last: only a FINISHED run with ``result.json`` counts as done."""
        self.flush()
        body = json.dumps(plain(self._result or {}, nan=float), ensure_ascii=False, indent=1)
        self._client.log_text(self.run_id, body, RESULT)
