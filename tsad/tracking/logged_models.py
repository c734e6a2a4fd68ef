"""Detector versions as MLflow's LoggedModels: what its Models tab lists, with their figures on the gold set.

A model is made in an order that a kill leaves nothing half of: saved to a folder, created (PENDING), its description's
digest written down (``StepRun.once``), uploaded, finalised (READY), and only then registered. Until a version is
registered that names it, a model is its run's alone, and is discarded with a run that did not finish.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TrackingError
from tsad.tracking.artifacts import delete_artifacts
from tsad.tracking.guard import error_code
from tsad.tracking.pages import every_page
from tsad.tracking.states import quoted

if TYPE_CHECKING:
    from tsad.tracking.store import Store

SCHEME = "models:/"  # of the address of a LoggedModel; what was logged before lies below its run, ``runs:/``
TYPE = "detector"
DIGEST = "detector_sha256"  # write-once parameter, by the run that logged the model


def create(store: Store, run_id: str, name: str, params: Mapping[str, Any]) -> str:
    """A PENDING model of a run; returns its id.

    Args:
        name: for people; letters, digits, ``_`` and ``-`` are kept.
    """
    experiment = store.client.get_run(run_id).info.experiment_id
    texts = {key: str(value)[:500] for key, value in params.items()}
    plain = re.sub(r"[^\w-]", "_", name)
    model = store.client.create_logged_model(experiment, plain, run_id, params=texts, model_type=TYPE)
    return str(model.model_id)


def fill(store: Store, run_id: str, model_id: str, folder: Path) -> str:
    """Upload the model's files, and make it READY; returns its address."""
    store.client.log_model_artifacts(model_id, str(folder))
    store.client.finalize_logged_model(model_id, "READY")
    name_as_outputs(store, run_id, {model_id: 0})
    return f"{SCHEME}{model_id}"


def name_as_outputs(store: Store, run_id: str, models: Mapping[str, int]) -> None:
    """Name models as what came of a run, each with the step it belongs to; what is named already is named once."""
    from mlflow.entities import LoggedModelOutput

    if not models:
        return
    outputs = getattr(store.client.get_run(run_id), "outputs", None)
    named = {one.model_id for one in outputs.model_outputs} if outputs else set()
    fresh = [LoggedModelOutput(model, step) for model, step in models.items() if model not in named]
    if fresh:  # MLflow's own database refuses the same twice
        store.client.log_outputs(run_id, fresh)


def measure(store: Store, model_id: str, figures: Mapping[str, float], dataset: tuple[str, str], at: int) -> None:
    """A model's figures on a dataset version, where its page and the Models tab show them.

    They are metrics of the run that made it, too.

    Args:
        dataset: name and digest.
        at: ms since 1970 UTC; the same again is one point.
    """
    from mlflow.entities import Metric

    run_id = store.client.get_logged_model(model_id).source_run_id
    metrics = [
        Metric(
            key, value, at, 0, model_id=model_id, dataset_name=dataset[0], dataset_digest=dataset[1][:36], run_id=run_id
        )
        for key, value in figures.items() if math.isfinite(value)
    ]  # fmt: skip
    store.client.log_batch(run_id, metrics=metrics)


def close_dead(store: Store, run_id: str) -> None:
    """Close a run that nobody works on any more as KILLED; models that only it knows go with it."""
    store.client.set_terminated(run_id, "KILLED")
    discard(store, run_id)


def discard(store: Store, run_id: str) -> int:
    """Delete what a run that did not finish has logged and nobody has registered; returns how many models."""
    client = store.client
    try:
        experiment = client.get_run(run_id).info.experiment_id
        models = list(every_page(
            client.search_logged_models, experiment_ids=[experiment], filter_string=f"source_run_id = {quoted(run_id)}"
        ))  # fmt: skip
    except TrackingError as error:
        if error_code(error) in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED"):  # a server of before has no such models
            return 0
        raise
    if not models or client.search_model_versions(f"run_id = {quoted(run_id)}"):
        return 0
    for model in models:
        client.delete_logged_model(model.model_id)
        delete_artifacts(store, model.model_id, model.artifact_location)
    return len(models)
