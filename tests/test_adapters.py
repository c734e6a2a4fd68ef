"""LoRA adapters on disk and on networks: a tiny one of our own and a tiny Qwen3."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llm_kit import NAMES, in_4_bits, tiny_qwen, token_logits
from test_datasets import largest_file
from torch import nn

from tsad.adapters import lora, saved
from tsad.core.errors import StorageError, TrainingError, WeightsError
from tsad.core.options import AdapterOptions
from tsad.core.options.adapter import LATER

QWEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_options(**changes: Any) -> AdapterOptions:
    values: dict[str, Any] = {
        "enabled": True, "start_from": "base", "r": 2, "alpha": 4, "dropout": 0.1,
        "target_modules": ["q_proj", "down_proj"], "modules_to_save": ["anomaly_head"],
        "learning_rate": 0.02, "weight_decay": 0.01, "steps": 20, "batch_size": 8, "warmup": 0.1, "grad_clip": 1.0,
        "validation_share": 0.25, "patience": 3, "eval_every": 5, "checkpoint_every": 4, "replay_share": 0.5,
        "min_windows": 4, "min_positive": 2, "seed": 0, **LATER,
    }  # fmt: skip
    return AdapterOptions(**{**values, **changes})


class TinyNetwork(nn.Module):
    """values [B, L] -> logits [B, L] and, with labels, a loss over the points whose weight is not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.q_proj = nn.Linear(8, 16)
        self.down_proj = nn.Linear(16, 8)
        self.anomaly_head = nn.Linear(8, 1)

    def forward(self, values: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> SimpleNamespace:
        hidden = self.norm(self.stem(values[:, None])).transpose(1, 2)  # [B, L, 8]
        logits = self.anomaly_head(self.down_proj(torch.relu(self.q_proj(hidden)))).squeeze(-1)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return SimpleNamespace(loss=(losses * weight).sum() / weight.sum().clamp(min=1), logits=logits)


def tiny_network(seed: int = 0) -> TinyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNetwork().eval()


def logits_of(model: nn.Module) -> torch.Tensor:
    values = torch.linspace(-1, 1, 40).reshape(2, 20).sin()
    with torch.no_grad():
        return model.eval()(values, torch.zeros(2, 20), torch.ones(2, 20)).logits


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter whose matrices have moved away from their start."""
    torch.manual_seed(0)
    model = lora.attach(tiny_network(), make_options(), "tsad/tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    lora.save(model, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"the network was asked: {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_attach_changes_nothing_before_training() -> None:
    base = logits_of(tiny_network())
    model = lora.attach(tiny_network(), make_options())
    assert torch.equal(logits_of(model), base)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in n or ".modules_to_save." in n for n in trained)


@pytest.mark.usefixtures("no_network")
def test_saved_and_loaded_gives_equal_scores(adapter: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    model = lora.load(tiny_network(), adapter)
    scores = logits_of(model)
    assert not torch.allclose(scores, logits_of(tiny_network()))
    assert not any(p.requires_grad for p in model.parameters())
    plain = PeftModel.from_pretrained(tiny_network(), str(adapter))  # what other rooms and other programs do
    assert torch.equal(logits_of(plain), scores)
    lora.save(lora.load(tiny_network(), adapter, trainable=True), tmp_path / "again")
    assert saved.weights_digest(tmp_path / "again") == saved.weights_digest(adapter)


def test_an_adapter_is_three_files_without_pickle_or_paths(adapter: Path) -> None:
    assert sorted(p.name for p in adapter.iterdir()) == [
        "adapter.sha256", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert [p.name for p in adapter.parent.iterdir()] == ["adapter"]
    text = (adapter / "adapter_config.json").read_text()
    settings = json.loads(text)
    assert settings["base_model_name_or_path"] == "tsad/tiny" and settings["auto_mapping"] is None
    assert str(adapter.parent) not in text and str(Path.cwd()) not in text
    subprocess.run(["sha256sum", "-c", "adapter.sha256"], cwd=adapter, check=True, capture_output=True)


def test_zeroing_an_adapter_restores_the_base(adapter: Path, tmp_path: Path) -> None:
    lora.zero(tiny_network(), adapter, tmp_path / "zero")
    assert torch.equal(logits_of(lora.load(tiny_network(), tmp_path / "zero")), logits_of(tiny_network()))


def test_unknown_targets_are_refused_with_what_there_is() -> None:
    with pytest.raises(TrainingError, match=r"names k_proj, .*It has: anomaly_head, down_proj, q_proj, stem"):
        lora.attach(tiny_network(), make_options(target_modules=["q_proj", "k_proj"]))
    with pytest.raises(TrainingError, match="names norm"):  # there, but nothing LoRA can go on
        lora.attach(tiny_network(), make_options(target_modules=["norm"]))
    with pytest.raises(TrainingError, match="modules_to_save names fuse"):
        lora.attach(tiny_network(), make_options(modules_to_save=["fuse"]))
    with pytest.raises(TrainingError, match="empty"):
        lora.attach(tiny_network(), make_options(enabled=False, target_modules=[]))


@pytest.mark.usefixtures("no_network")
def test_qwens_names_serve_a_real_qwen(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    def network() -> nn.Module:
        torch.manual_seed(1)
        config = Qwen3Config(
            vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        )  # fmt: skip
        return Qwen3ForCausalLM(config).eval()

    def scores(model: nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=torch.arange(10)[None]).logits

    model = lora.attach(network(), make_options(target_modules=QWEN, modules_to_save=[]), "Qwen/Qwen3")
    on = {n.split(".lora_")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert len(on) == 2 * len(QWEN)
    model.train()(input_ids=torch.arange(10)[None], labels=torch.arange(10)[None]).loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= p.grad
    lora.save(model, tmp_path / "adapter")
    assert torch.equal(scores(lora.load(network(), tmp_path / "adapter")), scores(model.eval()))
    assert not torch.equal(scores(model), scores(network()))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_corrupted_or_missing_file_is_named(adapter: Path, name: str) -> None:
    content = bytearray((adapter / name).read_bytes())
    content[-3] ^= 1  # one bit in the last tensor: safetensors alone would not notice
    (adapter / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} is corrupted"):
        lora.load(tiny_network(), adapter)
    (adapter / name).unlink()
    with pytest.raises(WeightsError, match=f"{name} is missing"):
        lora.load(tiny_network(), adapter)


def test_damage_is_found_without_checksums_too(adapter: Path) -> None:
    (adapter / "adapter.sha256").unlink()
    saved.check(adapter)
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors is corrupted"):
        saved.check(adapter)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"adapter_config\.json is corrupted"):
        saved.check(adapter)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = lora.attach(tiny_network(), make_options())
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))
    lora.save(model, tmp_path / "adapter")
    with pytest.raises(WeightsError, match="not finite"):
        saved.check(tmp_path / "adapter")


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "x.PKL"])
def test_pickle_is_refused(adapter: Path, name: str) -> None:
    (adapter / name).write_bytes(b"\x80\x04")
    with pytest.raises(WeightsError, match=rf"{name} may hold pickled code.*Remove it"):
        lora.load(tiny_network(), adapter)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere is missing"):
        lora.load(tiny_network(), tmp_path / "nowhere")


def test_an_adapter_of_another_network_is_refused(adapter: Path) -> None:
    class Wider(TinyNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.down_proj = nn.Linear(16, 9)
            self.anomaly_head = nn.Linear(9, 1)

    class Renamed(TinyNetwork):
        def __init__(self) -> None:
            super().__init__()
            del self.anomaly_head
            self.head = nn.Linear(8, 1)

    for network in (Wider(), Renamed(), nn.Sequential(nn.Linear(8, 8))):
        with pytest.raises(WeightsError, match="does not fit this network"):
            lora.load(network, adapter)


def test_a_full_disk_is_named_and_leaves_the_old_adapter(adapter: Path) -> None:
    before = saved.weights_digest(adapter)
    model = lora.attach(tiny_network(), make_options(r=8))
    with largest_file(1500), pytest.raises(StorageError, match="Free space"):
        lora.save(model, adapter)
    assert saved.weights_digest(adapter) == before
    saved.check(adapter)
    assert [p.name for p in adapter.parent.iterdir()] == ["adapter"]


def test_settings_of_an_adapter(adapter: Path) -> None:
    assert saved.settings_of(adapter) == {
        "method": "lora", "r": 2, "alpha": 4, "dora": False, "target_modules": ["down_proj", "q_proj"],
        "modules_to_save": ["anomaly_head"],
    }  # fmt: skip


def test_targets_are_names_an_expression_or_all_linear(tmp_path: Path) -> None:
    def on(targets: Any, **changes: Any) -> set[str]:
        model = lora.attach(tiny_network(), make_options(target_modules=targets, modules_to_save=[], **changes))
        return {n.split(".lora_")[0].rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad}

    assert on(["q_proj"]) == {"q_proj"} and on(r"(q|down)_proj") == {"q_proj", "down_proj"}
    assert on("all-linear") == {"q_proj", "down_proj", "anomaly_head"}
    with pytest.raises(TrainingError, match=r"target_modules names k_\.\*, which TinyNetwork does not have"):
        on(r"k_.*")
    with pytest.raises(TrainingError, match=r"names norm, .* as a linear layer"):
        on(r"norm")
    with pytest.raises(TrainingError, match="is no regular expression"):
        on(r"(q_proj")
    model = lora.attach(tiny_network(), make_options(target_modules=r"(q|down)_proj", modules_to_save=[]))
    lora.save(model, tmp_path / "adapter")
    assert saved.settings_of(tmp_path / "adapter")["target_modules"] == r"(q|down)_proj"
    lora.load(tiny_network(), tmp_path / "adapter", trainable=True)


def test_a_merged_network_scores_as_the_adapter_does(adapter: Path) -> None:
    plain = lora.merged(tiny_network(), adapter)
    assert torch.allclose(logits_of(plain), logits_of(lora.load(tiny_network(), adapter)), atol=1e-5)
    assert not [name for name, _ in plain.named_parameters() if "lora_" in name]


# ---- DoRA, all weights, an encoder's layers, bases of 4 bits


def moved(model: nn.Module) -> nn.Module:
    """Every trained number away from its start."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_dora_is_kept_loaded_and_merged(tmp_path: Path) -> None:
    model = lora.attach(tiny_qwen(), make_options(dora=True, target_modules=NAMES, modules_to_save=[]))
    assert torch.allclose(token_logits(model), token_logits(tiny_qwen()), atol=1e-5)
    lengths = [n for n, p in model.named_parameters() if p.requires_grad and "magnitude" in n]
    assert len(lengths) == 2 * len(NAMES)
    lora.save(moved(model), tmp_path / "adapter")
    assert saved.settings_of(tmp_path / "adapter")["dora"] is True
    scores = token_logits(model)
    assert torch.equal(token_logits(lora.load(tiny_qwen(), tmp_path / "adapter")), scores)
    assert torch.allclose(token_logits(lora.merged(tiny_qwen(), tmp_path / "adapter")), scores, atol=1e-4)


def test_all_weights_are_an_adapter_too(tmp_path: Path) -> None:
    model = moved(lora.attach(tiny_network(), make_options(method="full"), "tsad/tiny"))
    scores = logits_of(model)
    lora.save(model, tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter.sha256", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert saved.settings_of(tmp_path / "adapter") == {"method": "full"}
    assert saved.base_id(tmp_path / "adapter") == "tsad/tiny"
    for load in (lora.load, lora.merged, lora.for_scoring):
        assert torch.equal(logits_of(load(tiny_network(5), tmp_path / "adapter")), scores)
    again = lora.load(tiny_network(5), tmp_path / "adapter", trainable=True)
    assert all(p.requires_grad for p in again.parameters())
    lora.save(again, tmp_path / "again")
    assert saved.weights_digest(tmp_path / "again") == saved.weights_digest(tmp_path / "adapter")
    lora.zero(tiny_network(), tmp_path / "adapter", tmp_path / "zero")
    assert torch.equal(logits_of(lora.load(tiny_network(5), tmp_path / "zero")), logits_of(tiny_network()))
    with pytest.raises(WeightsError, match=r"does not fit this network: 0\.bias"):
        lora.load(nn.Sequential(nn.Linear(8, 8)), tmp_path / "adapter")


def test_tied_weights_are_kept_once(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        network = tiny_qwen()
        network.lm_head.weight = network.model.embed_tokens.weight
        return network

    model = moved(lora.attach(tied(), make_options(method="full")))
    lora.save(model, tmp_path / "adapter")
    assert "lm_head.weight" not in saved.check(tmp_path / "adapter")
    assert torch.equal(token_logits(lora.load(tied(), tmp_path / "adapter")), token_logits(model))


def test_every_layer_below_a_module_is_a_target(tmp_path: Path) -> None:
    def network() -> nn.Module:
        made = tiny_qwen()
        made.ts_encoder = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 32))})
        return made

    options = make_options(target_modules=["q_proj", "ts_encoder.mlp.*"], modules_to_save=[])
    model = lora.attach(network(), options)
    trained = [n.split(".lora_")[0] for n, p in model.named_parameters() if p.requires_grad]
    on = {name.removeprefix("base_model.model.") for name in trained}
    layers = {f"model.layers.{k}.self_attn.q_proj" for k in range(2)}
    assert on == layers | {"ts_encoder.mlp.0", "ts_encoder.mlp.2"}
    assert {name for name, _ in lora.adapted(network(), options)} == on
    lora.save(model, tmp_path / "adapter")
    assert saved.settings_of(tmp_path / "adapter")["target_modules"] == lora.spelt_targets(network(), options)
    with pytest.raises(TrainingError, match=r"target_modules names ts_encoder\.mlp\.\*, which Qwen3ForCausalLM"):
        lora.attach(tiny_qwen(), options)


