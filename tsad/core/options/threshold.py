"""``threshold``: what every threshold rule says, and what those say that propose runs of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tsad.core.option_model import Options, Refusal


class ThresholdRuleOptions(Options):
    """What every rule has; ``bench.threshold`` is that of the rule chosen."""

    default: float = Field(ge=0, le=1)  # threshold before any review


class ThresholdOptions(ThresholdRuleOptions):
    """From scores to intervals: what becomes of the runs of points that score at least the threshold."""

    merge_gap: int = Field(ge=0)  # points: proposals this close become one
    min_length: int = Field(ge=0)  # points: shorter proposals are dropped
    max_length: int = Field(ge=0)  # points: longer proposals are cut to their highest part; 0 = unbounded

    @model_validator(mode="after")
    def _bounded(self) -> ThresholdOptions:
        if 0 < self.max_length < self.min_length:
            raise Refusal(
                "{max_length} is {0}, below {min_length}={1}",
                "No interval could be both; use max_length=0 for no limit.",
                self.max_length,
                self.min_length,
            )
        return self


def kept_threshold(saved: Mapping[str, Any]) -> ThresholdOptions:
    """How a registered version makes intervals of its scores, from what its ``detector.json`` keeps.

    Versions keep the options of the rule that chose their threshold, among them those that scoring needs. Those of
    before rules were classes keep all seven keys of the group, whichever rule it was; calibrated ones keep
    none of the keys for runs of points, since their proposer makes the intervals: then every run counts as it is.
    """
    plain = {"merge_gap": 0, "min_length": 1, "max_length": 0}
    return ThresholdOptions(**{key: saved.get(key, plain.get(key)) for key in ThresholdOptions.model_fields})
