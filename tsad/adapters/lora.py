"""Adapters on networks: attach, load, merge, save; LoRA through peft on any network with linear layers, or all weights.

On a base of 4 bits (bitsandbytes' ``Linear4bit``) LoRA is never merged: rounding to 4 bits again would undo part of it.
The base is only frozen: peft's ``prepare_model_for_kbit_training`` would turn embeddings and output layer to float32
(2.5 GiB at 8 billion parameters).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters import full, saved
from tsad.core.errors import TrainingError, WeightsError
from tsad.core.options import AdapterOptions

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftConfig, PeftModel

ALL_LINEAR = "all-linear"  # peft's word: every linear layer but the output layer of a language model
BELOW = ".*"  # at the end of a target: every linear layer below the module before it


def attach(network: torch.nn.Module, options: AdapterOptions, base: str = "") -> PeftModel | torch.nn.Module:
    """Put fresh LoRA matrices on the linear layers that ``options.target_modules`` names; changes ``network`` in place.

    B starts at zero, so the network's output does not change until training. A is drawn from torch's global
    generator. LoRA: Hu et al. 2021, arXiv 2106.09685; ``options.dora``: Liu et al. 2024, arXiv 2402.09353.
    ``target_modules``: names (``encoder.mlp.*`` = every linear layer below it), a regular expression that a layer's
    whole dotted name has to match, or ``all-linear``. With ``options.method=full`` every weight of the network itself
    is to be trained instead.

    Args:
        base: id of the base weights, noted in the adapter; a name, never a path of this machine.

    Raises:
        TrainingError: a name in ``target_modules`` or ``modules_to_save`` that the network does not have.
    """
    if options.method == "full":
        return full.attach(network, base)
    from peft import LoraConfig

    _check_names(network, options)
    config = LoraConfig(
        r=options.r, lora_alpha=options.alpha, lora_dropout=options.dropout, bias="none", use_dora=options.dora,
        target_modules=spelt_targets(network, options),
        modules_to_save=sorted(options.settled("modules_to_save")) or None,
    )  # fmt: skip
    return with_matrices(network, config, base)


def spelt_targets(network: torch.nn.Module, options: AdapterOptions) -> list[str] | str:
    """``target_modules`` as peft takes them and keeps them: sorted names, those below a module spelt out."""
    targets = options.settled("target_modules")
    if isinstance(targets, str):
        return targets
    return sorted({name for target in targets for name in _spelt_out(target, network)})


def adapted(network: torch.nn.Module, options: AdapterOptions) -> list[tuple[str, torch.nn.Module]]:
    """The layers that LoRA would sit on, by dotted name; the network is not changed.

    Raises:
        TrainingError: as :func:`attach`.
    """
    _check_names(network, options)
    targets = spelt_targets(network, options)
    layers = takers(network)
    if targets == ALL_LINEAR:
        output = getattr(network, "get_output_embeddings", lambda: None)()
        return [(name, module) for name, module in layers if _is_linear(module) and module is not output]
    if isinstance(targets, str):
        return [(name, module) for name, module in layers if re.fullmatch(targets, name)]
    return [(name, module) for name, module in layers if any(name == t or name.endswith(f".{t}") for t in targets)]


def _spelt_out(target: str, network: torch.nn.Module) -> list[str]:
    if not target.endswith(BELOW):
        return [target]
    inside = re.compile(rf"(.*\.)?{re.escape(target.removesuffix(BELOW))}\..+")
    return [name for name, module in network.named_modules() if inside.fullmatch(name) and _takes_lora(module)]


def save(
    model: PeftModel | torch.nn.Module, folder: Path, state: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write the adapter of ``model`` to ``folder``, whole or not at all; the same adapter gives the same bytes.

    Args:
        state: the adapter's part of the state dict where the model holds only pieces of it (FSDP).

    Raises:
        StorageError: disk full, read-only folder.
    """
    from peft import PeftModel, get_peft_model_state_dict

    if not isinstance(model, PeftModel):
        return full.save(model, folder)
    # save_embedding_layers="auto", peft's default, would ask the Hugging Face hub about the base
    tensors = get_peft_model_state_dict(model, state and dict(state), save_embedding_layers=False)
    saved.write(folder, settings_of_config(model.peft_config["default"]), tensors)


def settings_of_config(config: PeftConfig) -> dict[str, Any]:
    """A configuration as an adapter's folder has it: what scores, in JSON's types, the same each time."""
    settings = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    return settings | {"auto_mapping": None, "inference_mode": True, "revision": None}


