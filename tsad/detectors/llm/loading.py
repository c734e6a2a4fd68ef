"""Checkpoints from local folders, strictly: every weight lands, every parameter is filled; never the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters.lora import plain_on_cpus
from tsad.core.errors import MissingPackageError, WeightsError
from tsad.detectors.llm.checks import check_torchvision
from tsad.files.locate import install_extra

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
REMEDY = "Fetch the whole checkpoint (config.json, tokenizer files, *.safetensors) and set detector.weights to it."


def config_of(folder: Path, name: str, *, bare: bool = False) -> dict[str, Any]:
    """What a checkpoint's ``config.json`` says; weights must lie beside it.

    Args:
        name: of the detector, for messages.
        bare: weights may be missing, because a server has them.

    Raises:
        WeightsError: a folder, a config or weights that are missing; weights that may hold pickled code.
    """
    if not folder.is_dir():
        raise WeightsError(f"{name}: there is no folder {folder} with a checkpoint", REMEDY)
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{name}: {path} is missing", REMEDY) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{name}: {path} is corrupted: {error}", REMEDY) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{name}: {path} is corrupted: it holds no JSON object", REMEDY)
    if not bare and not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern))
        if pickled:
            raise WeightsError(
                f"{name}: {folder} has its weights in {pickled[0]}, which may hold pickled code: it is not read",
                "Take the checkpoint's safetensors files.",
            )
        raise WeightsError(f"{name}: {folder} holds no *.safetensors", REMEDY)
    return content


@dataclass(frozen=True)
class Form:
    """What weights become as they are loaded.

    Attributes:
        nf4: 4-bit weights (NormalFloat4, double quantisation: Dettmers et al. 2023, arXiv 2305.14314).
        kept: modules that stay as they are under ``nf4``, by name.
    """

    device: str
    dtype: torch.dtype
    nf4: bool = False
    kept: tuple[str, ...] = ()


def load_strictly(kind: Any, folder: Path, config: Any, form: Form) -> torch.nn.Module:
    """A network of class ``kind`` with the weights of a folder.

    Raises:
        WeightsError: weights that are missing, not known to the network or of another shape, by name; damaged files.
        DetectorError: a torchvision that keeps transformers from being imported.
        MissingPackageError: ``nf4`` without bitsandbytes.
    """
    check_torchvision()
    from safetensors import SafetensorError

    how: dict[str, Any] = {"device_map": form.device} if form.nf4 or form.device != "cpu" else {}
    if form.nf4:
        how["quantization_config"] = _nf4(form.dtype, form.kept)
    try:
        with _quiet():
            network, told = kind.from_pretrained(
                str(folder), config=config, dtype=form.dtype, local_files_only=True, use_safetensors=True,
                output_loading_info=True, ignore_mismatched_sizes=True, **how,
            )  # fmt: skip
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise WeightsError(f"{folder} cannot be loaded: {_line(error)}", REMEDY) from error
    _check(told, folder)
    if form.nf4:
        plain_on_cpus(network)
    return network.eval()  # type: ignore[no-any-return]


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no report of transformers' own: what does not fit becomes an error (:func:`_check`)."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _nf4(dtype: torch.dtype, kept: tuple[str, ...]) -> Any:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingPackageError(
            "4-bit weights (adapter=qlora, detector.quantisation=nf4) need bitsandbytes, which is not installed",
            f"Run: {install_extra('qlora')}; or take adapter=lora.",
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(kept),
    )  # fmt: skip


def _check(told: dict[str, Any], folder: Path) -> None:
    """Nothing may be missing, left over or of another shape."""
    parts = (("missing", "missing_keys"), ("not known to the network", "unexpected_keys"),
             ("of another shape", "mismatched_keys"))  # fmt: skip
    wrong = []
    for words, key in parts:
        names = sorted(str(name[0]) if isinstance(name, tuple) else str(name) for name in told.get(key) or ())
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            wrong.append(f"{words}: {', '.join(names[:5])}{more}")
    if wrong:
        raise WeightsError(f"The weights in {folder} do not fit the network ({'; '.join(wrong)})", REMEDY)


def tokenizer_of(folder: Path, name: str) -> Any:
    """The checkpoint's tokenizer, padding on the left.

    Raises:
        WeightsError: its files are missing or damaged, or it has no end-of-turn or padding token.
    """
    check_torchvision()
    from transformers import AutoTokenizer

    try:
        with _quiet():  # it would warn of a model type that is ours
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, padding_side="left")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{name}: the tokenizer in {folder} cannot be read: {_line(error)}", REMEDY) from error
    if tokenizer.eos_token_id is None:
        raise WeightsError(f"{name}: the tokenizer in {folder} names no end-of-turn token", REMEDY)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
