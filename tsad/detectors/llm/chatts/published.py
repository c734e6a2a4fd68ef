"""Shapes of the published ChatTS checkpoints, for plans that are made before anything is fetched.

Of Qwen3-8B and Qwen2.5-14B-Instruct (their config.json) and the encoder in NetManAIOps/ChatTS; where a checkpoint is at
hand, its own config counts.
"""

from __future__ import annotations

from typing import Any

LONGEST = 32768  # points of a series
_ENCODER = {
    "patch_size": 8, "num_layers": 5, "num_features": 2, "embedding_dim": 16, "max_sequence_length": LONGEST,
    "use_position_embedding": True, "use_position_idx": False,
}  # fmt: skip
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "ChatTS-8B": (
        "qwen3",
        {
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
            "ts": _ENCODER,
        },
    ),
    "ChatTS-14B": (
        "qwen2",
        {
            "vocab_size": 152064, "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48,
            "num_attention_heads": 40, "num_key_value_heads": 8, "tie_word_embeddings": False, "ts": _ENCODER,
        },
    ),
}  # fmt: skip
# What is known of a checkpoint in 4 bits (facts: users' reports in NetManAIOps/ChatTS).
DEGRADES = {"ChatTS-8B": "users report that ChatTS-8B degrades badly in 4 bits, up to garbage answers"}
