"""LoRA adapters on networks, through peft: attach, load, merge, save. Any network with linear layers will do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters import saved
from tsad.core.errors import TrainingError, WeightsError
from tsad.core.options import AdapterOptions

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

ALL_LINEAR = "all-linear"  # peft's word: every linear layer but the output layer of a language model


def attach(network: torch.nn.Module, options: AdapterOptions, base: str = "") -> PeftModel:
    """Put fresh LoRA matrices on the linear layers that ``options.target_modules`` names; changes ``network`` in place.

    B starts at zero, so the network's output does not change until training. A is drawn from torch's global
    generator. LoRA: Hu et al. 2021, arXiv 2106.09685. ``target_modules``: names, a regular expression that a layer's
    whole dotted name has to match, or ``all-linear``.

    Args:
        base: id of the base weights, noted in the adapter; a name, never a path of this machine.

    Raises:
        TrainingError: a name in ``target_modules`` or ``modules_to_save`` that the network does not have.
    """
    from peft import LoraConfig

    _check_names(network, options)
    targets = options.target_modules
    config = LoraConfig(
        r=options.r, lora_alpha=options.alpha, lora_dropout=options.dropout, bias="none",
        target_modules=targets if isinstance(targets, str) else sorted(targets),
        modules_to_save=sorted(options.modules_to_save) or None,
    )  # fmt: skip
    return _wrap(network, config, base)


def save(model: PeftModel, folder: Path) -> None:
    """Write the adapter of ``model`` to ``folder``, whole or not at all; the same adapter gives the same bytes.

    Raises:
        StorageError: disk full, read-only folder.
    """
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"]
    settings = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    settings |= {"auto_mapping": None, "inference_mode": True, "revision": None}
    # save_embedding_layers="auto", peft's default, would ask the Hugging Face hub about the base
    saved.write(folder, settings, get_peft_model_state_dict(model, save_embedding_layers=False))


def load(
    network: torch.nn.Module, folder: Path, trainable: bool = False, dropout: float | None = None
) -> PeftModel:
    """Put the adapter in ``folder`` on a fresh base network; changes ``network`` in place, never asks the network.

    Args:
        trainable: whether its matrices may be trained further.
        dropout: LoRA dropout while training further; ``None`` keeps the adapter's.

    Raises:
        WeightsError: the adapter is damaged, or was made for another network.
    """
    from peft import LoraConfig, set_peft_model_state_dict

    tensors = saved.check(folder)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    if dropout is not None:
        config.lora_dropout = dropout
    misfit = f"The adapter in {folder} does not fit this network"
    remedy = "Use the base weights it was trained on (they are named in the registered version)."
    try:
        model = _wrap(network, config, config.base_model_name_or_path or "")
        result: Any = set_peft_model_state_dict(model, tensors)
    except (ValueError, RuntimeError) as error:  # peft: unknown target; torch: other shapes
        raise WeightsError(f"{misfit}: {str(error).splitlines()[0]}", remedy) from error
    missing = [k for k in result.missing_keys if "lora_" in k or ".modules_to_save." in k]
    if missing or result.unexpected_keys:
        raise WeightsError(f"{misfit}: {(missing or list(result.unexpected_keys))[0]}", remedy)
    return model if trainable else model.eval()


def merged(network: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The network with the adapter of ``folder`` folded into its weights, ready to score; changes ``network`` in place.

    W + B A alpha / r (Hu et al. 2021, arXiv 2106.09685). With B = 0 the weights stay as they are.

    Raises:
        WeightsError: as :func:`load`.
    """
    whole: torch.nn.Module = load(network, folder).merge_and_unload()
    return whole.eval()


def zero(network: torch.nn.Module, folder: Path, into: Path) -> None:
    """Write to ``into`` the adapter of ``folder`` with B = 0 and the base's own modules: it scores as the base does.

    Args:
        network: a fresh base network; changed in place.
    """
    import torch
    from peft.utils import ModulesToSaveWrapper

    model = load(network, folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.zero_()
        for module in model.modules():
            if isinstance(module, ModulesToSaveWrapper):
                module.modules_to_save["default"].load_state_dict(module.original_module.state_dict())
    save(model, into)


def linear_names(network: torch.nn.Module) -> list[str]:
    """Last names of the layers that LoRA can go on, sorted, each once."""
    return sorted({name.rpartition(".")[2] for name, module in network.named_modules() if name and _takes_lora(module)})


def _wrap(network: torch.nn.Module, config: LoraConfig, base: str) -> PeftModel:
    from peft import get_peft_model

    config.base_model_name_or_path = None  # else peft warns of what comes next:
    model: PeftModel = get_peft_model(network, config)  # it notes the folder the base was read from
    config.base_model_name_or_path = base or None
    return model


def _takes_lora(module: torch.nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding) or type(module).__name__ == "Conv1D"


def _check_names(network: torch.nn.Module, options: AdapterOptions) -> None:
    """Every target and every module to save is there.

    Raises:
        TrainingError: naming those that are not, and what there is.
    """
    if not options.target_modules:
        raise TrainingError("adapter.target_modules is empty", f"Name some of: {', '.join(linear_names(network))}.")
    modules = dict(network.named_modules())
    if isinstance(options.target_modules, str):
        _check_expression(options.target_modules, modules, network)
    else:
        unknown = [name for name in options.target_modules if not _all_fit(_hits(name, modules))]
        _refuse("target_modules", unknown, network, linear_names(network), " as a linear layer")
    unknown = [name for name in options.modules_to_save if not _hits(name, modules)]
    _refuse("modules_to_save", unknown, network, _module_names(network), "")


def _check_expression(expression: str, modules: dict[str, torch.nn.Module], network: torch.nn.Module) -> None:
    if expression == ALL_LINEAR:
        return
    try:
        hits = [module for name, module in modules.items() if re.fullmatch(expression, name)]
    except re.error as error:
        raise TrainingError(
            f"adapter.target_modules={expression} is no regular expression ({error})", f"Mend it, or use {ALL_LINEAR}."
        ) from error
    unknown = [] if _all_fit(hits) else [expression]
    _refuse("target_modules", unknown, network, linear_names(network), " as a linear layer")


def _refuse(key: str, unknown: list[str], network: torch.nn.Module, names: list[str], kind: str) -> None:
    if unknown:
        raise TrainingError(
            f"adapter.{key} names {', '.join(unknown)}, which {type(network).__name__} does not have{kind}",
            f"It has: {', '.join(names) or 'none'}.",
        )


def _hits(name: str, modules: dict[str, torch.nn.Module]) -> list[torch.nn.Module]:
    return [module for dotted, module in modules.items() if dotted == name or dotted.endswith(f".{name}")]


def _all_fit(modules: list[torch.nn.Module]) -> bool:
    return bool(modules) and all(_takes_lora(module) for module in modules)


def _module_names(network: torch.nn.Module) -> list[str]:
    last = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    return sorted(name for name in last if name and not name.isdigit())