def load(
    network: torch.nn.Module, folder: Path, trainable: bool = False, dropout: float | None = None
) -> PeftModel | torch.nn.Module:
    """Put the adapter in ``folder`` on a fresh base network; changes ``network`` in place, never asks the network.

    Args:
        trainable: whether its matrices may be trained further.
        dropout: LoRA dropout while training further; ``None`` keeps the adapter's.

    Raises:
        WeightsError: the adapter is damaged, or was made for another network.
    """
    from peft import LoraConfig, set_peft_model_state_dict

    tensors = saved.check(folder)
    if saved.method_of(folder) == saved.FULL:
        return full.load(network, folder, tensors, trainable)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    if dropout is not None:
        config.lora_dropout = dropout
    misfit = f"The adapter in {folder} does not fit this network"
    remedy = "Use the base weights it was trained on (they are named in the registered version)."
    try:
        model = with_matrices(network, config, config.base_model_name_or_path or "")
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
        WeightsError: as :func:`load`, or a base of 4 bits (use :func:`for_scoring`).
    """
    from peft import PeftModel

    if quantised(network):
        raise WeightsError(
            f"The adapter in {folder} cannot be folded into weights of 4 bits: rounding again would change it",
            "Score with it beside the base (adapters.lora.for_scoring).",
        )
    model = load(network, folder)
    if not isinstance(model, PeftModel):
        return model
    whole: torch.nn.Module = model.merge_and_unload()  # type: ignore[operator]
    return whole.eval()


def for_scoring(network: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The network under the adapter of ``folder``: folded in, or beside a base of 4 bits; changes ``network`` in place.

    Raises:
        WeightsError: as :func:`load`.
    """
    return load(network, folder) if quantised(network) else merged(network, folder)


def plain_on_cpus(network: torch.nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-BF16, which it does at the first answer.

    Its packed form (0.50) takes only layers whose outputs are a multiple of 32, so that others end in an assertion, and
    an answer would depend on the CPU that gives it.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no attribute that torch declares


def quantised(network: torch.nn.Module) -> bool:
    """Whether some of its weights are integers standing for others (bitsandbytes)."""
    return any(not p.is_floating_point() for p in network.parameters())


def zero(network: torch.nn.Module, folder: Path, into: Path) -> None:
    """Write to ``into`` the adapter of ``folder`` with B = 0 and the base's own modules: it scores as the base does.

    Args:
        network: a fresh base network; changed in place.
    """
    import torch
    from peft.utils import ModulesToSaveWrapper

    if saved.method_of(folder) == saved.FULL:
        return full.save(full.attach(network, saved.base_id(folder)), into)
    model = load(network, folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.zero_()
        for module in model.modules():
            if isinstance(module, ModulesToSaveWrapper):
                module.modules_to_save["default"].load_state_dict(module.original_module.state_dict())
    save(model, into)


def takers(network: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The layers that LoRA can go on, by dotted name."""
    return [(name, module) for name, module in network.named_modules() if _takes_lora(module)]


def linear_names(network: torch.nn.Module) -> list[str]:
    """Last names of the layers that LoRA can go on, sorted, each once."""
    return sorted({name.rpartition(".")[2] for name, _ in takers(network) if name})


def with_matrices(network: torch.nn.Module, config: LoraConfig, base: str) -> PeftModel:
    """The network with the matrices of a configuration, which notes the base's id; changes ``network`` in place."""
    from peft import get_peft_model

    config.base_model_name_or_path = None  # else peft warns of what comes next:
    model: PeftModel = get_peft_model(network, config)  # it notes the folder the base was read from
    config.base_model_name_or_path = base or None
    return model


def _takes_lora(module: torch.nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding) or type(module).__name__ == "Conv1D"


def _is_linear(module: torch.nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _check_names(network: torch.nn.Module, options: AdapterOptions) -> None:
    """Every target and every module to save is there.

    Raises:
        TrainingError: naming those that are not, and what there is.
    """
    targets = options.settled("target_modules")
    if not targets:
        raise TrainingError("adapter.target_modules is empty", f"Name some of: {', '.join(linear_names(network))}.")
    modules = dict(network.named_modules())
    if isinstance(targets, str):
        _check_expression(targets, modules, network)
    else:
        hits = {target: [_hits(name, modules) for name in _spelt_out(target, network)] for target in targets}
        unknown = [target for target, each in hits.items() if not each or not all(map(_all_fit, each))]
        _refuse("target_modules", unknown, network, linear_names(network), " as a linear layer")
    unknown = [name for name in options.settled("modules_to_save") if not _hits(name, modules)]
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
