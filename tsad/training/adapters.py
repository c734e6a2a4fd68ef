"""LoRA adapters through peft: attach, save, check, load.

An adapter on disk is a plain peft folder (``adapter_config.json``, ``adapter_model.safetensors``) and
``adapter.sha256`` in the format of ``sha256sum -c``, since safetensors itself has no checksum. Never pickle.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TrainingError, WeightsError
from tsad.core.options import AdapterOptions
from tsad.files import atomic

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

CONFIG, WEIGHTS, SUMS = "adapter_config.json", "adapter_model.safetensors", "adapter.sha256"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_REMEDY = "Fetch it again from its registered version, or train it anew (adapter.start_from=base)."


def attach(network: torch.nn.Module, options: AdapterOptions, base: str = "") -> PeftModel:
    """Put fresh LoRA matrices on the linear layers named in ``options.target_modules``; changes ``network`` in place.

    B starts at zero, so the network's output does not change until training. A is drawn from torch's global
    generator. LoRA: Hu et al. 2021, arXiv 2106.09685.

    Args:
        base: id of the base weights, noted in the adapter; a name, never a path of this machine.

    Raises:
        TrainingError: a name in ``target_modules`` or ``modules_to_save`` that the network does not have.
    """
    from peft import LoraConfig

    _check_names(network, options)
    config = LoraConfig(
        r=options.r, lora_alpha=options.alpha, lora_dropout=options.dropout, bias="none",
        target_modules=sorted(options.target_modules), modules_to_save=sorted(options.modules_to_save) or None,
    )  # fmt: skip
    return _wrap(network, config, base)


def save(model: PeftModel, folder: Path) -> None:
    """Write the adapter of ``model`` to ``folder``, whole or not at all; the same adapter gives the same bytes.

    Raises:
        StorageError: disk full, read-only folder.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save as to_bytes

    config = model.peft_config["default"]
    settings = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    settings |= {"auto_mapping": None, "inference_mode": True, "revision": None}
    # save_embedding_layers="auto", peft's default, would ask the Hugging Face hub about the base
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    files = {
        CONFIG: (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode(),
        WEIGHTS: to_bytes({k: v.detach().cpu().contiguous() for k, v in state.items()}, {"format": "pt"}),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    with atomic.new_folder(Path(folder)) as fresh:
        for name, content in {**files, SUMS: sums.encode()}.items():
            (fresh / name).write_bytes(content)


def check(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a sound adapter folder, by peft's names.

    Raises:
        WeightsError: a missing, corrupted or pickled file, by name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(f"Adapter folder {folder} is missing", _REMEDY)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICKLES:
            raise WeightsError(
                f"{file} may hold pickled code, which tsad never loads", f"Remove it; weights belong in {WEIGHTS}."
            )
    contents = {name: _read(folder / name) for name in (CONFIG, WEIGHTS)}
    if (folder / SUMS).exists():  # absent only where another program made the adapter
        stated = {line.split()[-1]: line.split()[0] for line in _read(folder / SUMS).decode().splitlines() if line}
        for name, content in contents.items():
            if stated.get(name) != hashlib.sha256(content).hexdigest():
                raise WeightsError(f"{folder / name} is corrupted: its SHA-256 is not the one in {SUMS}", _REMEDY)
    try:
        settings = json.loads(contents[CONFIG])
        kind = settings["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / CONFIG} is corrupted: {error}", _REMEDY) from error
    if kind != "LORA":
        raise WeightsError(f"{folder} holds a {kind} adapter; tsad reads LORA", "Train an adapter with tsad train.")
    try:
        tensors = from_bytes(contents[WEIGHTS])
    except SafetensorError as error:
        raise WeightsError(f"{folder / WEIGHTS} is corrupted: {error}", _REMEDY) from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken or not tensors:
        what = f"{broken[0]} is not finite" if broken else "it holds no tensor"
        raise WeightsError(f"{folder / WEIGHTS} is unusable: {what}", _REMEDY)
    return tensors


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

    tensors = check(folder)
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


def weights_digest(folder: Path) -> str:
    """SHA-256 (hex) over config and weights of an adapter folder."""
    folder = Path(folder)
    return hashlib.sha256(_read(folder / CONFIG) + _read(folder / WEIGHTS)).hexdigest()


def settings_of(folder: Path) -> dict[str, Any]:
    """``r``, ``alpha``, ``target_modules`` and ``modules_to_save`` of an adapter on disk, named as in the config."""
    check(folder)
    raw = json.loads(_read(Path(folder) / CONFIG))
    return {
        "r": raw["r"], "alpha": raw["lora_alpha"],
        "target_modules": sorted(raw["target_modules"]), "modules_to_save": sorted(raw["modules_to_save"] or []),
    }  # fmt: skip


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
    if not options.target_modules:
        raise TrainingError("adapter.target_modules is empty", f"Name some of: {', '.join(linear_names(network))}.")
    modules = dict(network.named_modules())
    for key, wanted, fits in (
        ("target_modules", options.target_modules, _takes_lora), ("modules_to_save", options.modules_to_save, None)
    ):  # fmt: skip
        found = {w: [m for n, m in modules.items() if n == w or n.endswith(f".{w}")] for w in wanted}
        unknown = [w for w, hits in found.items() if not hits or (fits and not all(fits(m) for m in hits))]
        if unknown:
            names = linear_names(network) if fits else _module_names(network)
            raise TrainingError(
                f"adapter.{key} names {', '.join(unknown)}, which {type(network).__name__} does not have"
                + (" as a linear layer" if fits else ""),
                f"It has: {', '.join(names) or 'none'}.",
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} is missing or unreadable ({error.strerror})", _REMEDY) from error


def _module_names(network: torch.nn.Module) -> list[str]:
    last = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    return sorted(name for name in last if name and not name.isdigit())
