"""The memory plan: the trial's table from shapes alone, trained numbers as peft counts them, what each option saves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from llm_kit import NAMES, tiny_qwen
from test_adapters import make_options
from torch import nn

from tsad.adapters import lora
from tsad.adapters.memory import LOST, RowSize, memory_plan
from tsad.core.errors import TrainingError
from tsad.core.tuning import MemoryPlan

EIGHT: dict[str, Any] = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
FOURTEEN: dict[str, Any] = {
    "vocab_size": 152064, "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48,
    "num_attention_heads": 40, "num_key_value_heads": 8,
}  # fmt: skip
SIGHT: dict[str, Any] = {
    "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
    "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24],
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
QLORA = {"quantisation": "nf4", "gradient_checkpointing": True}
HOW: tuple[dict[str, Any], ...] = (
    {}, {"gradient_checkpointing": True}, QLORA, {**QLORA, "optimiser": "adamw_8bit"},
)  # fmt: skip
# Section 6 of the trial, GiB: LoRA in bf16, with checkpointing, in nf4 too, and with 8-bit Adam and logits on the answer.
TABLE = {
    ("8b", 1): (21.5, 18.9, 8.4, 7.8), ("8b", 8): (45.6, 24.5, 14.0, 9.8),
    ("14b", 1): (36.9, 32.7, 12.8, 12.0), ("14b", 8): (72.3, 39.0, 19.0, 14.7),
    ("vl", 1): (22.3, 19.8, 9.4, 8.8), ("vl", 8): (44.5, 25.0, 14.5, 10.7),
}  # fmt: skip
PARAMETERS = {"8b": 8_258_946_064, "14b": 14_876_137_488, "vl": 8_767_123_696}
TRAINED = {"8b": 21_823_488, "14b": 34_406_400, "vl": 21_823_488}
TOKENS = {"8b": 388, "14b": 388, "vl": 358}


def encoder(hidden: int) -> nn.Module:
    """What ChatTS has before its language model, by its shapes alone."""
    layers = [nn.Linear(136, hidden), *(nn.Linear(hidden, hidden) for _ in range(4))]
    return nn.ModuleDict({"position_embedding": nn.Embedding(32769, 16), "mlp": nn.Sequential(*layers)})


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    from transformers import (
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    with torch.device("meta"):
        eight, fourteen = Qwen3ForCausalLM(Qwen3Config(**EIGHT)), Qwen2ForCausalLM(Qwen2Config(**FOURTEEN))
        eight.ts_encoder, fourteen.ts_encoder = encoder(4096), encoder(5120)
        config = Qwen3VLConfig(text_config={**EIGHT, "rope_parameters": ROPE}, vision_config=SIGHT)
        return {"8b": eight, "14b": fourteen, "vl": Qwen3VLForConditionalGeneration(config)}


def planned(network: nn.Module, tokens: int = 388, **changes: Any) -> MemoryPlan:
    settled = {"r": 8, "target_modules": NAMES, "modules_to_save": [], "batch_size": 8, **changes}
    all_logits = settled.get("optimiser") != "adamw_8bit"  # the table's last line alone has them on the answer
    return memory_plan(network, RowSize(tokens, 60, all_logits), make_options(**settled), "chatts_8b")


@pytest.mark.parametrize(("size", "batch"), TABLE)
def test_it_reproduces_the_table(networks: dict[str, nn.Module], size: str, batch: int) -> None:
    for how, expected in zip(HOW, TABLE[size, batch], strict=True):
        plan = planned(networks[size], TOKENS[size], batch_size=batch, **how)
        assert plan.total == pytest.approx(expected, rel=0.02), how
        assert (plan.parameters, plan.trainable) == (PARAMETERS[size], TRAINED[size])
        assert plan.total == pytest.approx(LOST * sum(plan.parts.values()))
        assert (plan.tokens, plan.rows, plan.steps) == (TOKENS[size], batch, 20)
        assert MemoryPlan.from_json(plan.to_json()) == plan


def test_trained_numbers_are_those_that_peft_counts() -> None:
    for changes in (
        {}, {"dora": True}, {"target_modules": ["q_proj"]}, {"target_modules": "all-linear"}, {"method": "full"},
        {"target_modules": r".*\.(q|up)_proj", "r": 3}, {"modules_to_save": ["embed_tokens"]},
    ):  # fmt: skip
        settled = {"target_modules": NAMES, "modules_to_save": [], **changes}
        model = lora.attach(tiny_qwen(), make_options(**settled))
        counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert memory_plan(tiny_qwen(), RowSize(40, 8), make_options(**settled), "tiny").trainable == counted, changes


def test_each_option_says_what_it_saves(networks: dict[str, nn.Module]) -> None:
    plain = planned(networks["8b"])
    named = {saving.option: saving for saving in plain.savings}
    assert list(named) == [
        "adapter.quantisation=nf4", "adapter.gradient_checkpointing=true", "adapter.optimiser=adamw_8bit",
        "adapter.micro_batch=1",
    ]  # fmt: skip
    assert not any(saving.used for saving in plain.savings)
    for saving in plain.savings:
        assert saving.total + saving.saved == pytest.approx(plain.total) and saving.saved > 0
    used = planned(networks["8b"], **QLORA, micro_batch=2)
    assert [saving.used for saving in used.savings] == [True, True, False, True] and used.rows == 2
    assert used.savings[0].total == pytest.approx(used.total) and used.savings[0].saved > 8
    whole = planned(networks["8b"], method="full")
    assert whole.trainable == PARAMETERS["8b"] and whole.total > 60
    assert "adapter.quantisation=nf4" not in {saving.option for saving in whole.savings}
    assert planned(networks["8b"], precision="float32").total > 1.5 * plain.total


def test_a_base_known_to_degrade_in_4_bits_is_warned_of_with_figures(networks: dict[str, nn.Module]) -> None:
    def warned(**changes: Any) -> tuple[str, ...]:
        options = make_options(target_modules=NAMES, modules_to_save=[], r=8, batch_size=8, **changes)
        return memory_plan(
            networks["8b"], RowSize(388, 60), options, "chatts_8b", degrades="users report garbage answers"
        ).warnings

    assert warned() == ()
    (text,) = warned(**QLORA)
    packed, plain = (planned(networks["8b"], **how, optimiser="adamw_8bit") for how in (QLORA, HOW[1]))
    assert text.startswith("adapter.quantisation=nf4 with chatts_8b: users report garbage answers. It saves 10.")
    assert packed.total < plain.total and "GiB" in text and "your own gold set" in text


def test_targets_that_are_not_there_are_named(networks: dict[str, nn.Module]) -> None:
    with pytest.raises(TrainingError, match="target_modules names query, which Qwen3ForCausalLM does not have"):
        planned(networks["8b"], target_modules=["query"])
