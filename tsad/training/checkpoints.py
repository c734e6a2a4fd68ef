"""Where a killed training run goes on: one safetensors file, replaced whole, never pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters.full import unshared
from tsad.core.errors import TrainingError
from tsad.files import atomic

if TYPE_CHECKING:
    import torch

FILE = "checkpoint.safetensors"


@dataclass
class TrainingState:
    """How far a run has come, apart from its network.

    Attributes:
        step: optimiser steps done.
        losses: training losses since the last evaluation.
        best: metrics of the best evaluation so far; empty before the first one.
        best_step: the step it belongs to.
        stale: evaluations since then.
        start_loss: validation loss before the first step; ``None`` without validation.
        train_loss: mean training loss before the last evaluation.
        best_adapter: :func:`adapter_state` at the best evaluation; kept apart on disk.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    stale: int = 0
    start_loss: float | None = None
    train_loss: float = 0.0
    best_adapter: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)


def adapter_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of what training changes: LoRA matrices and the fully trained modules with their buffers; of a network
    without LoRA all weights, shared ones once."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return {name: tensor.detach().clone() for name, tensor in unshared(model).items()}
    return {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if ".lora_" in name or ".modules_to_save." in name
    }


def write(
    folder: Path, fingerprint: str, state: TrainingState, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Replace the checkpoint in ``folder``.

    Raises:
        StorageError: disk full; the checkpoint before this one stays.
    """
    from safetensors.torch import save as to_bytes

    tensors = {f"adapter|{name}": tensor for name, tensor in adapter_state(model).items()}
    tensors |= {f"best|{name}": tensor for name, tensor in state.best_adapter.items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer|{index}|{key}": value for key, value in _flat(entry)}
    plain = {f.name: getattr(state, f.name) for f in fields(state) if f.name != "best_adapter"}
    head = {"fingerprint": fingerprint, "progress": json.dumps(plain)}
    content = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, head)
    atomic.write_file(folder / FILE, content)


def restore(
    folder: Path, fingerprint: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState | None:
    """Put model and optimiser where the checkpoint in ``folder`` left them; ``None`` where there is none.

    Raises:
        TrainingError: the checkpoint is damaged, or belongs to another training run.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        state = TrainingState(**json.loads(head["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"Checkpoint {path} is damaged: {error}", "Delete it to train from step 0.") from error
    if head.get("fingerprint") != fingerprint:
        what = _difference(head.get("fingerprint", ""), fingerprint)
        raise TrainingError(
            f"Checkpoint {path} belongs to another training run: {what}",
            "Train into another folder, or delete the checkpoint to train from step 0.",
        )
    parts: dict[str, dict[str, torch.Tensor]] = {"adapter": {}, "best": {}}
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("|")
        if kind == "optimizer":
            index, _, key = rest.partition("|")
            counted = not tensor.shape and not tensor.is_floating_point()
            moments.setdefault(int(index), {})[key] = int(tensor) if counted else tensor
        else:
            parts[kind][rest] = tensor
    model.load_state_dict(parts["adapter"], strict=False)  # the rest is the base, which training leaves alone
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    state.best_adapter = parts["best"]
    return state


def _flat(entry: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """An optimiser's state of one parameter; bitsandbytes nests it and counts steps in a plain number."""
    import torch

    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            # bitsandbytes shares its tables between parameters, and safetensors keeps no tensor twice
            yield key, value.clone() if isinstance(value, torch.Tensor) else torch.tensor(int(value))


def _difference(found: str, wanted: str) -> str:
    """The first key in which two fingerprints (JSON objects) differ, with both values."""
    try:
        left: dict[str, Any] = json.loads(found)
    except ValueError:
        return "no fingerprint"
    right: dict[str, Any] = json.loads(wanted)
    for key in sorted({*left, *right}):
        if left.get(key) != right.get(key):
            return f"{key} was {left.get(key)!r}, is {right.get(key)!r}"
    return "fingerprints differ"
