"""``gold``: the gate in front of the champion; where the gold set comes from is declared beside each rule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsad.core.option_model import Options

GateMetric = Literal[
    "point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
    "interval_iou50_f1", "composite_f1", "auc_pr", "vus_pr",
]  # fmt: skip


class GoldOptions(Options):
    """What every gold rule has: the gate, and the seed of what is drawn."""

    min_intervals: int = Field(ge=0)  # fewer true gold intervals: "not enough evidence"
    metric: GateMetric  # the figure that the loop is told by, and one of the two that the gate looks at
    guard: GateMetric  # the other metric of the gate, e.g. composite_f1: either may rise, neither may fall
    margin: float = Field(ge=0, le=1)  # how far either metric may fall at most, chance or not
    min_gain: float = Field(ge=0)  # the metric that rises must do so by at least this much
    alpha: float = Field(gt=0, lt=1)  # chance of promoting by luck, half of it for each of the two metrics
    resamples: int = Field(ge=100)
    seed: int
