"""``loop``: the name everything hangs on, and when to stop."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from tsad.core.option_model import Options, Refusal


class LoopOptions(Options):
    """``loop``: the name everything hangs on, and when to stop."""

    name: str
    iterations: int = Field(ge=1)  # stop after this many
    until_f1: float = Field(ge=0, le=1)  # stop when the champion's gate metric reaches this; 0 = never
    fresh: bool  # true: when the loop has reached its end, start NAME-2, NAME-3, ... instead of saying so
    lease: float = Field(gt=0)  # seconds: a claim on another host without heartbeat is dead after this

    @field_validator("name")
    @classmethod
    def _fit_for_a_model(cls, name: str) -> str:
        if not name.strip() or re.search(r"[/:\\%\x00-\x1f]", name) or len(name) > 100 or name != name.strip():
            raise Refusal(
                "{key} is {0}",
                "It becomes part of a model's name: letters, digits, spaces, -, _ and ., at most 100.",
                repr(name),
            )
        return name
