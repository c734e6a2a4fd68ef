"""``adapter``: what is trained of a detector's network, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tsad.core.errors import ConfigError
from tsad.core.option_model import WRONG_TYPE, Options, Refusal

DEFERRED = ("target_modules", "modules_to_save", "learning_rate")  # null = the detector's own
# Keys that came with the large detectors, and what a config without them stands for.
LATER: Mapping[str, Any] = {
    "method": "lora", "dora": False, "quantisation": "none", "train_encoder": False, "gradient_checkpointing": False,
    "micro_batch": None, "max_tokens": 4000, "group_by_length": True, "optimiser": "adamw", "precision": "auto",
}  # fmt: skip


class AdapterOptions(Options):
    """``adapter``: LoRA on the detector's linear layers (or all its weights), and how it is trained."""

    enabled: bool
    start_from: Literal["champion", "base"]
    method: Literal["lora", "full"]  # full: every weight, small bases only
    r: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    dora: bool  # a trained length beside each LoRA direction
    target_modules: list[str] | str | None  # names, an expression that whole names match, all-linear, null
    modules_to_save: list[str] | None  # trained in full beside the LoRA matrices, e.g. the head
    train_encoder: bool  # LoRA on the detector's own encoder of series too
    quantisation: Literal["none", "nf4"]  # of the frozen base
    learning_rate: float | None = Field(gt=0)
    weight_decay: float = Field(ge=0)
    optimiser: Literal["adamw", "adamw_8bit"]
    precision: Literal["auto", "float32", "bf16"]
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    micro_batch: int | None = Field(ge=1)  # rows of the batch at a time; gradients are accumulated
    gradient_checkpointing: bool
    max_tokens: int = Field(ge=1)  # rows that are longer do not train, and are named
    group_by_length: bool
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
        if value is not None and not isinstance(value, str | list | tuple):
            raise PydanticCustomError(WRONG_TYPE, "neither a list of names nor an expression")
        return value

    @model_validator(mode="after")
    def _somewhere_to_sit(self) -> AdapterOptions:
        if self.enabled and self.method == "lora" and self.target_modules is not None and not self.target_modules:
            raise Refusal(
                "{enabled} is true but {target_modules} is empty",
                "Name the linear layers that LoRA is to sit on, or use adapter=none.",
            )
        return self

    @model_validator(mode="after")
    def _of_one_method(self) -> AdapterOptions:
        if self.method == "full" and self.quantisation != "none":
            raise Refusal(
                "{method} is full with {quantisation}={0}: weights of 4 bits cannot be trained themselves",
                "Use {method}=lora, or {quantisation}=none.", self.quantisation,
            )  # fmt: skip
        if self.method == "full" and (self.dora or self.train_encoder):
            wanted = "dora" if self.dora else "train_encoder"
            found = f"{{method}} is full, which trains every weight, with {{{wanted}}}=true"
            raise Refusal(found, "Use {method}=lora.")
        return self

    def for_detector(self, defaults: Mapping[str, Any]) -> Self:
        """The same with the detector's own values where ours are ``null``, its encoder among the targets if asked for.

        Args:
            defaults: ``Detector.adapter_defaults``.

        Raises:
            ConfigError: the detector says nothing of a key, or has no encoder of its own.
        """
        silent = [key for key in DEFERRED if getattr(self, key) is None and defaults.get(key) is None]
        if silent:
            raise ConfigError(
                f"adapter.{silent[0]} is null, and the detector has no value of its own", f"Set adapter.{silent[0]}."
            )
        chosen = {key: defaults[key] for key in DEFERRED if getattr(self, key) is None}
        chosen = {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()}
        if self.train_encoder:
            targets: Any = chosen.get("target_modules", self.target_modules)
            chosen["target_modules"] = _with_encoder(targets, list(defaults.get("encoder_modules", ())))
        return self.model_copy(update=chosen)

    def settled(self, key: str) -> Any:
        """The value of a key that may be ``null``, once :meth:`for_detector` has filled it.

        Raises:
            ConfigError: it is still ``null``.
        """
        value = getattr(self, key)
        if value is None:
            raise ConfigError(f"adapter.{key} is null where a detector trains", f"Set adapter.{key}.")
        return value

    def identity(self) -> dict[str, Any]:
        """What a training run is known by: all keys, but those that came later only where they say something new."""
        return {key: value for key, value in vars(self).items() if key not in LATER or value != LATER[key]}


def _with_encoder(targets: list[str] | str, encoder: list[str]) -> list[str] | str:
    if not encoder:
        raise ConfigError(
            "adapter.train_encoder is true, but this detector has no encoder of its own",
            "Use adapter.train_encoder=false, or a detector of the ChatTS family.",
        )
    if targets == "all-linear":  # peft's word: the encoder is among them
        return targets
    if isinstance(targets, str):
        raise ConfigError(
            f"adapter.train_encoder is true beside the expression adapter.target_modules={targets}",
            f"Let the expression match {', '.join(encoder)} too, or give names.",
        )
    return [*targets, *(name for name in encoder if name not in targets)]
