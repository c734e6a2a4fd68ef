"""``sampling``: what every strategy says of the windows people see; the rest is declared beside each of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tsad.core.option_model import Options


class SamplingOptions(Options):
    """What every sampling strategy has."""

    windows: int = Field(ge=1)  # per iteration
    max_per_series: int = Field(ge=0)  # 0 = no limit
    seed: int
    once: float = Field(ge=0)  # deviations; windows that differ by no more anywhere are offered once; 0 = all are

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: Any) -> Any:
        """A strategy of somebody's own, whose YAML was written before there was ``once``."""
        return {"once": 0.0, **given} if isinstance(given, dict) else given
