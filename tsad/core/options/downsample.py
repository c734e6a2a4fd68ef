"""``downsample``: series made shorter after they are read; see conf/downsample."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tsad.core.option_model import Options, Refusal
from tsad.core.options.duration import Duration
from tsad.core.options.windows import MIN_LENGTH


class DownsampleOptions(Options):
    """``downsample``: series made shorter after they are read; see conf/downsample."""

    method: Literal["none", "m4", "minmax", "mean"]
    every: Duration | None  # a duration: mean distance of the points that are kept
    count: int | None = Field(ge=MIN_LENGTH)  # about how many points are kept; one of the two unless method=none

    @model_validator(mode="after")
    def _exactly_one(self) -> DownsampleOptions:
        given = [f"{{{key}}}={getattr(self, key)}" for key in ("every", "count") if getattr(self, key) is not None]
        if self.method == "none":
            if given:
                found = f"{' and '.join(given)} with {{method}}=none"
                raise Refusal(found, "Choose downsample=m4, minmax or mean.")
        elif len(given) != 1:
            raise Refusal(
                f"{{method}}={self.method} with {' and '.join(given) or 'neither {every} nor {count}'}",
                "Give exactly one: {every}=60s {count}=null, or {every}=null {count}=5000.",
            )
        return self
