"""What a checkpoint of Qwen3-VL or Qwen3.5 says of itself, and its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import WeightsError
from tsad.detectors.llm.checks import check_torchvision
from tsad.detectors.llm.loading import REMEDY, Form, config_of, load_strictly
from tsad.detectors.llm.qwen_vl.pixels import Patching, patching_of

if TYPE_CHECKING:
    import torch

NAME = "qwen_vl"
FAMILIES = {  # model_type of config.json -> configuration and network of transformers, and since when it has them
    "qwen3_vl": ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration", "4.57"),
    "qwen3_5": ("Qwen3_5Config", "Qwen3_5ForConditionalGeneration", "5.2"),
}
KEPT = ("lm_head", "model.visual")  # never in 4 bits
TOKENS = ("image_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class QwenVLCheckpoint:
    """A folder with a checkpoint.

    Attributes:
        config: its ``config.json``.
        patching: how it wants its pictures.
    """

    folder: Path
    config: Mapping[str, Any]
    patching: Patching

    @classmethod
    def at(cls, folder: Path, *, bare: bool = False) -> QwenVLCheckpoint:
        """The checkpoint of a folder; with ``bare`` its weights may be missing.

        Raises:
            WeightsError: no checkpoint, one of another model, or one that does not say how it wants its pictures.
        """
        config = config_of(folder, NAME, bare=bare)
        family = config.get("model_type")
        if family not in FAMILIES:
            raise WeightsError(
                f"{folder / 'config.json'} describes a {family} model, not {' or '.join(FAMILIES)}",
                "Set detector.weights to a checkpoint of Qwen3-VL or of Qwen3.5 with its vision tower.",
            )
        vision = config.get("vision_config")
        lacking = [key for key in TOKENS if not isinstance(config.get(key), int)]
        if not isinstance(vision, dict) or lacking:
            raise WeightsError(f"{folder / 'config.json'} has no {(lacking or ['vision_config'])[0]}", REMEDY)
        return cls(folder, config, patching_of(folder, vision))

    @property
    def family(self) -> str:
        """Its model type."""
        return str(self.config["model_type"])

    def configuration(self) -> Any:
        """The config as transformers takes it."""
        check_torchvision()
        from tsad.detectors.llm.qwen_vl.model import classes

        kind, _ = classes(*FAMILIES[self.family])
        return kind.from_pretrained(str(self.folder), local_files_only=True)

    def load(self, *, device: str, dtype: torch.dtype, nf4: bool) -> torch.nn.Module:
        """The network with its weights; under ``nf4`` vision tower and output layer stay in ``dtype``.

        What transformers itself leaves out of a family may lie in the files: the ``mtp`` layers of Qwen3.5.

        Raises:
            WeightsError: weights that are missing, left over or of another shape.
        """
        config = self.configuration()
        from tsad.detectors.llm.qwen_vl.model import classes

        _, kind = classes(*FAMILIES[self.family])
        return load_strictly(kind, self.folder, config, Form(device, dtype, nf4, KEPT))
