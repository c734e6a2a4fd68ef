"""The network of ``qwen_vl``: loss, generation, adapters, and checkpoints read strictly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from test_llm_qwen_vl_reader import block, reader

from tsad.core.errors import MissingPackageError, WeightsError
from tsad.detectors.llm.loading import tokenizer_of
from tsad.detectors.llm.qwen_vl.loading import FAMILIES, QwenVLCheckpoint
from tsad.detectors.llm.qwen_vl.model import PatchProjection, classes
from tsad.detectors.llm.qwen_vl.tiny import qwen3_5, qwen3_vl, write_preprocessor
from tsad.detectors.llm.tiny import tokenizer

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LENGTHS = (100, 64, 256)
Make = Callable[[Any], torch.nn.Module]


def small(tok: Any) -> torch.nn.Module:
    return qwen3_vl(tok, hidden=64, layers=2, vision=64, depth=2).eval()


def small_3_5(tok: Any) -> torch.nn.Module:
    return qwen3_5(tok).eval()


@pytest.fixture(scope="module")
def network() -> Any:
    return small(tokenizer())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, network: Any) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    write_preprocessor(folder)
    return folder


def batch(lengths: tuple[int, ...] = LENGTHS, answers: list[list[int]] | None = None) -> dict[str, torch.Tensor]:
    reading = reader()
    words = "which? " * 3
    blocks = [block(length) for length in lengths]
    prompted = [reading.read(b, words[: 5 * k] + reading.marks(b) + "anomalies") for k, b in enumerate(blocks)]
    return reading.collate(prompted, answers)


def load(folder: Path, nf4: bool = False) -> Any:
    return QwenVLCheckpoint.at(folder).load(device="cpu", dtype=torch.float32, nf4=nf4)


@pytest.mark.parametrize("make", [small, small_3_5])
def test_the_loss_is_that_of_transformers(make: Make) -> None:
    network = make(tokenizer())
    inputs = batch(answers=[[24, 25], [24], [25, 24, 2]])
    loss = network(**inputs).loss
    theirs = type(network).__mro__[1].forward(network, **inputs)
    assert loss.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    loss.backward()
    assert network.model.visual.patch_embed.proj.weight.grad.abs().sum() > 0  # the picture is looked at


@pytest.mark.parametrize("make", [small, small_3_5])
def test_a_padded_row_answers_as_it_does_alone(make: Make) -> None:
    network = make(tokenizer())
    how: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": -1}
    prompt = batch()
    together = network.generate(**prompt, **how)[:, prompt["input_ids"].shape[1] :]
    for k, length in enumerate(LENGTHS):
        reading = reader()
        one = block(length)
        alone = reading.collate([reading.read(one, ("which? " * 3)[: 5 * k] + reading.marks(one) + "anomalies")])
        answer = network.generate(**alone, **how)[:, alone["input_ids"].shape[1] :]
        assert together[k].tolist() == answer[0].tolist()


def test_what_is_drawn_changes_the_answer(network: Any) -> None:
    first, other = batch((64,)), batch((64,))
    other["pixel_values"] = other["pixel_values"].flip(0)
    with torch.inference_mode():
        assert not torch.allclose(network(**first).logits[:, -1], network(**other).logits[:, -1])


def test_the_patch_embedding_is_a_matrix_product() -> None:
    torch.manual_seed(0)
    old = torch.nn.Conv3d(3, 24, (2, 16, 16), (2, 16, 16))
    new = PatchProjection(3, 24, (2, 16, 16), (2, 16, 16))
    new.load_state_dict(old.state_dict())
    patches = torch.randn(50, 3, 2, 16, 16)
    assert torch.allclose(old(patches), new(patches), atol=1e-5)


def test_names_in_the_state_dict_are_those_of_transformers(network: Any) -> None:
    import transformers

    plain = transformers.Qwen3VLForConditionalGeneration(network.config)
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == shapes
    plain.load_state_dict(network.state_dict())
    with torch.inference_mode():
        assert torch.allclose(plain(**batch()).logits, network(**batch()).logits, atol=1e-4)


@pytest.mark.parametrize("make", [small, small_3_5])
def test_lora_by_the_seven_names_is_of_the_language_model_alone(make: Make) -> None:
    adapted = get_peft_model(make(tokenizer()), LoraConfig(r=4, target_modules=SEVEN))
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert names and not [name for name in names if "visual" in name or "language_model" not in name]
    before = {name: p.clone() for name, p in adapted.named_parameters() if p.requires_grad}
    adapted(**batch(answers=[[24], [25], [24]])).loss.backward()
    torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], 0.1).step()
    assert any(not torch.equal(before[name], p) for name, p in adapted.named_parameters() if name in before)


@pytest.mark.parametrize("make", [small, small_3_5])
def test_a_checkpoint_comes_back_to_the_bit(make: Make, tmp_path: Path) -> None:
    network = make(tokenizer())
    network.save_pretrained(tmp_path, max_shard_size="400KB")
    tokenizer().save_pretrained(tmp_path)
    write_preprocessor(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = load(tmp_path)
    assert isinstance(again.model.visual.patch_embed.proj, PatchProjection) and not again.training
    mine, theirs = network.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    with torch.inference_mode():
        assert torch.equal(network(**batch()).logits, again(**batch()).logits)
    assert tokenizer_of(tmp_path, "qwen_vl").get_vocab() == tokenizer().get_vocab()
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(WeightsError, match="model-00002"):
        load(tmp_path)


def test_tied_weights(tmp_path: Path) -> None:
    from transformers import Qwen3VLConfig

    given = small(tokenizer()).config.to_dict()
    given["tie_word_embeddings"] = given["text_config"]["tie_word_embeddings"] = True
    kind, network = classes("Qwen3VLConfig", "Qwen3VLForConditionalGeneration", "")
    assert kind is Qwen3VLConfig
    tied = network(kind(**given)).eval()
    tied.save_pretrained(tmp_path)
    write_preprocessor(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    again = load(tmp_path)
    assert again.lm_head.weight is again.get_input_embeddings().weight
    with torch.inference_mode():
        assert torch.equal(tied(**batch()).logits, again(**batch()).logits)


NORM = "model.language_model.norm.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(NORM), f"missing: {NORM}"),
        (lambda t: t.update({"model.visual.more": torch.zeros(3)}), "not known to the network: model.visual.more"),
        (lambda t: t.update({NORM: torch.zeros(7)}), f"of another shape: {NORM}"),
    ],
)
def test_weights_that_do_not_fit_are_named(saved: Path, tmp_path: Path, change: Any, words: str) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        load(tmp_path)
    assert words in str(caught.value) and str(tmp_path) in str(caught.value)


def test_heads_that_transformers_itself_leaves_out_may_be_there(tmp_path: Path) -> None:
    """Published Qwen3.5 has layers that guess several tokens at once (``mtp``); no network of transformers has them."""
    small_3_5(tokenizer()).save_pretrained(tmp_path)
    write_preprocessor(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"mtp.fc.weight": torch.zeros(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    assert torch.equal(load(tmp_path).lm_head.weight, tensors["lm_head.weight"])
    save_file(tensors | {"more.weight": torch.zeros(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"not known to the network: more\.weight"):
        load(tmp_path)


def test_a_damaged_file_is_named(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "qwen2_5_vl"}, "describes a qwen2_5_vl model, not qwen3_vl or qwen3_5"),
        ({"vision_config": None}, "has no vision_config"),
        ({"image_token_id": "x"}, "has no image_token_id"),
    ],
)
def test_another_model_is_refused(saved: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stated | change))
    with pytest.raises(WeightsError, match=words):
        QwenVLCheckpoint.at(tmp_path)


def test_a_transformers_without_the_family_is_named() -> None:
    with pytest.raises(WeightsError, match=r"a Qwen9Model, which transformers .* does not have.*transformers>=9\.0"):
        classes("Qwen9Config", "Qwen9Model", "9.0")


def test_four_bits_keep_the_eyes_and_the_output(saved: Path) -> None:
    pytest.importorskip("bitsandbytes")
    quantised = load(saved, nf4=True)
    kinds = {name: type(module).__name__ for name, module in quantised.named_modules() if hasattr(module, "weight")}
    assert {kinds[name] for name in kinds if name.split(".")[-1] in SEVEN} == {"Linear4bit"}
    assert not [name for name, kind in kinds.items() if kind == "Linear4bit" and "language_model" not in name]
    assert kinds["lm_head"] == "Linear" and isinstance(quantised.model.visual.patch_embed.proj, PatchProjection)
    with torch.inference_mode():
        assert torch.isfinite(quantised(**batch()).logits).all()
    assert quantised.generate(**batch(), max_new_tokens=3).shape[0] == len(LENGTHS)
    adapted = get_peft_model(quantised, LoraConfig(r=4, target_modules=SEVEN))
    adapted(**batch(answers=[[24], [25], [24]])).loss.backward()
    grads = [p.grad for p in adapted.parameters() if p.requires_grad]
    assert grads and all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_four_bits_without_bitsandbytes_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "bitsand" in name else true(name, *a))
    with pytest.raises(MissingPackageError, match="bitsandbytes"):
        load(saved, nf4=True)


def test_it_learns_which_columns_are_abnormal() -> None:
    """Plain windows, from random weights: the whole path from the renderer to the loss and back."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = qwen3_vl(tokenizer(), hidden=64, layers=2, vision=64, depth=2)
    reading, off = reader(stretch=4), 24
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)

    def some(count: int) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        values, flags = rng.standard_normal((count, 64)) * 0.2, np.zeros((count, 8), bool)
        for row in range(count):
            start = int(rng.integers(1, 6))
            values[row, 8 * start : 8 * start + 16] += 3
            flags[row, start : start + 2] = True
        blocks = [replace(block(64), values=v[:, None]) for v in values]
        answers = [[off + int(flag) for flag in row] for row in flags]
        return reading.collate([reading.read(b, reading.marks(b)) for b in blocks], answers), flags

    losses = []
    for _ in range(60):
        inputs, _ = some(16)
        loss = network(**inputs).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[5:10])


