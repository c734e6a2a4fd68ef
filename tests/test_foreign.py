"""Adapters trained elsewhere: taken in where they fit, refused by name where they do not, scoring the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from verbs_kit import call

from tsad.adapters import foreign, lora, saved
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, DetectorError, WeightsError
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.qwen_vl.tiny import qwen3_vl, write_preprocessor
from tsad.detectors.llm.tiny import tokenizer
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.opening import open_loop

Bench = Callable[..., Workbench]
TARGETS = ["q_proj", "v_proj", "down_proj"]


def checkpoint(folder: Path, network: torch.nn.Module) -> Path:
    tokenizer().save_pretrained(folder)
    network.save_pretrained(folder)
    write_preprocessor(folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("ChatTS-8B"), chatts(tokenizer(), hidden=64, layers=2))


@pytest.fixture(scope="module")
def sight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("sight"), qwen3_vl(tokenizer(), hidden=64, layers=2, vision=64, depth=2))


def trained(network: torch.nn.Module, folder: Path, **changes: Any) -> Path:
    """What LLaMA-Factory and its like leave: peft's own files, a pickle of the trainer's arguments beside them."""
    from peft import LoraConfig, get_peft_model

    given: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM"}
    model = get_peft_model(network, LoraConfig(**{**given, **changes}))
    model.peft_config["default"].base_model_name_or_path = "bytedance-research/ChatTS-8B"
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=draw)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "training_args.bin").write_bytes(b"\x80\x04never opened")
    return folder


def meta(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    with torch.device("meta"):
        return make()


def network(hidden: int = 64, layers: int = 2) -> torch.nn.Module:
    return chatts(tokenizer(), hidden=hidden, layers=layers)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(network(), tmp_path_factory.mktemp("adapter"))


def changed(adapter: Path, folder: Path, **settings: Any) -> Path:
    """A copy with other settings."""
    shutil.copytree(adapter, folder)
    raw = json.loads((folder / saved.CONFIG).read_text())
    (folder / saved.CONFIG).write_text(json.dumps(raw | settings))
    return folder


def retensored(adapter: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy with other tensors."""
    shutil.copytree(adapter, folder)
    tensors = load_file(folder / saved.WEIGHTS)
    change(tensors)
    save_file(tensors, folder / saved.WEIGHTS)
    return folder


def row() -> torch.Tensor:
    return torch.arange(20, 40)[None]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=row()).logits


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]},
        {"target_modules": r".*layers\.1\..*(q_proj|up_proj)"}, {"layers_to_transform": [0]},
        {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 1}},
        {"target_modules": ["q_proj", "ts_encoder.mlp.2"]},
    ],
)  # fmt: skip
def test_what_is_taken_scores_as_peft_has_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    from peft import PeftModel

    folder = trained(network(), tmp_path / "theirs", **changes)
    expected = logits(PeftModel.from_pretrained(network(), str(folder)))
    taken = foreign.take(folder, network().to("meta"), "ChatTS-8B", tmp_path / "ours")
    assert (taken.base, taken.r, taken.alpha) == ("bytedance-research/ChatTS-8B", 4, 8)
    assert torch.allclose(logits(lora.load(network(), tmp_path / "ours")), expected, atol=1e-5)
    assert not torch.allclose(expected, logits(network()), atol=1e-2)
    ours = tmp_path / "ours"
    assert sorted(p.name for p in ours.iterdir()) == [saved.SUMS, saved.CONFIG, saved.WEIGHTS]
    assert saved.base_id(ours) == "ChatTS-8B"
    settings = saved.settings_of(ours)
    assert (settings["r"], settings["alpha"]) == (4, 8)
    if not changes:
        assert settings["target_modules"] == sorted(TARGETS) and taken.layers == 6


