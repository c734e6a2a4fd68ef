"""LoRA adapters that other programs trained (LLaMA-Factory, ms-swift, Unsloth, plain peft): checked, and made ours.

Of the foreign folder ``adapter_config.json`` and ``adapter_model.safetensors`` are read and nothing else: no pickle
beside them, no class that the config names, no pattern of it as a regular expression, nothing by the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters import lora, saved
from tsad.core.errors import WeightsError

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

PREFIX = "base_model.model."
MATRIX = re.compile(r"(.+)\.(?:lora_[AB]\.weight|lora_embedding_[AB]|lora_magnitude_vector(?:\.weight)?)")
PLAIN_NAME = re.compile(r"[\w.]+", re.ASCII)
KEPT = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save")
# Says who made it, how training began, or which layers were chosen (the tensors say that): changes no figure here.
WITHOUT_EFFECT = (
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights", "loftq_config",
    "eva_config", "corda_config", "lora_ga_config", "runtime_config", "megatron_core", "qalora_group_size",
    "ensure_weight_tying", "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr",
)  # fmt: skip
BASE_STAYS = (None, True, False, "gaussian", "eva", "orthogonal")  # init_lora_weights that leave the base as it is
_REMEDY = "Take the base that it was trained on (detector.weights), or train it again on this one."
_ANEW = "Train it again as plain LoRA or DoRA."


@dataclass(frozen=True, eq=False)
class Taken:
    """An adapter that fits.

    Attributes:
        base: what it calls its base; "" = it does not say.
        layers: how many it sits on.
    """

    base: str
    r: int
    alpha: float
    layers: int


def take(folder: Path, network: torch.nn.Module, base: str, into: Path) -> Taken:
    """Check a foreign adapter against a network and write it to ``into`` in our own form, with sums.

    Args:
        network: of the base it is to sit on, on any device (``meta`` will do); changed in place.
        base: id of these weights, noted in the adapter instead of what it calls them.

    Raises:
        WeightsError: missing, damaged or pickled files; no LoRA, or LoRA of a kind that is more than B A alpha / r; an
            adapter of another base, by the first tensor that does not fit.
        StorageError: it cannot be written.
    """
    raw, tensors = saved.read_foreign(folder)
    _check_kind(raw, folder)
    layers = _layers(tensors, network, raw, folder)
    _check_whole(raw, layers, network, folder)
    config = _config(raw, layers, network, folder)
    _check_shapes(lora.with_matrices(network, config, base), tensors, folder)
    saved.write(into, lora.settings_of_config(config), tensors)
    return Taken(str(raw.get("base_model_name_or_path") or ""), config.r, config.lora_alpha, len(layers))


def _check_kind(raw: Mapping[str, Any], folder: Path) -> None:
    """Refuse what plain LoRA would compute otherwise."""
    changed = [key for key, value in raw.items() if value and key not in (*KEPT, *WITHOUT_EFFECT, "bias")]
    if raw.get("bias") not in (None, "none"):
        changed.append("bias")
    if changed:
        said = f"{changed[0]}={raw[changed[0]]}"
        raise WeightsError(f"{folder / saved.CONFIG} sets {said}, which tsad does not read", _ANEW)
    begun = raw.get("init_lora_weights")
    if not any(begun is known or begun == known for known in BASE_STAYS):
        raise WeightsError(
            f"{folder} began by changing the weights of its base (init_lora_weights={begun})",
            "Convert it to plain LoRA (peft: save_pretrained with path_initial_model_for_weight_conversion).",
        )
    for key in ("rank_pattern", "alpha_pattern"):
        odd = [name for name in raw.get(key) or {} if not PLAIN_NAME.fullmatch(name)]
        if odd:
            raise WeightsError(f"{folder / saved.CONFIG}: {key} has the pattern {odd[0]}, which is no name", _ANEW)


def _layers(
    tensors: Mapping[str, torch.Tensor], network: torch.nn.Module, raw: Mapping[str, Any], folder: Path
) -> list[str]:
    """The layers of the network that it sits on, by dotted name, sorted."""
    linear = {name for name, _ in lora.takers(network)}
    layers = set()
    for name, tensor in sorted(tensors.items()):
        matrix = MATRIX.fullmatch(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        if matrix is None:
            if not _to_save(name, raw):
                raise WeightsError(f"{folder} holds {name}, which is no part of LoRA", _ANEW)
        elif matrix[1] not in linear:
            raise WeightsError(
                f"The adapter in {folder} is for another base: {name} {list(tensor.shape)} sits on {matrix[1]}, and "
                f"{type(network).__name__} has no such layer",
                _REMEDY,
            )
        else:
            layers.add(matrix[1])
        if not tensor.is_floating_point():
            raise WeightsError(f"{folder} holds {name} as {tensor.dtype}", _ANEW)
    if not layers:
        raise WeightsError(f"{folder} holds no LoRA matrix", _ANEW)
    return sorted(layers)


def _to_save(name: str, raw: Mapping[str, Any]) -> bool:
    """Whether a tensor belongs to a module that was trained in full beside LoRA."""
    parts = name.split(".")
    return name.startswith(PREFIX) and any(saved_name in parts for saved_name in raw.get("modules_to_save") or ())


def _check_whole(raw: Mapping[str, Any], layers: list[str], network: torch.nn.Module, folder: Path) -> None:
    """Every layer that its config names has its matrices, where the config names layers and all of them."""
    targets = raw.get("target_modules")
    narrowed = any(raw.get(key) not in (None, [], "") for key in ("layers_to_transform", "exclude_modules"))
    if not isinstance(targets, list) or narrowed:
        return
    meant = {target: set(_called([target], network)) for target in map(str, targets)}
    lacking = sorted(target for target, named in meant.items() if not named)
    if lacking:
        raise WeightsError(
            f"The adapter in {folder} is for another base: it names {lacking[0]}, and {type(network).__name__} has no "
            "such layer",
            _REMEDY,
        )
    bare = sorted(set().union(*meant.values()) - set(layers))
    if bare:
        raise WeightsError(f"{folder / saved.CONFIG} names {bare[0]}, of which {saved.WEIGHTS} holds nothing",
                           "Fetch or save it again.")  # fmt: skip


def _called(names: list[str], network: torch.nn.Module) -> list[str]:
    """Layers with these last names."""
    ends = tuple(f".{name}" for name in names)
    return [layer for layer, _ in lora.takers(network) if layer in names or layer.endswith(ends)]


def _config(raw: Mapping[str, Any], layers: list[str], network: torch.nn.Module, folder: Path) -> LoraConfig:
    """Its settings in our words: layers by their last names where these mean the same, else one by one."""
    from peft import LoraConfig

    short = sorted({layer.rpartition(".")[2] for layer in layers})
    targets = short if sorted(_called(short, network)) == layers else layers
    given = {key: raw[key] for key in KEPT if raw.get(key) is not None}
    try:
        given |= {"r": int(raw["r"]), "lora_alpha": float(raw["lora_alpha"])}
        config = LoraConfig(target_modules=targets, bias="none", **given)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder / saved.CONFIG} is corrupted: {error}", "Fetch or save it again.") from error
    whole = int(config.lora_alpha)
    config.lora_alpha = whole if whole == config.lora_alpha else config.lora_alpha
    return config


def _check_shapes(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """What the network takes under these settings is what there is."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    for name in sorted({*wanted, *tensors}):
        if name not in tensors:
            raise WeightsError(f"{folder / saved.WEIGHTS} holds no {name}", "Fetch or save it again.")
        held = list(tensors[name].shape)
        if name not in wanted:
            raise WeightsError(f"{folder} holds {name} {held}, which its config does not ask for", _ANEW)
        if list(wanted[name].shape) != held:
            raise WeightsError(
                f"The adapter in {folder} is for another base or rank: {name} has the shape {held}, here it would be "
                f"{list(wanted[name].shape)}",
                _REMEDY,
            )
