"""Base weights and adapters from local folders: safetensors only, never the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import WeightsError
from tsad.files.hashing import digest_of_file

if TYPE_CHECKING:
    from tsad.detectors.patch.model import PatchModel

SHIPPED = Path(__file__).parent / "weights"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_SUMS = "adapter_config.json", "adapter_model.safetensors", "adapter.sha256"
_BASE_REMEDY = "Reinstall tsad, set detector.weights to a folder with both files, or make one with tsad pretrain."
_ADAPTER_REMEDY = "Fetch the adapter again from its registered version, or train it anew."


def check_base(folder: Path) -> None:
    """Both files are there and the configuration is that of a patch network; cheap, so done before any work.

    Raises:
        WeightsError: naming the file.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise WeightsError(f"Base weights: {folder / name} is missing", _BASE_REMEDY)
    kind = _json(folder / CONFIG, _BASE_REMEDY).get("model_type")
    if kind != "tsad_patch":
        raise WeightsError(f"{folder / CONFIG} describes a {kind} model, not tsad_patch", _BASE_REMEDY)


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
        raise WeightsError(f"{folder / WEIGHTS} cannot be loaded: {_line(error)}", _BASE_REMEDY) from error
    torch.nn.Module.to(network, device)  # in place
    return network.eval()


def load_adapter(network: PatchModel, folder: Path) -> PatchModel:
    """The network with the LoRA adapter of ``folder`` folded into its weights; changes ``network`` in place.

    LoRA: W + B A alpha / r (Hu et al. 2021, arXiv 2106.09685). With B = 0 the weights stay as they are.

    Raises:
        WeightsError: a missing, corrupted or ill-fitting file, by name.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_adapter(folder)
    file = folder / ADAPTER_WEIGHTS
    try:
        tensors = load_file(file)
        wrapped = PeftModel.from_pretrained(network, str(folder), use_safetensors=True, local_files_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{file} cannot be loaded: {_line(error)}", _ADAPTER_REMEDY) from error
    wanted = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    odd = sorted(set(wanted) ^ set(tensors))  # peft only warns
    if odd:
        raise WeightsError(f"{file} does not fit this network: {odd[0]}", "Use the base weights it was trained on.")
    broken = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    if broken:
        raise WeightsError(f"{file} is unusable: {broken[0]} is not finite", _ADAPTER_REMEDY)
    return wrapped.merge_and_unload().eval()


def _check_adapter(folder: Path) -> None:
    # An absent file would send peft to the Hugging Face hub, an adapter_model.bin through pickle.
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise WeightsError(f"Adapter: {folder / name} is missing", _ADAPTER_REMEDY)
    kind = _json(folder / ADAPTER_CONFIG, _ADAPTER_REMEDY).get("peft_type")
    if kind != "LORA":
        raise WeightsError(f"{folder / ADAPTER_CONFIG} describes a {kind} adapter, not LORA", _ADAPTER_REMEDY)
    sums = folder / ADAPTER_SUMS  # written by tsad's trainer; safetensors itself has no checksum
    if sums.is_file():
        for stated, name in (line.split() for line in sums.read_text().splitlines() if line.strip()):
            if digest_of_file(folder / name) != stated:
                raise WeightsError(f"{folder / name} is corrupted: its SHA-256 is not the one in {ADAPTER_SUMS}",
                                   _ADAPTER_REMEDY)  # fmt: skip


def _json(file: Path, remedy: str) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{file} is corrupted: {_line(error)}", remedy) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is corrupted: it holds no JSON object", remedy)
    return content


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
