"""The memory plan: the trial's table from shapes alone, trained numbers as peft counts them, what each option saves."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llm_kit import NAMES, tiny_qwen
from test_adapters import make_options
from torch import nn
from verbs_kit import call

from tsad.adapters import lora
from tsad.adapters.memory import LOST, RowSize, memory_plan
from tsad.config.workbench import Workbench
from tsad.core.errors import TrainingError
from tsad.core.tuning import MemoryPlan
from tsad.loop import rehearse
from tsad.loop.iteration import iterate
from tsad.loop.rehearse import Rehearsal
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store

Bench = Callable[..., Workbench]

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
# Section 6 of the trial, GiB: LoRA in bf16; with checkpointing; in nf4 too; with 8-bit Adam, logits on the answer.
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


# ---- tsad train dry_run=true

MODULE = '''
from typing import Any

import torch
from pydantic import Field

from llm_kit import NAMES, tiny_qwen
from tsad.adapters.memory import RowSize, memory_plan
from tsad.core.errors import DetectorError
from tsad.core.option_model import Options
from tsad.detectors.base import Detector


class BigOptions(Options):
    weights: str


class Big(Detector):
    """Large; its weights are never here."""

    name = "big"
    trainable = True
    tuner = "tsad.training.large.LargeTuner"
    adapter_defaults = {"target_modules": tuple(NAMES), "modules_to_save": (), "learning_rate": 1e-4}
    options_model = BigOptions

    def __init__(self, options: BigOptions | None = None, **given: Any) -> None:
        raise DetectorError("the weights are missing")

    @classmethod
    def plan(cls, given, options):
        assert given == {"weights": "???"} and options.learning_rate == 1e-4
        with torch.device("meta"):
            network = tiny_qwen()
        return memory_plan(network, RowSize(40, 8), options, "big", degrades="users report garbage")
'''
PLANT = ["source=synthetic", "review=simulated", "loop.name=plant", "source.series=6", "source.points=1200"]


@pytest.fixture
def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "detector").mkdir(parents=True)
    (tmp_path / "my_big.py").write_text(MODULE)
    (tmp_path / "conf" / "detector" / "big.yaml").write_text("# mine\n_target_: my_big.Big\nweights: ???\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("big")
def test_a_dry_run_prints_the_plan_and_leaves_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "gpu_at_hand", lambda: None)
    one = bench(*PLANT, "detector=big", "adapter=qlora")
    planned = call("train", one, dry_run=True)
    assert not one.home.exists()
    assert planned.plan.base == "big" and planned.plan.rows == 2 and planned.fits is None
    assert Rehearsal.from_json(planned.to_json()) == planned
    text = capsys.readouterr().out
    for words in (
        "big: ", "of them trained; 60 steps, 2 rows of about 40 tokens at a time", "weights", "activations", "logits",
        "sum, and a tenth that is lost", "adapter.quantisation=nf4", "adapter.optimiser=adamw_8bit",
        "no GPU here: these figures are computed", "warning: adapter.quantisation=nf4 with big: users report garbage",
        "loop plant has no dataset version yet: steps alone are known", "nothing was loaded, started or recorded",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.usefixtures("big")
def test_a_dry_run_says_what_fits_the_gpu_at_hand(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for room, fits, words in ((100.0, True, "0.8 GiB fits Toy (100.0 GiB)"), (0.1, False, "does not fit Toy (0.1 ")):
        monkeypatch.setattr(rehearse, "gpu_at_hand", lambda room=room: ("Toy", room))
        assert call("train", bench(*PLANT, "detector=big"), dry_run=True).fits is fits
        assert words in capsys.readouterr().out
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = call("train", bench(*PLANT, "detector=big", "adapter=qlora"), dry_run=True).plan.warnings
    assert any("needs bitsandbytes, which is not installed" in text for text in missing)


def test_a_dry_run_of_a_small_detector_says_so_in_words(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", bench(*PLANT), dry_run=True).plan is None
    assert "patch trains in about 0.5 GB of memory; no GPU is needed" in capsys.readouterr().out
    assert "has no network to adapt" in call("train", bench(*PLANT, "detector=poly"), dry_run=True).needs
    assert "adapter.enabled=false" in call("train", bench(*PLANT, "adapter=none"), dry_run=True).needs
    with pytest.raises(TrainingError, match=r"adapter\.quantisation is nf4, which only large detectors"):
        call("train", bench(*PLANT, "adapter=qlora"), dry_run=True)


def test_a_dry_run_counts_the_dataset_version_of_the_loop(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["windows.length=128", "windows.context=128", "sampling.windows=8", "gold.min_intervals=1"]
    loop = [*PLANT, *small, "tracking.plots=0", "tracking.system_metrics=false", "loop.iterations=1"]
    one = bench(*loop, "detector=robust_zscore", "adapter=none")
    iterate(one)
    runs = len(LoopStore(open_store(one.tracking, one.home), "plant", 300.0).search(""))
    counted = call("train", bench(*loop), dry_run=True).counted
    assert counted.windows == 8 and counted.version and counted.epochs == 60 * 16 / 8
    assert f"dataset version {counted.version[:12]}: 8 reviewed windows" in capsys.readouterr().out
    assert call("train", bench(*loop), dry_run=True, dataset=counted.version).counted == counted
    assert "no dataset version ffff" in call("train", bench(*loop), dry_run=True, dataset="ffff").counted.reason
    assert len(LoopStore(open_store(one.tracking, one.home), "plant", 300.0).search("")) == runs
