"""Dataset versions as runs and the MLflow UI show them: what is known of each, and a version as a run's named input."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tsad.tracking.guard import Client

FOLDER = "dataset"


@dataclass(frozen=True, kw_only=True)
class NewDataset:
    """What is said of a dataset version when it is kept.

    Attributes:
        digest: hash of its content.
        purpose: ``train`` or ``gold``.
        source: what its series were read from, in words; ``source_digest`` is that source's digest.
        channels: names of the value columns, for the schema shown in MLflow.
        windows: how many reviewed windows it holds.
    """

    digest: str
    purpose: str
    name: str
    source: str = ""
    source_digest: str = ""
    channels: tuple[str, ...] = ("value",)
    windows: int = 0


@dataclass(frozen=True, kw_only=True)
class DatasetRecord(NewDataset):
    """A kept dataset version.

    Attributes:
        iteration_run: run id of the iteration that made it.
        created: ms since 1970 UTC.
    """

    run_id: str
    iteration: int | None = None
    iteration_run: str = ""
    created: int = 0

    @property
    def uri(self) -> str:
        """Where its files are."""
        return f"runs:/{self.run_id}/{FOLDER}"


def log_dataset(client: Client, run_id: str, record: DatasetRecord, context: str) -> None:
    """Show a dataset version as input of a run: digest, schema, source and profile (MLflow takes the same once)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [("string", "point_id"), ("datetime", "timestamp"), *(("double", name) for name in record.channels)]
    dataset = Dataset(
        name=record.name[:500],
        digest=record.digest[:36],
        source_type="local",
        source=json.dumps({"uri": record.uri, "series": record.source, "series_digest": record.source_digest}),
        schema=json.dumps({"mlflow_colspec": [{"type": t, "name": n, "required": True} for t, n in columns]}),
        profile=json.dumps({"windows": record.windows}),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])
