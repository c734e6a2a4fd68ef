"""How a tiny language model is made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsad.core.option_model import Options


class LanguagePretrainOptions(Options):
    """``language``: sizes and lessons of a tiny language model (``detector=chatts_tiny``, ``qwen_vl_tiny``).

    Attributes:
        hidden_size: width, a multiple of 32.
        layers: of the language model.
        vision_size, vision_layers: of the eye, where there is one.
        kinds: what it is taught in the end.
        plain_loss: it is taught plain windows alone until their loss (mean of 30 steps) is below this.
        ramp: steps in which the share of other windows rises then, to nine in ten.
    """

    hidden_size: int = Field(ge=32, multiple_of=32)
    layers: int = Field(ge=1)
    vision_size: int = Field(ge=32, multiple_of=32)
    vision_layers: int = Field(ge=1)
    kinds: Literal["plain", "obvious", "all"]
    plain_loss: float = Field(gt=0)
    ramp: int = Field(ge=1)
