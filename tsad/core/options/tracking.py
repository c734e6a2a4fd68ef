"""``tracking``: the MLflow store."""

from __future__ import annotations

from pydantic import Field

from tsad.core.option_model import Options


class TrackingOptions(Options):
    """``tracking``: the MLflow store."""

    uri: str  # "" = SQLite under the store's folder ($TSAD_HOME, else ./mlruns)
    timeout_seconds: float = Field(gt=0)  # how long an unreachable server may take to be called so
    system_metrics: bool
    tensorboard: bool  # event files beside the runs, under the store's tensorboard/
    keep_versions: int = Field(ge=0)  # versions whose artifacts stay besides champion, previous and tagged ones
    plots: int = Field(ge=0)  # series drawn per step
