"""A ChatTS checkpoint made of a plain language model: its weights behind a series encoder that knows nothing yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import MissingPackageError, WeightsError
from tsad.detectors.llm.chatts.tiny import PATCH
from tsad.files.atomic import new_folder
from tsad.files.locate import install_extra

if TYPE_CHECKING:
    import torch

TOKENS = ("<ts>", "<ts/>")
LONGEST = 1024  # points of a series at most
LAYERS, EMBEDDING = 5, 16  # of the encoder, as in the published checkpoints


def graft(language_model: Path, folder: Path, *, seed: int = 0) -> None:
    """Write the checkpoint, whole or not at all: config, tokenizer with ``<ts>`` and ``<ts/>``, weights in safetensors.

    The encoder starts by fan-in, with an output as large as the embeddings of words, so that the language model is not
    drowned before anything is learned.

    Args:
        language_model: a GGUF file of a Llama or Qwen model, or a folder as transformers writes it.
        folder: of the checkpoint; made, and what was in it before is gone.
        seed: of the encoder's weights.

    Raises:
        WeightsError: no language model, or one of another family.
        StorageError: disk full, read-only folder.
        MissingPackageError: a GGUF file without the package ``gguf``.
    """
    import torch

    from tsad.detectors.llm.chatts.model import BACKBONES

    tokenizer, plain = _loaded(language_model)
    backbone = str(plain.config.model_type)
    if backbone not in BACKBONES:
        raise WeightsError(
            f"{language_model} is a {backbone} model; ChatTS stands on {', '.join(BACKBONES)}",
            "Take a language model of one of these families.",
        )
    tokenizer.add_special_tokens({"extra_special_tokens": list(TOKENS)})
    tokenizer.padding_side = "left"
    plain.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    kind, network_kind = BACKBONES[backbone]
    config = kind(**_fields(plain, tokenizer))
    config.architectures = [network_kind.__name__]
    network: Any = network_kind(config)
    left = network.load_state_dict(plain.state_dict(), strict=False)
    strange = [name for name in (*left.missing_keys, *left.unexpected_keys) if not name.startswith("ts_encoder.")]
    if strange:
        raise WeightsError(f"{language_model} does not fit its own config: {', '.join(strange[:3])}", "Load it anew.")
    torch.manual_seed(seed)
    _wake_encoder(network, plain.get_input_embeddings().weight, seed)
    with new_folder(folder) as fresh:  # half a checkpoint would be taken for a damaged one, or for one that is there
        tokenizer.save_pretrained(fresh)
        network.to(torch.bfloat16).save_pretrained(fresh)


def _fields(plain: Any, tokenizer: Any) -> dict[str, Any]:
    """Of the checkpoint's config: the language model's own, and where and how it takes series."""
    start, end = tokenizer.convert_tokens_to_ids(list(TOKENS))
    given = {key: value for key, value in plain.config.to_dict().items() if key not in ("model_type", "architectures")}
    return given | {
        "ts_token_start_index": start, "ts_token_end_index": end, "pad_token_id": tokenizer.pad_token_id,
        "ts": {
            "patch_size": PATCH, "num_layers": LAYERS, "num_features": 2, "embedding_dim": EMBEDDING,
            "hidden_size": plain.config.hidden_size, "max_sequence_length": LONGEST, "use_position_embedding": True,
            "use_position_idx": False,
        },
    }  # fmt: skip


def _loaded(path: Path) -> tuple[Any, Any]:
    """Tokenizer and language model, float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": path}
    if path.suffix == ".gguf":
        try:
            import gguf  # noqa: F401 - transformers only says later, and less, what is missing
        except ImportError as error:
            raise MissingPackageError(
                f"{path} is a GGUF file, and gguf is not installed", f"Run: {install_extra('llm')}."
            ) from error
        where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**where, dtype="float32", local_files_only=True)
        return AutoTokenizer.from_pretrained(**where, local_files_only=True), model
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} cannot be read as a language model: {error}", "Name another file.") from error


def _wake_encoder(network: Any, words: torch.Tensor, seed: int) -> None:
    """Start a network's encoder as a tiny one starts, its last layer scaled to the size of words."""
    import torch

    from tsad.detectors.llm.tiny import wake

    holder = torch.nn.Module()
    holder.ts_encoder = network.ts_encoder
    wake(holder, LAYERS, seed)
    last = [layer for layer in network.ts_encoder.mlp if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= float(words.std())
