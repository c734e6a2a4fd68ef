"""Tiny networks of the real architectures for the tests of large detectors' training, plain and in 4 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tsad.adapters.lora import plain_on_cpus
from tsad.core.intervals import runs_of
from tsad.core.reviews import ReviewedWindow
from tsad.core.series import Window
from tsad.metrics.interval import interval_counts

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
    network: nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=how, device_map="cpu", dtype=torch.float32
    ).eval()
    plain_on_cpus(network)
    return network


def token_logits(model: nn.Module) -> torch.Tensor:
    """Logits [1, 10, V] of a fixed row."""
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(2, 12)[None]).logits


# ---- a detector that answers in tokens: eight patches of a window in, a flag for each of them out

PATCH, PATCHES, OFF, ON, ASK, END = 8, 8, 13, 14, 12, 1


@dataclass(frozen=True)
class FlagRow:
    """A prompt and its answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    window_id: str

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.answer)

    @property
    def positive(self) -> bool:
        return ON in self.answer


class FlagDetector:
    """An ``Answering`` detector over the tiny Qwen3: a token per patch says how high it reaches.

    Args:
        folder: a base to be loaded in 4 bits; ``None`` = the tiny network as it is made.
    """

    name = "flags"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.collated: list[list[FlagRow]] = []
        self.kept: list[float] = []  # validation F1 of every evaluation

    def network(self) -> nn.Module:
        return tiny_qwen() if self.folder is None else in_4_bits(self.folder)

    def encode(self, windows: Any, masks: Any, rng: Any) -> list[FlagRow]:
        raise AssertionError("rows are made by rows()")

    def rows(self, reviewed: Sequence[ReviewedWindow]) -> list[FlagRow]:
        return [row_of(r.window, [(i.start, i.end) for i in r.intervals]) for r in reviewed]

    def collate(self, rows: Sequence[FlagRow]) -> dict[str, torch.Tensor]:
        self.collated.append(list(rows))
        longest = max(row.tokens for row in rows)
        ids, labels = torch.zeros(len(rows), longest, dtype=torch.long), torch.full((len(rows), longest), -100)
        for k, row in enumerate(rows):
            ids[k, : row.tokens] = torch.tensor(row.prompt + row.answer)
            labels[k, len(row.prompt) : row.tokens] = torch.tensor(row.answer)
        return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}

    def validate(self, network: nn.Module, windows: Sequence[Window], masks: Any) -> dict[str, float]:
        assert not network.training
        prompts = torch.tensor([row_of(window, []).prompt for window in windows])
        with torch.random.fork_rng():
            made = network.generate(
                input_ids=prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=PATCHES, do_sample=False
            )
        answers = made[:, prompts.shape[1] :].numpy()
        counts = np.zeros(3)
        for answer, mask in zip(answers, masks, strict=True):
            truth = mask[: PATCH * PATCHES].reshape(PATCHES, PATCH).any(axis=1)
            counts += interval_counts(runs_of(truth), runs_of(answer == ON), 0.0)
        f1 = 2 * counts[0] / max(1.0, 2 * counts[0] + counts[1] + counts[2])
        self.kept.append(float(f1))
        return {"validation_interval_f1": f1, "validation_loss": 1 - f1}


def row_of(window: Window, spans: Sequence[tuple[int, int]]) -> FlagRow:
    """A window as a row; ``spans`` in timestamps."""
    values = np.nan_to_num(window.values[: PATCH * PATCHES, 0]).reshape(PATCHES, PATCH)
    heights = np.clip(np.abs(values).max(axis=1) * 3, 0, 9).astype(int)
    inside = np.zeros(PATCHES, bool)
    for start, end in spans:
        covered = (window.timestamps >= start) & (window.timestamps < end)
        inside |= covered[: PATCH * PATCHES].reshape(PATCHES, PATCH).any(axis=1)
    prompt = (*(int(h) + 2 for h in heights), ASK)
    return FlagRow(prompt, (*(ON if flag else OFF for flag in inside), END), window.window_id)
