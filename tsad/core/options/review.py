"""``review``: what every reviewer says; the rest lies beside each of them in ``review``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from tsad.core.option_model import Options


class ReviewOptions(Options):
    """What every reviewer has."""

    wait: bool  # block with a progress line instead of stopping
    poll_seconds: float = Field(gt=0)
    min_reviewed: int = Field(ge=0)  # queue windows to be reviewed before the loop goes on; 0 = all
    agreement_iou: float = Field(ge=0, le=1)  # below it, two people's answers are a CONFLICT
    beside: list[str]  # detectors of conf/detector, or aliases and numbers of versions, that propose too

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: Any) -> Any:
        """A reviewer of somebody's own, whose YAML was written before there was ``beside``."""
        return {"beside": [], **given} if isinstance(given, dict) else given
