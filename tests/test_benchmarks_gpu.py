"""The GPU benchmark runs its whole code on the CPU in tiny sizes, and says that its figures tell nothing then."""

from __future__ import annotations

import pytest
import torch

from benchmarks import llm_gpu
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.tiny import tokenizer


def test_without_a_gpu_it_says_so_and_prints_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    pytest.importorskip("bitsandbytes")
    llm_gpu.main(["--cases", "chatts_8b", "chatts_8b_qlora"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == llm_gpu.NO_GPU and "TFLOP/s measured" in lines[1]
    plain, packed = (line.strip("| ").split(" | ") for line in lines[4:])
    assert plain[0] == "ChatTS-8B gradient_checkpointing"
    assert packed[0] == "ChatTS-8B adapter=qlora gradient_checkpointing"
    for row in (plain, packed):
        assert float(row[1].replace(",", "")) > 0 and float(row[5].replace(",", "")) > 0 and row[2] == "nan"
        assert float(row[4].rstrip("%")) > 0
    assert float(packed[3].split()[0]) <= float(plain[3].split()[0]), "4 bits are planned smaller"


def test_what_the_time_does_not_allow_is_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    llm_gpu.main(["--cases", "chatts_14b", "--seconds", "-1"])
    assert "chatts_14b: left out, the time is up" in capsys.readouterr().out


def test_operations_of_a_token() -> None:
    network = chatts(tokenizer(), hidden=64, layers=2)
    layers = [m for name, m in network.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]
    linear = sum(layer.weight.numel() for layer in layers)
    assert llm_gpu.operations(network, 100) == 4 * linear + 6 * 2 * 64 * 100


def test_four_bits_change_the_answer_little_and_keep_what_stays() -> None:
    pytest.importorskip("bitsandbytes")
    network = chatts(tokenizer(), hidden=64, layers=2)
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        before = network(input_ids=ids).logits
        llm_gpu.in_4_bits(network, "cpu")
        after = network(input_ids=ids).logits
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    assert kinds["model.layers.0.mlp.up_proj"] == "Linear4bit" and kinds["lm_head"] == "Linear"
    assert 0 < float((after - before).abs().mean()) < 0.6 * float(before.std())
