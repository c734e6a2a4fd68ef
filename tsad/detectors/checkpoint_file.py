"""The checkpoint of a pre-training run: tensors of network and optimiser, and the rest as JSON in the file's head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import ConfigError
from tsad.files.atomic import write_file

if TYPE_CHECKING:
    import torch


def write(path: Path, head: Mapping[str, Any], network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Write everything that a killed run needs to go on as if nothing had happened; whole or not at all.

    Raises:
        StorageError: disk full, read-only folder.
    """
    from safetensors.torch import save as to_bytes

    tied = _tied(network)
    tensors = {f"model|{name}": tensor for name, tensor in network.state_dict().items() if name not in tied}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser|{index}|{name}": tensor for name, tensor in moments.items()}
    content = to_bytes({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, {"state": json.dumps(head)})
    write_file(path, content)


def read_head(path: Path) -> dict[str, Any]:
    """What the head of a checkpoint says.

    Raises:
        ConfigError: a damaged file.
    """
    return _read(path)[0]


def restore(path: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's tensors into network and optimiser; the groups keep the recipe's own figures.

    Raises:
        ConfigError: a damaged file.
    """
    _, tensors = _read(path)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key in [k for k in tensors if k.startswith("optimiser|")]:
        _, index, name = key.split("|")
        moments.setdefault(int(index), {})[name] = tensors.pop(key)
    weights = {key.removeprefix("model|"): tensor for key, tensor in tensors.items()}
    network.load_state_dict(weights | {name: weights[first] for name, first in _tied(network).items()})
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})


def _tied(network: torch.nn.Module) -> dict[str, str]:
    """Weights that are another's under a second name (``lm_head`` that reads the embeddings), and that name."""
    known: dict[int, str] = {}
    tied = {}
    for name, tensor in network.state_dict().items():
        first = known.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
        if first != name:
            tied[name] = first
    return tied


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            head: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            return head, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error})", "Delete it to begin at step 0.") from error