def test_another_base_is_named_by_the_first_tensor(tmp_path: Path, adapter: Path) -> None:
    first = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    with pytest.raises(WeightsError) as caught:
        foreign.take(adapter, network(hidden=96).to("meta"), "b", tmp_path / "x")
    assert f"{first} has the shape [4, 192], here it would be [4, 288]" in str(caught.value)
    with pytest.raises(WeightsError, match=r"sits on model\.layers\.1\.mlp\.down_proj, and .* has no such layer"):
        foreign.take(adapter, network(layers=1).to("meta"), "b", tmp_path / "x")
    rank = changed(adapter, tmp_path / "rank", r=8)
    with pytest.raises(WeightsError, match=r"another base or rank: .* has the shape \[4, 192\], here .*\[8, 192\]"):
        foreign.take(rank, network().to("meta"), "b", tmp_path / "x")
    with pytest.raises(WeightsError, match=r"it names c_attn, and Qwen3.* has no such layer"):
        foreign.take(changed(adapter, tmp_path / "n", target_modules=[*TARGETS, "c_attn"]), network().to("meta"), "b",
                     tmp_path / "x")  # fmt: skip
    deeper = network(layers=3).to("meta")
    with pytest.raises(WeightsError, match=r"names model\.layers\.2\.mlp\.down_proj, of which .* holds nothing"):
        foreign.take(adapter, deeper, "b", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"peft_type": "IA3"}, "holds a IA3 adapter; tsad takes in LORA"),
        ({"bias": "all"}, "sets bias=all"), ({"lora_bias": True}, "sets lora_bias=True"),
        ({"layer_replication": [[0, 2]]}, "sets layer_replication"), ({"novelty": 3}, "sets novelty=3"),
        ({"init_lora_weights": "pissa_niter_4"}, "began by changing the weights of its base"),
        ({"rank_pattern": {"(a+)+$": 2}}, "rank_pattern has the pattern"),
        ({"r": None}, "is corrupted"), ({"lora_alpha": "much"}, "is corrupted"),
    ],
)  # fmt: skip
def test_more_than_lora_is_refused(tmp_path: Path, adapter: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words.replace("(", r"\(")):
        foreign.take(changed(adapter, tmp_path / "a", **settings), network().to("meta"), "b", tmp_path / "x")


def test_files_that_cannot_be_taken_are_named(tmp_path: Path, adapter: Path) -> None:
    def refused(folder: Path, words: str) -> None:
        with pytest.raises(WeightsError, match=words):
            foreign.take(folder, network().to("meta"), "b", tmp_path / "x")

    refused(tmp_path / "nowhere", "Adapter folder .*nowhere is missing")
    (tmp_path / "run").mkdir()
    shutil.copytree(adapter, tmp_path / "run" / "checkpoint-9")
    refused(tmp_path / "run", r"adapter_config.json is missing.*There is one in .*checkpoint-9")
    pickled = changed(adapter, tmp_path / "pickled")
    (pickled / saved.WEIGHTS).rename(pickled / "adapter_model.bin")
    refused(pickled, r"adapter_model.bin may hold pickled code")
    (pickled / "adapter_model.bin").unlink()
    refused(pickled, r"adapter_model.safetensors is missing")
    cut = changed(adapter, tmp_path / "cut")
    (cut / saved.WEIGHTS).write_bytes((adapter / saved.WEIGHTS).read_bytes()[:-7])
    refused(cut, "is corrupted")
    text = changed(adapter, tmp_path / "text")
    (text / saved.CONFIG).write_text("[]")
    refused(text, "is corrupted")
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"
    refused(retensored(adapter, tmp_path / "half", lambda t: t.pop(name)), f"holds no {name}")
    grown = {"base_model.model.model.embed_tokens.weight": torch.zeros(2, 2)}
    refused(retensored(adapter, tmp_path / "grown", lambda t: t.update(grown)), "embed_tokens.weight, which is no part")
    whole = {name: torch.zeros(64, 4, dtype=torch.int8)}
    refused(retensored(adapter, tmp_path / "whole", lambda t: t.update(whole)), r"as torch\.int8")


# --- the verb ----------------------------------------------------------------------------------------------


def series() -> Series:
    values = np.random.default_rng(0).standard_normal((256, 1))
    return Series("p", np.arange(256, dtype=np.int64) * NS_PER_SECOND, values)


