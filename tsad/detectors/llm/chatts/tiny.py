"""A tiny ChatTS of the real architecture: what ships as ``chatts_tiny``, and what tests build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tsad.detectors.llm.tiny import wake

if TYPE_CHECKING:
    import torch

PATCH = 8  # points, as in the published checkpoints


def chatts(
    tokenizer: Any, hidden: int = 96, layers: int = 3, backbone: str = "qwen3", longest: int = 1024, seed: int = 0
) -> torch.nn.Module:
    """A ChatTS with random weights from which it learns.

    Args:
        hidden: width, a multiple of 32.
        layers: of the language model.
        backbone: qwen2 | qwen3 | llama.
        longest: points of a series at most.
    """
    from tsad.detectors.llm.chatts.model import BACKBONES

    kind, network = BACKBONES[backbone]
    start, end = tokenizer.convert_tokens_to_ids(["<ts>", "<ts/>"])
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": hidden, "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers, "num_attention_heads": hidden // 32, "num_key_value_heads": max(1, hidden // 64),
        "max_position_embeddings": 4096, "tie_word_embeddings": False, "head_dim": 32,
    }  # fmt: skip
    config = kind(
        **sizes, ts_token_start_index=start, ts_token_end_index=end, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        ts={
            "patch_size": PATCH, "num_layers": 5, "num_features": 2, "embedding_dim": 16, "hidden_size": hidden,
            "max_sequence_length": longest, "use_position_embedding": True, "use_position_idx": False,
        },
    )  # fmt: skip
    config.architectures = [network.__name__]
    return wake(network(config), layers, seed)
