"""All weights of a small network as an adapter folder: the same three files, checks and digest as LoRA's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tsad.adapters import saved
from tsad.core.errors import TrainingError, WeightsError

if TYPE_CHECKING:
    import torch

_BASE = "tsad_base"  # attribute of a network under training: what its folder says of its base


def attach(network: torch.nn.Module, base: str = "") -> torch.nn.Module:
    """The network with every weight to be trained; changes ``network`` in place.

    Args:
        base: id of the base weights, noted in the folder; a name, never a path of this machine.

    Raises:
        TrainingError: weights of 4 bits, which cannot be trained themselves.
    """
    for name, parameter in network.named_parameters():
        if not parameter.is_floating_point():
            raise TrainingError(
                f"adapter.method=full, but {name} is quantised ({parameter.dtype})", "Use adapter.method=lora."
            )
        parameter.requires_grad_(True)
    setattr(network, _BASE, base)
    return network


def save(network: torch.nn.Module, folder: Path) -> None:
    """Write all weights and buffers to ``folder``, whole or not at all; shared tensors once, by their first name.

    Raises:
        StorageError: disk full, read-only folder.
    """
    saved.write(folder, {"peft_type": saved.FULL, "base_model_name_or_path": getattr(network, _BASE, "") or None},
                unshared(network))  # fmt: skip


def load(network: torch.nn.Module, folder: Path, tensors: dict[str, torch.Tensor], trainable: bool) -> torch.nn.Module:
    """Put the weights of ``folder`` into a fresh network; changes ``network`` in place.

    Raises:
        WeightsError: they are those of another network.
    """
    own = unshared(network)
    wrong = [name for name in sorted({*own, *tensors}) if name not in own or name not in tensors]
    wrong += [name for name in sorted({*own} & {*tensors}) if own[name].shape != tensors[name].shape]
    if wrong:
        raise WeightsError(
            f"The adapter in {folder} does not fit this network: {wrong[0]}",
            "Use the base weights it was trained on (they are named in the registered version).",
        )
    network.load_state_dict(tensors, strict=False)  # by their first names; the shared ones follow
    for parameter in network.parameters():
        parameter.requires_grad_(trainable)
    setattr(network, _BASE, saved.base_id(folder))
    return network if trainable else network.eval()


def unshared(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict; of names for one tensor (a tied output layer) the first."""
    known: dict[int, str] = {}
    return {
        name: tensor for name, tensor in network.state_dict(keep_vars=True).items()
        if known.setdefault(id(tensor), name) == name
    }  # fmt: skip
