"""What MLflow runs to load a detector version: copied into every model, kept thin so that old copies keep working.

Not imported by tsad itself: running it hands the model to MLflow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from tsad.tracking.frames import predict_frame
from tsad.tracking.pyfunc_model import load_folder


class DetectorModel(PythonModel):  # type: ignore[misc]
    """A detector version behind MLflow's predict."""

    def load_context(self, context: Any) -> None:
        adapter = context.artifacts.get("adapter")
        self.version = load_folder(Path(context.artifacts["detector"]), Path(adapter) if adapter else None)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        return predict_frame(self.version, model_input)


set_model(DetectorModel())
