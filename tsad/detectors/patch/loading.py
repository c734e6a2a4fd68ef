"""Base weights from local folders: safetensors only, never the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import WeightsError

if TYPE_CHECKING:
    from tsad.detectors.patch.model import PatchModel

SHIPPED = Path(__file__).parent / "weights"
EARLIER = tuple(sorted(SHIPPED.glob("*_edition")))  # registered versions were made on them
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_REMEDY = "Reinstall tsad, set detector.weights to a folder with both files, or make one with tsad pretrain."


def check_base(folder: Path) -> None:
    """Both files are there and the configuration is that of a patch network; cheap, so done before any work.

    Raises:
        WeightsError: naming the file.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise WeightsError(f"Base weights: {folder / name} is missing", _REMEDY)
    kind = _json(folder / CONFIG).get("model_type")
    if kind != "tsad_patch":
        raise WeightsError(f"{folder / CONFIG} describes a {kind} model, not tsad_patch", _REMEDY)


def load_base(folder: Path, device: str = "cpu") -> PatchModel:
    """The network of a folder in single precision, ready to score.

    Raises:
        WeightsError: a missing, corrupted or ill-fitting file, by name.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from tsad.detectors.patch.configuration import PatchConfig
    from tsad.detectors.patch.model import PatchModel

    check_base(folder)
    try:
        network = PatchModel(PatchConfig.from_pretrained(str(folder), local_files_only=True))
        network.load_state_dict(load_file(folder / WEIGHTS))  # strict: every tensor, no other, same shapes
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{folder / WEIGHTS} cannot be loaded: {_line(error)}", _REMEDY) from error
    torch.nn.Module.to(network, device)  # in place
    return network.eval()


def _json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{file} is corrupted: {_line(error)}", _REMEDY) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is corrupted: it holds no JSON object", _REMEDY)
    return content


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
