"""What MLflow shows that a registered model takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature


def signature_of(channels: Sequence[str]) -> tuple[ModelSignature, pd.DataFrame]:
    """MLflow's signature of ``frames.predict_frame``, and a frame it takes as an example.

    MLflow hands on only columns that a signature names, so those of the points it was made for are named; none but
    ``timestamp`` has to be there. Times are of any type: MLflow's own check refuses those with a time zone.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    values = list(dict.fromkeys(["value", *channels]))
    inputs: list[Any] = [
        ColSpec(AnyType(), "timestamp", required=False), ColSpec("string", "point_id", required=False),
        *(ColSpec("double", name, required=False) for name in values),
    ]  # fmt: skip
    outputs: list[Any] = [
        ColSpec("string", "point_id"), ColSpec(AnyType(), "timestamp", required=False), ColSpec("double", "score"),
        ColSpec("boolean", "anomaly"),
    ]  # fmt: skip
    times = [f"2026-01-01T00:0{minute}:00Z" for minute in range(3)]
    rows = {"timestamp": times, "point_id": ["P1"] * 3, **{name: [0.0, 1.0, 0.0] for name in channels or ["value"]}}
    return ModelSignature(Schema(inputs), Schema(outputs)), pd.DataFrame(rows)
