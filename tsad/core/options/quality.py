"""``quality``: what a data-quality report looks for, and which of it keeps a point out; see conf/quality."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from tsad.core.option_model import Options, Refusal
from tsad.core.options.duration import Duration

QualityWarning = Literal[
    "gaps", "nan", "irregular", "duplicates", "backward", "stuck", "constant", "range", "units", "clock", "future",
    "labels",
]  # fmt: skip
WARNINGS: tuple[str, ...] = get_args(QualityWarning)


class QualityOptions(Options):
    """``quality``: what a data-quality report looks for, and which of it keeps a point out; see conf/quality."""

    gap_steps: float = Field(gt=1)  # usual steps: a longer distance between points is a gap
    missing_share: float = Field(ge=0, le=1)  # warn: gaps, nan
    irregular_share: float = Field(ge=0, le=1)  # warn: steps off the usual one
    mended_share: float = Field(ge=0)  # warn: duplicates, backward steps
    stuck_points: int = Field(ge=2)  # warn: runs of one value, at least this long
    stuck_factor: float = Field(ge=1)  # ... and so many times as long as 99 of 100 runs of the channel
    unit_factors: list[float]  # warn: lasting changes of level and spread by one of them
    unit_tolerance: float = Field(gt=0, lt=1)
    future: Duration  # warn: a duration after now
    label_share: float = Field(ge=0, le=1)  # warn
    refuse: list[QualityWarning]  # names of warnings that keep a point out
    refuse_missing_share: float = Field(ge=0, le=1)  # share of missing values that keeps a point out; 1 = never

    @field_validator("unit_factors")
    @classmethod
    def _above_one(cls, factors: list[float]) -> list[float]:
        for factor in factors:
            if not factor > 1:
                raise Refusal("{key} holds {0}", "Give those above 1; inverses are implied.", f"{factor:g}")
        return factors
