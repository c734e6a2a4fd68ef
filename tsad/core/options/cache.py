"""``cache``: what stands between a source and whoever reads it. Not part of an iteration's frozen config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tsad.core.option_model import Options, Refusal


class CacheOptions(Options):
    """``cache``: what stands between a source and whoever reads it. Not part of an iteration's frozen config."""

    enabled: bool  # false: every read goes to the source
    offline: Literal["allow", "refuse", "only"]
    late_seconds: float = Field(ge=0)  # ranged sources: the newest part of a cached range that is fetched again
    max_gb: float = Field(ge=0)  # on disk; the entries that were read least recently go first; 0 = unbounded
    memory_mb: float = Field(ge=0)  # the working set of this process

    @model_validator(mode="after")
    def _answered(self) -> CacheOptions:
        if self.offline == "only" and not self.enabled:
            raise Refusal("{offline}=only with {enabled}=false: nobody may answer", "Leave one of the two out.")
        return self
