"""Shapes of published checkpoints, for plans that are made before anything is fetched.

Of Qwen3-VL-8B-Instruct's config.json; where a checkpoint is at hand, its own config counts.
"""

from __future__ import annotations

from typing import Any

from tsad.detectors.llm.qwen_vl.pixels import Patching

PATCHING = Patching(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), patch=16, merge=2, frames=2)
PIXELS = (65_536, 16_777_216)  # fewest and most of a picture, in the published preprocessor_config.json
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen3-VL-8B": (
        "qwen3_vl",
        {
            "text_config": {
                "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
                "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
                "rope_parameters": {
                    "rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True,
                },
            },
            "vision_config": {
                "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
                "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
        },
    ),
}  # fmt: skip
