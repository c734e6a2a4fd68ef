"""Writing into one MLflow run: parameters, batched metrics, artifacts."""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import TsadError
from tsad.core.names import cell
from tsad.tracking.dataset_records import DatasetRecord, log_dataset
from tsad.tracking.guard import Client

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsad.core.protocols import Listener

PARAM_LENGTH = 500  # the least that any MLflow server in use takes
TAG_LENGTH = 5000  # the least that any takes of a tag; the rest is cut off
PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
FLUSH_METRICS = 500
FLUSH_SECONDS = 2.0


def plain(value: Any, *, nan: Any = None) -> Any:
    """The same value of JSON's types only; NaN and infinity become ``nan`` (JSON knows neither)."""
    if isinstance(value, enum.Enum):
        return plain(value.value, nan=nan)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), nan=nan) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v, nan=nan) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), nan=nan)
    if isinstance(value, np.generic):
        return plain(value.item(), nan=nan)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v, nan=nan) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return value if nan is float else nan
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


class MetricBuffer:
    """Metrics of one run, sent in batches: when 500 wait, and 2 s after the first that waits.

    NaN and infinite values are left out and their names kept in the tag ``tsad.not_finite``.
    """

    def __init__(self, client: Client, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[tuple[str, float, int, int]] = []  # key, value, ms since 1970, step
        self._dropped: set[str] = set()
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._timer: threading.Timer | None = None
        self._failure: TsadError | None = None

    def add(self, values: Mapping[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        with self._lock:
            for key, value in values.items():
                if math.isfinite(float(value)):
                    self._waiting.append((key, float(value), now, step))
                else:
                    self._dropped.add(key)
            full = len(self._waiting) >= FLUSH_METRICS
            if not full and self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush_late)
                self._timer.daemon = True
                self._timer.start()
        if full or self._failure:
            self.flush()

    def add_aside(self, values: Mapping[str, float], step: int, listeners: Sequence[Listener] = ()) -> None:
        """Add from a helper thread, and tell; a failure is raised by the next call of the thread that works."""
        try:
            self.add(values, step)
            for listener in listeners:
                listener.heard(values, step)
        except TsadError as error:
            self._failure = error

    def flush(self) -> None:
        """Send what waits; a failure of an earlier timed flush is raised here."""
        from mlflow.entities import Metric

        with self._sending:
            with self._lock:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                failure, self._failure = self._failure, None
                batch = self._waiting[:]
                dropped = self._dropped - self._told
            if failure is not None:
                raise failure
            for i in range(0, len(batch), METRICS_PER_CALL):
                piece = batch[i : i + METRICS_PER_CALL]
                self._client.log_batch(self._run_id, metrics=[Metric(*entry) for entry in piece])
                with self._lock:
                    del self._waiting[: len(piece)]
            if dropped:
                self._told |= dropped
                self._client.set_tag(self._run_id, "tsad.not_finite", ", ".join(sorted(self._told))[:5000])

    def _flush_late(self) -> None:
        try:  # runs in the timer's thread, like add_aside
            self.flush()
        except TsadError as error:
            self._failure = error


class RunRecorder:
    """Writes into one run; implements ``core.protocols.Recorder``."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client, self.run_id = client, run_id
        self._metrics = MetricBuffer(client, run_id)

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters that people compare; write-once.

        A value longer than 500 characters goes in full into ``params/<key>.txt``, and the parameter says so.

        Raises:
            TrackingError: a parameter already has another value.
        """
        from mlflow.entities import Param

        entries = []
        for key, value in values.items():
            text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
            if len(text) > PARAM_LENGTH:
                path = f"params/{key}.txt"
                self._client.log_text(self.run_id, text, path)
                text = f"see artifact {path}"
            entries.append(Param(key, text))
        for i in range(0, len(entries), PARAMS_PER_CALL):
            self._client.log_batch(self.run_id, params=entries[i : i + PARAMS_PER_CALL])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Metrics, sent in batches in the background; NaN is skipped and named in a tag."""
        self._metrics.add(values, step)

    def flush(self) -> None:
        """Send the metrics that wait."""
        self._metrics.flush()

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, str(value)[:TAG_LENGTH]) for key, value in values.items()]
        self._client.log_batch(self.run_id, tags=tags)

    def log_dataset(self, record: DatasetRecord, context: str) -> None:
        """Name a dataset version as input of this run, e.g. with context ``training`` or ``gold``."""
        log_dataset(self._client, self.run_id, record, context)

    def json(self, value: Any, path: str) -> None:
        """A JSON artifact; NaN becomes null."""
        self._client.log_text(self.run_id, json.dumps(plain(value), ensure_ascii=False, indent=1), path)

    def file(self, path: Path, folder: str = "") -> None:
        """A file, or all files of a folder, as artifacts under ``folder``."""
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), folder or None)
        else:
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def figure(self, figure: Figure, path: str) -> None:
        """A matplotlib figure as an image artifact, e.g. ``series.png``."""
        self._client.log_figure(self.run_id, figure, path)

    def table(self, rows: Sequence[Mapping[str, Any]], path: str) -> None:
        """Rows as a ``.csv`` artifact, or as ``.json``, which the MLflow UI lays side by side across runs."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[plain(row.get(column)) for column in columns] for row in rows]
        if path.endswith(".csv"):
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerows([[cell(v) if isinstance(v, str) else v for v in row] for row in (columns, *cells)])
            self._client.log_text(self.run_id, text.getvalue(), path)
            return
        body = json.dumps({"columns": columns, "data": cells}, ensure_ascii=False)
        self._client.log_text(self.run_id, body, path)
        shown = self._client.get_run(self.run_id).data.tags.get("mlflow.loggedArtifacts", "[]")
        entry = {"path": path, "type": "table"}
        if entry not in json.loads(shown):
            self._client.set_tag(self.run_id, "mlflow.loggedArtifacts", json.dumps([*json.loads(shown), entry]))
