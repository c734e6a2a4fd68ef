"""ChatTS natively: encoder, text, padding, cache, strict loading, and what its adapters touch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tsad.adapters import lora
from tsad.core.errors import DetectorError, WeightsError
from tsad.core.options import AdapterOptions
from tsad.core.options.engine import IN_PROCESS
from tsad.core.series import Series
from tsad.detectors.llm.chatts.checkpoint import ChatTSCheckpoint
from tsad.detectors.llm.chatts.detector import ChatTS
from tsad.detectors.llm.chatts.model import TimeSeriesEncoder
from tsad.detectors.llm.chatts.reader import MARK, ChatTSReader, prepared
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.reader import Block
from tsad.detectors.llm.tiny import tokenizer
from tsad.files.locate import shipped

CONF = shipped("conf")


def prompt(name: str) -> dict:
    return yaml.safe_load((CONF / "prompt" / f"{name}.yaml").read_text())


def options(folder: Path, **changes) -> dict:
    given = yaml.safe_load((CONF / "detector" / "chatts_tiny.yaml").read_text())
    given.pop("_target_")
    return {**given, "weights": str(folder), "quantisation": "none", "engine": IN_PROCESS, **changes}


@pytest.fixture(scope="module", params=["qwen3", "qwen2", "llama"])
def folder(request, tmp_path_factory) -> Path:
    """A tiny checkpoint of the real architecture on each backbone."""
    made = tmp_path_factory.mktemp(request.param)
    own = tokenizer()
    own.save_pretrained(made)
    chatts(own, hidden=64, layers=2, backbone=request.param).save_pretrained(made)
    return made


@pytest.fixture
def qwen3(tmp_path) -> Path:
    own = tokenizer()
    own.save_pretrained(tmp_path)
    chatts(own, hidden=64, layers=2).save_pretrained(tmp_path)
    return tmp_path


def series(length: int = 300, channels: int = 1, seed: int = 0) -> Series:
    values = np.random.default_rng(seed).normal(size=(length, channels))
    return Series("p", np.arange(length, dtype=np.int64) * 10**9, values, tuple("abcdef"[:channels]))


def slow_encoder(encoder: TimeSeriesEncoder, values: torch.Tensor) -> torch.Tensor:
    """The published loop over one series, written out."""
    length, patch = len(values), encoder.patch
    count = -(-length // patch)
    padded = torch.cat([values, values[-1:].expand(count * patch - length)])
    places = torch.tensor([k if k < length else encoder.longest for k in range(count * patch)])
    rows = [
        torch.cat([padded[k * patch : (k + 1) * patch],
                   encoder.position_embedding(places[k * patch : (k + 1) * patch]).flatten()])
        for k in range(count)
    ]  # fmt: skip
    return encoder.mlp(torch.stack(rows))


def test_prefix_and_patches_equal_the_facts() -> None:
    x = np.sin(np.arange(256) / 10) * 5
    x[100:] -= 10
    scaled, text = prepared(x, "current")
    assert text == (
        "[offset=6.0772|scaling=3.6917|length=256|max=4.9979|min=-15.0000|left=0.0000|right=-8.2047]"
    )
    assert float(np.abs(scaled).max()) == pytest.approx(3.0, abs=1e-6)
    assert prepared(x, "older")[1] == "[Value Offset: 6.0772|Value Scaling: 3.6917]"


def test_small_series_keep_their_digits_and_the_text_says_so() -> None:
    x = np.sin(np.arange(64)) * 2e-6 + 5e-6
    scaled, text = prepared(x, "current")
    assert 1.0 < float(np.abs(scaled).max()) <= 3.0 + 1e-6
    assert "offset=-5" in text.replace("offset=-4.9", "offset=-5") and "0.0000|length" not in text
    reader = ChatTSReader(tokenizer(), patch=8, longest=1024, prefix="current")
    assert "times 10^7" in reader.marks(Block(x[:, None], ("flow",))) or "times 10^6" in reader.marks(
        Block(x[:, None], ("flow",))
    )
    assert "times" not in reader.marks(Block(1e7 * x[:, None], ("flow",)))


def test_the_encoder_equals_the_published_loop() -> None:
    torch.manual_seed(0)
    encoder = TimeSeriesEncoder({"patch_size": 8, "num_layers": 5, "hidden_size": 32, "max_length": 128})
    values = [torch.randn(n) for n in (3, 8, 100, 41)]
    batch = torch.zeros(4, 100, 2)
    for k, one in enumerate(values):
        batch[k, : len(one), 0], batch[k, : len(one), 1] = one, 1
    expected = torch.cat([slow_encoder(encoder, one) for one in values])
    assert torch.allclose(encoder(batch), expected, atol=1e-6)


def test_a_series_becomes_placeholders_in_order(folder: Path) -> None:
    detector = ChatTS(**options(folder, channels=3, prompt=prompt("range"), prefix="current"))
    reader = detector.reader
    block = Block(series(20, 3).values, ("a", "b", "c"))
    text = f"<|im_start|>user\n{reader.marks(block)}<|im_end|>\n"
    assert text.count(MARK) == 3
    read = reader.read(block, text)
    assert read.ids.count(reader.placeholder) == 3 * 3 and len(read.payload) == 3
    with pytest.raises(DetectorError, match="1 marks"):
        reader.read(block, f"only one {MARK}")
    assert reader.edges(20).tolist() == [0, 8, 16, 20]


def test_padding_batches_and_cache_change_nothing(folder: Path) -> None:
    detector = ChatTS(**options(folder))
    network, reader = detector.network(), detector.reader
    blocks = [Block(series(n, 1, n).values, ("a",)) for n in (256, 40, 9)]
    read = [reader.read(b, f"x{reader.marks(b)}y") for b in blocks]
    together = reader.collate(read)
    with torch.no_grad():
        rows = network(**together).logits[:, -1]
        for k, one in enumerate(read):
            alone = network(**reader.collate([one])).logits[0, -1]
            assert torch.allclose(rows[k], alone, atol=2e-4)
    how = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": reader.tokenizer.pad_token_id}
    kept = network.generate(**together, use_cache=True, **how)
    assert torch.equal(kept, network.generate(**together, use_cache=False, **how))


def test_the_loss_looks_at_answers_alone_and_reaches_the_encoder(folder: Path) -> None:
    detector = ChatTS(**options(folder))
    network, reader = detector.network(), detector.reader
    read = [reader.read(b, f"{reader.marks(b)}?") for b in (Block(series(n, 1, n).values, ("a",)) for n in (64, 24))]
    answers = [[55, 56, 57], [58, -1 - 59]]
    batch = reader.collate(read, answers)
    assert int((batch["labels"] != -100).sum()) == 4, "one token is written and not taught"
    loss = network(**batch).loss
    labels = batch.pop("labels")
    logits = network(**batch).logits[:, :-1]
    taught = labels[:, 1:] != -100
    expected = torch.nn.functional.cross_entropy(logits[taught], labels[:, 1:][taught])
    assert torch.allclose(loss, expected, atol=1e-5)
    loss.backward()
    assert float(network.ts_encoder.mlp[0].weight.grad.abs().sum()) > 0


def test_checkpoints_of_older_configs_load_and_are_equal(qwen3: Path, tmp_path_factory) -> None:
    published = tmp_path_factory.mktemp("published")
    shutil.copytree(qwen3, published, dirs_exist_ok=True)
    config = json.loads((published / "config.json").read_text())
    config["ts"]["max_length"] = config["ts"].pop("max_sequence_length")
    config |= {"model_type": "chatts", "auto_map": {"AutoModelForCausalLM": "modeling_qwen3_ts.Qwen3TSForCausalLM"}}
    config.pop("ts_token_start_index")
    (published / "config.json").write_text(json.dumps(config))
    (published / "modeling_qwen3_ts.py").write_text("raise SystemExit('remote code was run')\n")
    one = series()
    expected = ChatTS(**options(qwen3)).score([one])[0]
    assert np.array_equal(ChatTS(**options(published)).score([one])[0], expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("ts_encoder.mlp.2.weight"), "missing: ts_encoder.mlp.2.weight"),
        (lambda t: t.update(surplus=torch.zeros(1)), "not known to the network: surplus"),
        (lambda t: t.update({"lm_head.weight": torch.zeros(3, 3)}), "lm_head.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named(qwen3: Path, change, words: str) -> None:
    tensors = load_file(qwen3 / "model.safetensors")
    change(tensors)
    save_file(tensors, qwen3 / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError) as refused:
        ChatTS(**options(qwen3)).score([series()])
    assert words.split(": ")[-1] in str(refused.value) and str(qwen3) in str(refused.value)


def test_folders_that_hold_no_chatts_are_refused_before_any_work(qwen3: Path, tmp_path_factory) -> None:
    with pytest.raises(WeightsError, match="no folder"):
        ChatTS(**options(qwen3 / "absent"))
    config = json.loads((qwen3 / "config.json").read_text())
    (qwen3 / "config.json").write_text(json.dumps({**config, "ts": None}))
    with pytest.raises(WeightsError, match="without a series encoder"):
        ChatTS(**options(qwen3))
    (qwen3 / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="corrupted"):
        ChatTS(**options(qwen3))
    (qwen3 / "config.json").write_text(json.dumps(config))
    (qwen3 / "model.safetensors").rename(qwen3 / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled code"):
        ChatTS(**options(qwen3))
    assert ChatTSCheckpoint.__doc__


def test_a_checkpoint_without_chat_template_is_refused_by_name(qwen3: Path) -> None:
    (qwen3 / "chat_template.jinja").unlink()
    with pytest.raises(DetectorError, match="no chat template"):
        ChatTS(**options(qwen3)).score([series()])


def test_lora_goes_where_it_is_told_and_comes_back_equal(folder: Path, tmp_path) -> None:
    detector = ChatTS(**options(folder))
    given = yaml.safe_load((CONF / "adapter" / "lora.yaml").read_text())
    adapter = AdapterOptions(**{**given, "train_encoder": True}).for_detector(detector.adapter_defaults)
    network = detector.network()
    model = lora.attach(network, adapter)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(".q_proj." in name for name in trained) and any("ts_encoder.mlp.0" in name for name in trained)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)
    lora.save(model, tmp_path / "adapter")
    one = series()
    adapted = detector.with_adapter(tmp_path / "adapter")
    scores = adapted.score([one])[0]
    assert not np.array_equal(scores, detector.score([one])[0])
    assert np.array_equal(ChatTS(**options(folder)).with_adapter(tmp_path / "adapter").score([one])[0], scores)
    assert np.array_equal(adapted.with_adapter(None).score([one])[0], detector.score([one])[0])
