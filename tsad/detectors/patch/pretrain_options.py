"""How the base of ``patch`` is made: options, and the recipe that is kept beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator

from tsad.core.errors import ConfigError
from tsad.core.faults import faults_of
from tsad.core.option_model import Options
from tsad.detectors.evidence.channels import CHANNELS
from tsad.synthetic.coupled import MACHINE_KINDS as KINDS
from tsad.synthetic.generator import GENERATOR_VERSION

if TYPE_CHECKING:
    from tsad.detectors.patch.configuration import PatchConfig

WEIGHT_DECAY = 0.02


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What determines the weights, besides the versions of torch and NumPy."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int  # steps of rising learning rate
    cooldown: int  # last steps, of falling learning rate
    precision: str = "float32"  # of activations; weights and optimiser are float32 while they are trained
    start: str = ""  # SHA-256 of the weights that it began from; "" = random ones
    generator: str = GENERATOR_VERSION
    kinds: tuple[str, ...] = KINDS


class NetworkOptions(Options):
    """Sizes of the network, as in ``PatchConfig``."""

    length: int = Field(ge=1)
    patch: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    point_size: int = Field(ge=1)
    stem: tuple[int, int]
    embeds_inputs: bool
    believes: bool

    @model_validator(mode="after")
    def _whole(self) -> NetworkOptions:
        if self.length % self.patch:
            raise ValueError(f"network.length={self.length} should be a multiple of network.patch={self.patch}")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"network.hidden_size={self.hidden_size} should be a multiple of twice network.heads={self.heads}"
            )
        return self


class PretrainOptions(Options):
    """How the base is made; see ``conf/task/pretrain.yaml``.

    Attributes:
        start: folder of the weights to begin from, ``shipped`` = those of ``detector=patch``; "" = random ones.
        seed: of weights, series and crops; same seed and steps give the same weights on the same machine.
        steps: optimiser steps.
        warmup, cooldown: the learning rate rises over the first and falls to 0 over the last so many steps.
        max_seconds: start the cooldown early enough to end about then; 0 = no limit. The recipe beside the weights
            names the steps really taken, and running it with those gives the same weights.
        save_every: steps between intermediate weights in the folder and validation figures.
        workers: processes that make series; the weights do not depend on their number.
        device: the same seed is promised to give the same weights on the CPU only, for one number of threads.
        precision: of activations. bf16 (autocast) is fast on GPUs since Ampere, slower than float32 on CPUs without
            AVX512-BF16 or AMX.
        compile: ``torch.compile`` the network: some minutes at first, faster steps then; CUDA only.
        evidence: ``False`` = a network that sees the values alone.
        without: rows of evidence that the network does not see.
    """

    start: str
    seed: int = Field(ge=0)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup: int = Field(ge=1)
    cooldown: int = Field(ge=1)
    max_seconds: float = Field(ge=0)
    save_every: int = Field(ge=1)
    workers: int = Field(ge=0)
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    compile: bool
    evidence: bool
    without: list[str]
    network: NetworkOptions

    @classmethod
    def of(cls, **given: Any) -> PretrainOptions:
        """Checked options.

        Raises:
            ConfigError: all that is wrong with them.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            found, remedies = (list(c) for c in zip(*faults_of(error, ""), strict=True))
            raise ConfigError(f"pretrain: {', '.join(found)}", " ".join(remedies)) from error

    def config(self) -> PatchConfig:
        """The network as it takes its sizes."""
        from tsad.detectors.patch.configuration import PatchConfig

        evidence = [name for name in CHANNELS if self.evidence and name not in self.without]
        return PatchConfig(kinds=len(KINDS), evidence=evidence, **self.network.model_dump())

    def recipe(self) -> Recipe:
        """What determines the weights; a short run has a short warm-up and cooldown."""
        return Recipe(
            seed=self.seed, steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate,
            weight_decay=WEIGHT_DECAY, warmup=min(self.warmup, max(1, self.steps // 10)),
            cooldown=min(self.cooldown, max(1, self.steps // 3)), precision=self.precision,
        )  # fmt: skip
