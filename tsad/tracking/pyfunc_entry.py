"""What MLflow runs to load a detector version: copied into every model, kept thin so that old copies keep working.

Not imported by tsad itself: running it hands the model to MLflow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tsad.core.environment import set_environment

set_environment()  # before anything heavy

import pandas as pd  # noqa: E402
from mlflow.models import set_model  # noqa: E402
from mlflow.pyfunc import PythonModel  # noqa: E402

from tsad.tracking.frames import predict_frame  # noqa: E402
from tsad.tracking.pyfunc_model import load_folder  # noqa: E402


class DetectorModel(PythonModel):  # type: ignore[misc]
    """A detector version behind MLflow's predict."""

    def load_context(self, context: Any) -> None:
        adapter = context.artifacts.get("adapter")
        self.version = load_folder(Path(context.artifacts["detector"]), Path(adapter) if adapter else None)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        return predict_frame(self.version, model_input)


set_model(DetectorModel())
