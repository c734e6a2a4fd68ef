"""The tokenizer and the start of the tiny language models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tsad.detectors.llm.tiny import SPECIAL, tokenizer, wake

DIGEST = (
    "import hashlib; from tsad.detectors.llm.tiny import tokenizer;"
    "print(hashlib.sha256(tokenizer().backend_tokenizer.to_str().encode()).hexdigest())"
)
TEXTS = ["[[12,34],[100,140]]", "Which intervals are abnormal?", "哪些区间异常？", "péči 🙂\n\t x"]


@pytest.mark.parametrize("piece", [*"0123456789", "[[", "],[", "]]", "[]", ",", ',"', '"],[', '"]]', *SPECIAL])
def test_pieces_of_answers_are_one_token(piece: str) -> None:
    assert len(tokenizer().encode(piece, add_special_tokens=False)) == 1


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_goes_through(text: str) -> None:
    tok = tokenizer()
    ids = tok.encode(text, add_special_tokens=False)
    assert tok.decode(ids) == text
    assert len(tok) <= 400 and max(ids) < len(tok)


def test_digits_never_merge() -> None:
    tok = tokenizer()
    assert len(tok.encode("0011223344", add_special_tokens=False)) == 10
    assert tok.tokenize("[[12,34],[100,140]]") == ["[[", *"12", ",", *"34", "],[", *"100", ",", *"140", "]]"]


def test_chat_opens_the_assistants_turn() -> None:
    text = tokenizer().apply_chat_template(
        [{"role": "user", "content": "anomalies"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nanomalies<|im_end|>\n<|im_start|>assistant\n"


def test_made_the_same_in_every_process() -> None:
    digests = {subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


class _Encoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position_embedding = torch.nn.Embedding(65, 16)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(64, 256))


class _Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ts_encoder, self.q_proj, self.o_proj = _Encoder(), torch.nn.Linear(64, 512), torch.nn.Linear(64, 512)


def test_wake_starts_by_fan_in_and_seed() -> None:
    first, again, other = wake(_Network(), 2), wake(_Network(), 2), wake(_Network(), 2, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.q_proj.weight, other.q_proj.weight)
    assert first.q_proj.weight.std().item() == pytest.approx(64**-0.5, rel=0.03)
    assert first.o_proj.weight.std().item() == pytest.approx(64**-0.5 / 2, rel=0.03)
    assert first.ts_encoder.mlp[0].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.03)
    table = first.ts_encoder.position_embedding.weight
    assert table[1, 0].item() == pytest.approx(1.0) and table[0].tolist() == [0.0] * 8 + [1.0] * 8
