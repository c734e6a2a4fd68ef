"""Tiny networks of the real architectures for the tests of large detectors' training, plain and in 4 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tiny_qwen(seed: int = 1, vocabulary: int = 32, hidden: int = 32) -> nn.Module:
    """A Qwen3 of two layers with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config).eval()


def in_4_bits(folder: Any) -> nn.Module:
    """The network in ``folder`` in nf4 with double quantisation, on the CPU, as detectors load theirs."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=["lm_head"],
    )  # fmt: skip
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=how, device_map="cpu", dtype=torch.float32
    ).eval()


def token_logits(model: nn.Module) -> torch.Tensor:
    """Logits [1, 10, V] of a fixed row."""
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(2, 12)[None]).logits