PUBLISHED = {  # written from memory, in the form of transformers 4.57: rope_scaling, rope_theta, vision's model_type
    "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": False,
    "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652, "vision_end_token_id": 151653,
    "transformers_version": "4.57.0.dev0",
    "text_config": {
        "model_type": "qwen3_vl_text", "attention_bias": False, "bos_token_id": 151643, "eos_token_id": 151645,
        "dtype": "bfloat16", "head_dim": 128, "hidden_size": 4096, "intermediate_size": 12288, "vocab_size": 151936,
        "max_position_embeddings": 262144, "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        "rope_theta": 5000000,
    },
    "vision_config": {
        "model_type": "qwen3_vl", "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16,
        "out_hidden_size": 4096, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24], "hidden_act": "gelu_pytorch_tanh",
    },
}  # fmt: skip


def test_a_published_config_gives_the_published_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    write_preprocessor(tmp_path)
    config = QwenVLCheckpoint.at(tmp_path).configuration()
    _, kind = classes(*FAMILIES["qwen3_vl"])
    with torch.device("meta"):
        network = kind(config)
    assert sum(p.numel() for p in network.parameters()) == 8_767_123_696
    assert config.text_config.rope_parameters["rope_theta"] == 5e6
    assert config.text_config.rope_parameters["mrope_section"] == [24, 20, 20]


def test_half_precision(saved: Path) -> None:
    network = QwenVLCheckpoint.at(saved).load(device="cpu", dtype=torch.bfloat16, nf4=False)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    with torch.inference_mode():
        assert network(**batch()).logits.dtype == torch.bfloat16
    assert torch.isfinite(network(**batch(answers=[[24], [25], [24]])).loss)


def test_gradients_reach_the_adapter_under_checkpointing(saved: Path) -> None:
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        adapted = get_peft_model(load(saved), LoraConfig(r=4, target_modules=SEVEN, init_lora_weights=False)).train()
        if checkpointing:
            adapted.gradient_checkpointing_enable({"use_reentrant": False})
        adapted(**batch(answers=[[24], [25], [24]])).loss.backward()
        grads.append({name: p.grad for name, p in adapted.named_parameters() if p.requires_grad})
    assert grads[0] and all(torch.allclose(grads[0][name], grads[1][name], atol=1e-6) for name in grads[0])