@pytest.mark.parametrize("family", ["chatts_8b", "qwen_vl_8b"])
def test_an_imported_adapter_is_a_challenger_that_scores_the_same(
    stocked: None, bench: Bench, small: Path, sight: Path, tmp_path: Path, family: str, caplog: Any
) -> None:
    folder = small if family == "chatts_8b" else sight
    made = bench(f"detector={family}", f"detector.weights={folder}", "detector.device=cpu", "loop.name=plant")
    detector = made.make_detector()
    adapter = trained(detector.network(), tmp_path / "theirs")
    caplog.set_level("INFO", "tsad")
    first = call("data", made, action="import", what="adapter", path=str(adapter))
    assert (first.version, first.new, first.r, first.layers) == (1, True, 4, 6)
    assert f"calls its base bytedance-research/ChatTS-8B; it fits {folder.name}" in caplog.text
    again = call("data", made, action="import", what="adapter", path=str(changed(adapter, tmp_path / "copy")))
    assert (again.version, again.new) == (1, False)
    registry = registry_of(made, open_loop(made))
    (version,) = registry.versions()
    assert version.aliases == ("challenger",) and version.tags["tsad.role"] == "imported"
    assert "tsad.dataset_version" not in version.tags
    described = registry.store.client.get_model_version(registry.name, "1").description
    assert "trained elsewhere" in described and "nothing was learned" not in described
    loaded = load_registered(made, registry, version)
    (mine,) = loaded.score([series()])
    ours = tmp_path / "ours"
    foreign.take(adapter, detector.network(), "x", ours)
    (expected,) = detector.with_adapter(ours).score([series()])
    (plain,) = detector.score([series()])
    assert np.array_equal(mine, expected) and not np.allclose(mine, plain, atol=1e-3)
    assert loaded.origin.dataset_version is None and first.threshold == pytest.approx(loaded.threshold, abs=1e-6)
    assert not list((made.home / "work").glob("import-*"))


def test_an_imported_adapter_never_becomes_the_first_champion(
    stocked: None, bench: Bench, small: Path, adapter: Path
) -> None:
    from tsad.loop.champion import ensure_champion
    from tsad.loop.opening import standalone

    given = (f"detector.weights={small}", "detector.device=cpu", "loop.name=plant", "threshold=fixed")
    made = bench("detector=chatts_8b", *given)
    call("data", made, action="import", what="adapter", path=str(adapter))
    with standalone(open_loop(made), "TEST") as (held, step):
        champion = ensure_champion(made, held, step, [series()])
    assert champion.version == 2 and champion.tags["tsad.role"] == "base"
    registry = registry_of(made, open_loop(made))
    registry.set_tags(champion, {"tsad.note": "x"})
    other = bench("detector=chatts_8b", *given, "detector.prefix=none", "threshold.default=0.123")
    later = call("data", other, action="import", what="adapter", path=str(adapter))
    assert later.version == 3 and later.threshold == float(champion.tags["tsad.threshold"])  # the champion's
    registry.promote(registry.get(3))
    assert registry.alias("champion").tags["tsad.role"] == "imported"


def test_status_does_not_call_an_import_the_base() -> None:
    from tsad.loop.status import LoopStanding
    from tsad.verbs.status import _row

    for role, said in (("", "none (base)"), ("base", "none (base)"), ("imported", "none (imported)")):
        assert _row(LoopStanding("plant", 1, None, "m:2", "", role=role))["dataset"] == said


def test_patch_takes_one_too(stocked: None, bench: Bench, tmp_path: Path) -> None:
    made = bench("detector=patch", "detector.device=cpu", "loop.name=plant")
    detector = made.make_detector()
    adapter = trained(detector.network(), tmp_path / "theirs", target_modules=["q_proj", "v_proj"], task_type=None)
    imported = call("data", made, action="import", what="adapter", path=str(adapter))
    registry = registry_of(made, open_loop(made))
    (mine,) = load_registered(made, registry, registry.get(imported.version)).score([series()])
    (plain,) = detector.score([series()])
    assert mine.shape == (256,) and not np.allclose(mine, plain, atol=1e-4)


def test_what_the_verb_refuses(stocked: None, bench: Bench, adapter: Path) -> None:
    made = bench("detector=robust_zscore", "loop.name=plant")
    with pytest.raises(DetectorError, match="robust_zscore has no network that an adapter could sit on"):
        call("data", made, action="import", what="adapter", path=str(adapter))
    with pytest.raises(ConfigError, match="path is not set"):
        call("data", made, action="import", what="adapter")
    for action, what in (("import", "all"), ("list", "adapter"), ("delete", "adapter")):
        with pytest.raises(ConfigError, match=f"action={action} with what={what}"):
            call("data", made, action=action, what=what, path=str(adapter))
    assert not (made.home / "work").exists()
