"""A tiny Qwen3-VL of the real architecture: what ships as ``qwen_vl_tiny``, and what tests build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.detectors.llm.qwen_vl.loading import FAMILIES
from tsad.detectors.llm.qwen_vl.pixels import PREPROCESSOR
from tsad.detectors.llm.tiny import wake

if TYPE_CHECKING:
    import torch

HEAD = 32  # width of an attention head
PATCH, MERGE, FRAMES = 16, 2, 2  # as in the published checkpoints
TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5], "mrope_interleaved": True}


def qwen3_vl(
    tokenizer: Any, hidden: int = 64, layers: int = 3, vision: int = 96, depth: int = 3, seed: int = 0
) -> torch.nn.Module:
    """A Qwen3-VL with random weights from which it learns.

    Args:
        hidden: width of the language model, a multiple of 32.
        layers: of the language model.
        vision: width of the vision tower, a multiple of 32.
        depth: layers of the vision tower.
    """
    from tsad.detectors.llm.qwen_vl.model import classes

    kind, network = classes(*FAMILIES["qwen3_vl"])
    sight = _vision(hidden, vision, depth) | {"deepstack_visual_indexes": list(range(min(depth, 2)))}
    text = _text(tokenizer, hidden, layers) | {"rope_parameters": ROPE}
    return wake(network(kind(text_config=text, vision_config=sight, **_tokens(tokenizer))), layers, seed)


def qwen3_5(
    tokenizer: Any, hidden: int = 64, layers: int = 2, vision: int = 64, depth: int = 2, seed: int = 0
) -> torch.nn.Module:
    """A Qwen3.5 with its vision tower and random weights; the last layer attends to everything, the others linearly."""
    from tsad.detectors.llm.qwen_vl.model import classes

    kind, network = classes(*FAMILIES["qwen3_5"])
    text = _text(tokenizer, hidden, layers) | {
        "layer_types": ["linear_attention"] * (layers - 1) + ["full_attention"], "rope_parameters": ROPE,
        "linear_key_head_dim": HEAD, "linear_value_head_dim": HEAD, "linear_num_key_heads": hidden // HEAD,
        "linear_num_value_heads": hidden // HEAD,
    }  # fmt: skip
    sight = _vision(hidden, vision, depth)
    return wake(network(kind(text_config=text, vision_config=sight, **_tokens(tokenizer))), layers, seed)


def write_preprocessor(folder: Path) -> None:
    """Put a ``preprocessor_config.json`` beside tiny weights: shades of 0..1 to -1..1, any number of pixels."""
    stated = {
        "image_processor_type": "Qwen2VLImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": FRAMES,
        "size": {"shortest_edge": (PATCH * MERGE) ** 2, "longest_edge": 1 << 24},
    }  # fmt: skip
    (folder / PREPROCESSOR).write_text(json.dumps(stated, indent=2), encoding="utf-8")


def _text(tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": hidden, "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers, "num_attention_heads": hidden // HEAD,
        "num_key_value_heads": max(1, hidden // (2 * HEAD)), "head_dim": HEAD, "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None,
    }  # fmt: skip


def _vision(hidden: int, vision: int, depth: int) -> dict[str, Any]:
    return {
        "depth": depth, "hidden_size": vision, "intermediate_size": 3 * vision, "num_heads": vision // HEAD,
        "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": FRAMES, "out_hidden_size": hidden,
        "num_position_embeddings": 1024,
    }  # fmt: skip


def _tokens(tokenizer: Any) -> dict[str, int]:
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return dict(zip(names, tokenizer.convert_tokens_to_ids(list(TOKENS)), strict=True))
