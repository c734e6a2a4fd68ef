"""Adapters on disk: a plain peft folder, checked before anything of it is used. Never pickle, never the network.

An adapter is ``adapter_config.json``, ``adapter_model.safetensors`` and ``adapter.sha256`` in the format of
``sha256sum -c``, since safetensors itself has no checksum.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import WeightsError
from tsad.files import atomic

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, SUMS = "adapter_config.json", "adapter_model.safetensors", "adapter.sha256"
LORA, FULL = "LORA", "FULL"  # kinds of adapters: peft's, and all weights of a small network (adapters.full)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_REMEDY = "Fetch it again from its registered version, or train it anew (adapter.start_from=base)."


def write(folder: Path, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write an adapter to ``folder``, whole or not at all; the same adapter gives the same bytes.

    Args:
        settings: peft's configuration.
        tensors: by peft's names.

    Raises:
        StorageError: disk full, read-only folder.
    """
    from safetensors.torch import save as to_bytes

    files = {
        CONFIG: (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode(),
        WEIGHTS: to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"format": "pt"}),
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
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(f"Adapter folder {folder} is missing", _REMEDY)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICKLES:
            raise WeightsError(
                f"{file} may hold pickled code, which tsad never loads", f"Remove it; weights belong in {WEIGHTS}."
            )
    contents = {name: _read(folder / name) for name in (CONFIG, WEIGHTS)}  # an absent one: peft would ask the hub
    _check_sums(folder, contents)
    kind = _kind(folder, contents[CONFIG])
    if kind not in (LORA, FULL):
        raise WeightsError(f"{folder} holds a {kind} adapter; tsad reads LORA", "Train an adapter with tsad train.")
    return _tensors(folder / WEIGHTS, contents[WEIGHTS])


def read_foreign(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and tensors of an adapter that another program made; whatever else lies there is not opened.

    Raises:
        WeightsError: a missing, corrupted or pickled file, by name; no LoRA.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(f"Adapter folder {folder} is missing", "Give the folder that holds adapter_config.json.")
    if not (folder / CONFIG).exists():
        inside = sorted(str(file.parent) for file in folder.glob(f"*/{CONFIG}"))
        remedy = f"There is one in {', '.join(inside[-3:])}." if inside else f"Give the folder that holds {CONFIG}."
        raise WeightsError(f"{folder / CONFIG} is missing", remedy)
    pickled = folder / "adapter_model.bin"
    if not (folder / WEIGHTS).exists() and pickled.exists():
        raise WeightsError(
            f"{pickled} may hold pickled code, which tsad never loads",
            f"Save the adapter as {WEIGHTS} (peft: save_pretrained with safe_serialization=True).",
        )
    contents = {name: _read(folder / name) for name in (CONFIG, WEIGHTS)}
    _check_sums(folder, contents)
    kind = _kind(folder, contents[CONFIG])
    if kind != LORA:
        raise WeightsError(f"{folder} holds a {kind} adapter; tsad takes in LORA", "Train it again as LoRA.")
    return json.loads(contents[CONFIG]), _tensors(folder / WEIGHTS, contents[WEIGHTS])


def method_of(folder: Path) -> str:
    """``LORA`` or ``FULL``."""
    return _kind(Path(folder), _read(Path(folder) / CONFIG))


def base_id(folder: Path) -> str:
    """Id of the base weights that the folder names; "" where it names none."""
    return json.loads(_read(Path(folder) / CONFIG)).get("base_model_name_or_path") or ""


def _kind(folder: Path, config: bytes) -> str:
    try:
        return str(json.loads(config)["peft_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / CONFIG} is corrupted: {error}", _REMEDY) from error


def _check_sums(folder: Path, contents: dict[str, bytes]) -> None:
    if not (folder / SUMS).exists():  # absent only where another program made the adapter
        return
    stated = {line.split()[-1]: line.split()[0] for line in _read(folder / SUMS).decode().splitlines() if line}
    for name, content in contents.items():
        if stated.get(name) != hashlib.sha256(content).hexdigest():
            raise WeightsError(f"{folder / name} is corrupted: its SHA-256 is not the one in {SUMS}", _REMEDY)


def _tensors(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        tensors = from_bytes(content)
    except SafetensorError as error:
        raise WeightsError(f"{path} is corrupted: {error}", _REMEDY) from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken or not tensors:
        what = f"{broken[0]} is not finite" if broken else "it holds no tensor"
        raise WeightsError(f"{path} is unusable: {what}", _REMEDY)
    return tensors


def weights_digest(folder: Path) -> str:
    """SHA-256 (hex) over config and weights of an adapter folder."""
    folder = Path(folder)
    return hashlib.sha256(_read(folder / CONFIG) + _read(folder / WEIGHTS)).hexdigest()


def settings_of(folder: Path) -> dict[str, Any]:
    """What an adapter on disk is, named as in the config: ``method``, and of LoRA ``r``, ``alpha``, ``dora``,
    ``target_modules`` and ``modules_to_save``.

    Names come sorted; a regular expression stays a text.
    """
    check(folder)
    raw = json.loads(_read(Path(folder) / CONFIG))
    if raw["peft_type"] == FULL:
        return {"method": "full"}
    targets = raw["target_modules"]
    return {
        "method": "lora", "r": raw["r"], "alpha": raw["lora_alpha"], "dora": bool(raw.get("use_dora")),
        "target_modules": targets if isinstance(targets, str) else sorted(targets),
        "modules_to_save": sorted(raw["modules_to_save"] or []),
    }  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} is missing or unreadable ({error.strerror})", _REMEDY) from error
