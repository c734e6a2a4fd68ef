"""``adapter``: LoRA on the detector's linear layers, and how it is trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tsad.core.option_model import WRONG_TYPE, Options, Refusal


class AdapterOptions(Options):
    """``adapter``: LoRA on the detector's linear layers, and how it is trained."""

    enabled: bool
    start_from: Literal["champion", "base"]
    r: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: list[str] | str  # names, or a regular expression that whole names match, or all-linear
    modules_to_save: list[str]  # trained in full beside the LoRA matrices, e.g. the head
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    warmup: float = Field(ge=0, le=1)  # share of the steps
    grad_clip: float = Field(ge=0)
    validation_share: float = Field(ge=0, le=0.5)  # share of the reviewed windows kept for early stopping
    patience: int = Field(ge=1)  # evaluations without improvement before stopping
    eval_every: int = Field(ge=1)  # steps
    checkpoint_every: int = Field(ge=0)  # steps; a killed run goes on from the last checkpoint
    replay_share: float = Field(ge=0, lt=1)  # share of each batch from synthetic windows, against forgetting
    min_windows: int = Field(ge=1)  # fewer usable reviewed windows than this: no training
    min_positive: int = Field(ge=0)  # fewer windows with an anomaly than this: no training
    seed: int

    @field_validator("target_modules", mode="before")
    @classmethod
    def _names_or_expression(cls, value: Any) -> Any:
        """A number would become a text, and that an expression."""
        if not isinstance(value, str | list | tuple):
            raise PydanticCustomError(WRONG_TYPE, "neither a list of names nor an expression")
        return value

    @model_validator(mode="after")
    def _somewhere_to_sit(self) -> AdapterOptions:
        if self.enabled and not self.target_modules:
            raise Refusal(
                "{enabled} is true but {target_modules} is empty",
                "Name the linear layers that LoRA is to sit on, or use adapter=none.",
            )
        return self
