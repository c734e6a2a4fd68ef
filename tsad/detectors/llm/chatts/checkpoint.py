"""What a ChatTS checkpoint says of itself, and its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import WeightsError
from tsad.detectors.llm.loading import REMEDY, Form, config_of, load_strictly

if TYPE_CHECKING:
    import torch

NAME = "chatts"
PLACEHOLDER, PLACEHOLDER_END = "<ts>", "<ts/>"
KEPT = ("lm_head", "ts_encoder")  # never in 4 bits
_OURS = (
    "model_type", "architectures", "auto_map", "transformers_version", "torch_dtype", "dtype", "quantization_config",
)  # fmt: skip


@dataclass(frozen=True)
class ChatTSCheckpoint:
    """A folder with a ChatTS checkpoint.

    Attributes:
        backbone: qwen2 | qwen3 | llama.
        config: its ``config.json``.
    """

    folder: Path
    backbone: str
    config: Mapping[str, Any]

    @classmethod
    def at(cls, folder: Path) -> ChatTSCheckpoint:
        """The checkpoint of a folder.

        Raises:
            WeightsError: no checkpoint, or one without a series encoder on a backbone that is known.
        """
        config = config_of(folder, NAME)
        named = " ".join([*map(str, config.get("architectures") or ()), str(config.get("model_type", ""))]).lower()
        backbone = next((known for known in ("qwen3", "qwen2", "llama") if known in named), "")
        if not isinstance(config.get("ts"), dict) or not backbone:
            raise WeightsError(
                f"{folder / 'config.json'} describes {named.strip() or 'no model'}"
                f"{'' if isinstance(config.get('ts'), dict) else ' without a series encoder (key ts)'}, not ChatTS "
                "on Qwen2, Qwen3 or Llama",
                "Set detector.weights to a ChatTS checkpoint, e.g. ChatTS-8B or ChatTS-14B.",
            )
        lacking = [key for key in ("patch_size", "num_layers") if key not in config["ts"]]
        if lacking or not ({"max_sequence_length", "max_length"} & set(config["ts"])):
            raise WeightsError(
                f"{folder / 'config.json'}: ts has no {(lacking or ['max_sequence_length'])[0]}", REMEDY
            )
        return cls(folder, backbone, config)

    @property
    def patch(self) -> int:
        """Points of a patch."""
        return int(self.config["ts"]["patch_size"])

    @property
    def longest(self) -> int:
        """Points of a series at most."""
        ts = self.config["ts"]
        return int(ts.get("max_sequence_length") or ts["max_length"])

    def configuration(self, placeholder: int | None = None) -> Any:
        """The config as transformers takes it.

        Args:
            placeholder: id of ``<ts>``, for a config that does not name it.
        """
        from tsad.detectors.llm.chatts.model import BACKBONES

        kind, _ = BACKBONES[self.backbone]
        given = {key: value for key, value in self.config.items() if key not in _OURS}
        if "ts_token_start_index" not in given and placeholder is not None:
            given["ts_token_start_index"] = placeholder
        return kind(**given, architectures=[BACKBONES[self.backbone][1].__name__])

    def load(self, placeholder: int, *, device: str, dtype: torch.dtype, nf4: bool) -> torch.nn.Module:
        """The network with its weights.

        Raises:
            WeightsError: weights that are missing, left over or of another shape.
        """
        from tsad.detectors.llm.chatts.model import BACKBONES

        _, kind = BACKBONES[self.backbone]
        config = self.configuration(placeholder)
        return load_strictly(kind, self.folder, config, Form(device, dtype, nf4, KEPT))
