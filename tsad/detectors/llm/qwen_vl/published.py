"""Shapes of the published Qwen3-VL, for plans that are made before anything is fetched (its config.json)."""

from __future__ import annotations

from typing import Any

from tsad.detectors.llm.qwen_vl.pixels import Patching

# Of its preprocessor_config.json.
PATCHING = Patching(
    mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), patch=16, merge=2, frames=2, fewest=65_536, most=16_777_216
)  # fmt: skip
PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Qwen3-VL-8B": (
        "qwen3_vl",
        {
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
            "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True,
            },
        },
        {
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
            "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24],
        },
    ),
}  # fmt: skip
