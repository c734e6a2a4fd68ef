"""``sampling``: what every strategy says of the windows people see; the rest is declared beside each of them."""

from __future__ import annotations

from pydantic import Field

from tsad.core.option_model import Options


class SamplingOptions(Options):
    """What every sampling strategy has."""

    windows: int = Field(ge=1)  # per iteration
    max_per_series: int = Field(ge=0)  # 0 = no limit
    seed: int