def test_a_base_of_4_bits_carries_its_adapter_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    tiny_qwen().save_pretrained(tmp_path / "base")
    base = in_4_bits(tmp_path / "base")
    assert lora.quantised(base) and not lora.quantised(tiny_qwen())
    dtypes = {name: p.dtype for name, p in base.named_parameters()}
    model = moved(lora.attach(base, make_options(target_modules=NAMES, modules_to_save=[]), "tiny"))
    kept = {n.removeprefix("base_model.model."): p.dtype for n, p in model.named_parameters() if ".lora_" not in n}
    assert {name.replace(".base_layer", ""): dtype for name, dtype in kept.items()} == dtypes  # nothing to float32
    scores = token_logits(model)
    lora.save(model, tmp_path / "adapter")
    scored = lora.for_scoring(in_4_bits(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(token_logits(scored), scores) and any(".lora_" in n for n, _ in scored.named_parameters())
    assert not torch.allclose(scores, token_logits(in_4_bits(tmp_path / "base")))
    with pytest.raises(WeightsError, match=r"cannot be folded into weights of 4 bits"):
        lora.merged(in_4_bits(tmp_path / "base"), tmp_path / "adapter")
    with pytest.raises(TrainingError, match=r"adapter.method=full, but .* is quantised"):
        lora.attach(in_4_bits(tmp_path / "base"), make_options(method="full"))
    tiny_qwen(hidden=16).save_pretrained(tmp_path / "other")
    with pytest.raises(WeightsError, match="does not fit this network"):
        lora.load(in_4_bits(tmp_path / "other"), tmp_path / "adapter")
