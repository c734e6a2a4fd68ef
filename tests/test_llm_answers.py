"""Answers of language models: written by one codec, steered by it, read back, and mended where nothing steered them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from tsad.core.errors import DetectorError
from tsad.detectors.llm.codec import END, FlagCodec, IntervalCodec, Mark, State, plain_text, reachable
from tsad.detectors.llm.decode import OPENING, FlagSteering, IntervalSteering, Recording, Walker, plain_tokens
from tsad.detectors.llm.parse import parse
from tsad.detectors.llm.tiny import tokenizer

KINDS = ("spike", "水平偏移", "Anomaly")


@pytest.fixture(scope="module")
def tok():
    return tokenizer()


def drawn(rng: np.random.Generator, length: int, kinds: tuple[str, ...], reasons: bool, most: int = 8) -> list[Mark]:
    """Random disjoint marks in order."""
    count = int(rng.integers(0, most + 1))
    edges = np.sort(rng.choice(length, min(2 * count, length // 2 * 2), replace=False)).reshape(-1, 2)
    return [
        Mark(int(a), int(b), str(rng.choice(kinds)) if kinds else "", "it rises to 9" if reasons else "")
        for a, b in edges
    ]


def walk(walker: Walker, tokens: list[int]) -> bool:
    """Whether each token of an answer may come where it comes."""
    live = OPENING
    for token in tokens:
        if token not in walker.step(live) and walker.free(live) is None:
            return False
        live = walker.after(live, token)
    return live[0] == (END, ())


@pytest.mark.parametrize("kinds", [(), KINDS])
@pytest.mark.parametrize("reasons", [False, True])
def test_what_training_writes_decoding_may_say_and_reading_gives_back(tok, kinds, reasons) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        length = int(rng.integers(3, 3000))
        marks = drawn(rng, length, kinds, reasons)
        codec = IntervalCodec(tok, length, kinds=kinds, reasons=reasons)
        tokens = codec.encode(marks)
        assert len(tokens) <= codec.longest
        assert walk(Walker(codec), tokens), tok.decode(tokens)
        read = Walker(codec).read(tokens, [1.0] * len(tokens), tok)
        assert read is not None and [(m.start, m.end, m.kind, m.note) for m in read] == [
            (m.start, m.end, m.kind, m.note) for m in marks
        ]
        content = json.loads(tok.decode(tokens[:-1]))
        assert [row[:2] for row in content] == [[m.start, m.end] for m in marks]


def test_numbers_that_can_still_be_reached() -> None:
    assert reachable("", 5, 12) == (False, ("1", "5", "6", "7", "8", "9"))
    assert reachable("1", 5, 12) == (False, ("0", "1", "2"))
    assert reachable("0", 0, 12) == (True, ())
    for low, high in ((0, 0), (3, 1023), (99, 101)):
        said = set()
        waiting = [""]
        while waiting:
            prefix = waiting.pop()
            whole, following = reachable(prefix, low, high)
            said |= {int(prefix)} if whole else set()
            waiting += [prefix + digit for digit in following]
        assert said == set(range(low, high + 1))


@pytest.mark.parametrize(("kinds", "reasons"), [((), False), (KINDS, False), (KINDS, True)])
def test_random_scores_always_give_a_well_formed_answer(tok, kinds, reasons) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [3, 17, 256, 1024]
    codecs = [IntervalCodec(tok, length, most=5, kinds=kinds, reasons=reasons, reason_tokens=6) for length in lengths]
    vocabulary = len(tok)
    plain = plain_tokens(tok, vocabulary)
    for _ in range(25):
        steering = IntervalSteering(codecs, 4, plain)
        ids = torch.zeros(len(codecs), 4, dtype=torch.long)
        for _ in range(max(c.longest for c in codecs)):
            scores = steering(ids, torch.randn(len(codecs), vocabulary, generator=generator))
            assert bool((scores > -torch.inf).any(dim=1).all())
            ids = torch.cat([ids, torch.multinomial(torch.softmax(scores, -1), 1, generator=generator)], 1)
        for row, codec in enumerate(codecs):
            tokens = ids[row, 4:].tolist()
            tokens = tokens[: tokens.index(codec.stop) + 1]
            marks = steering.read(row, tokens, tok)
            assert marks is not None
            pairs = [(m.start, m.end) for m in marks]
            assert all(0 <= a <= b < codec.length for a, b in pairs)
            assert all(before[1] < after[0] for before, after in itertools.pairwise(pairs))
            assert all(m.kind in kinds for m in marks) if kinds else all(not m.kind for m in marks)
            assert all(0.0 <= m.confidence <= 1.0 for m in marks)
            json.loads(tok.decode(tokens[:-1]))


def test_an_answer_cut_off_is_told_from_a_whole_one(tok) -> None:
    codec = IntervalCodec(tok, 256)
    tokens = codec.encode([Mark(3, 9), Mark(20, 40)])
    assert Walker(codec).read(tokens[:5], [1.0] * 5, tok) is None
    assert Walker(codec).read(tokens[:-1], [1.0] * len(tokens), tok) is None or tokens[-2] != codec.stop


def test_confidence_is_that_of_opening_and_digits(tok) -> None:
    codec = IntervalCodec(tok, 100)
    tokens = codec.encode([Mark(12, 34)])  # [[ 1 2 , 3 4 ]] end
    texts = [tok.decode([t]) for t in tokens]
    chances = [0.5 if text == "[[" else 0.25 if text in "1234" else 1.0 for text in texts]
    (mark,) = Walker(codec).read(tokens, chances, tok)
    assert mark.confidence == pytest.approx(0.5 * 0.25 ** (4 / 5), rel=1e-6)  # the comma is sure


def test_flags_are_steered_and_their_probabilities_kept(tok) -> None:
    codecs = [FlagCodec(tok, 3), FlagCodec(tok, 5)]
    steering = FlagSteering(codecs, 2)
    scores = torch.zeros(2, len(tok))
    scores[:, codecs[0].on] = 2.0
    ids = torch.zeros(2, 2, dtype=torch.long)
    for _ in range(6):
        ids = torch.cat([ids, steering(ids, scores).argmax(dim=1, keepdim=True)], 1)
    assert ids[0, 2:].tolist() == [codecs[0].on] * 3 + [codecs[0].stop] * 3
    assert ids[1, 2:].tolist() == [codecs[0].on] * 5 + [codecs[0].stop]
    assert [len(c) for c in steering.chances] == [3, 5]
    assert steering.chances[1] == pytest.approx([torch.sigmoid(torch.tensor(2.0)).item()] * 5)
    assert codecs[1].encode([True, False, True, False, False], [True, True, False, True, True])[2] == -1 - codecs[1].off


def test_a_tokenizer_without_single_digits_is_refused_by_name() -> None:
    class Pieces:
        eos_token_id = 0

        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [1, 2]

    with pytest.raises(DetectorError, match=r"no tokens 0 and 1.*intervals"):
        FlagCodec(Pieces(), 4)


@pytest.mark.parametrize(
    ("text", "marks", "mended"),
    [
        ("[[3,9],[20,40]]", [(3, 9), (20, 40)], ()),
        ("[]", [], ()),
        ('[[3,9,"spike","up"]]', [(3, 9)], ()),
        ('{"anomalies": [{"range": [3, 9], "amp": 2, "label": "尖峰", "detail": "高"}]}', [(3, 9)], ()),
        ('[{"start": 3, "end": 9}, {"begin": 20, "stop": 40}]', [(3, 9), (20, 40)], ()),
        ("Here it is:\n```json\n[[3, 9],]\n```\nDone.", [(3, 9)], ("a code fence was taken off", "mended")),
        ("{'range': [3, 9]}", [(3, 9)], ("quotes or commas were mended",)),
        ("[[9,3]]", [(3, 9)], ("exchanged",)),
        ("[[90,400]]", [(90, 99)], ("cut to the window",)),
        ("[[400,500],[3,9]]", [(3, 9)], ("left out",)),
        ("[[20,40],[3,9]]", [(3, 9), (20, 40)], ("order",)),
        ("[[3,9],[5,20]]", [(3, 20)], ("joined",)),
        ("[[3,9],[20,4", [(3, 9)], ("cut off",)),
        ("[[3.4,9.2]]", [(3, 9)], ("rounded",)),
        ("[[3,9],\"none\"]", [(3, 9)], ("left out",)),
        ("Between (3, 9) and (20, 40).", [(3, 9), (20, 40)], ("picked out",)),
        ("[3, 9]", [(3, 9)], ()),
    ],
)  # fmt: skip
def test_free_answers_are_read_and_every_repair_is_told(text, marks, mended) -> None:
    parsed = parse(text, 100)
    assert parsed.readable and [(m.start, m.end) for m in parsed.marks] == marks
    told = " ".join(parsed.mended)
    assert all(word in told for word in mended), told
    assert bool(parsed.mended) == bool(mended), told


def test_what_cannot_be_read_is_said_and_not_taken_for_nothing() -> None:
    parsed = parse("I am not sure.", 100)
    assert not parsed.readable and parsed.marks == () and "no list could be read" in parsed.mended
    kinds = parse('{"anomalies": [{"range": [3, 9], "label": "尖峰", "detail": "高"}]}', 100).marks
    assert (kinds[0].kind, kinds[0].note) == ("尖峰", "高")


def test_reasons_hold_plain_text_alone(tok) -> None:
    assert plain_text('it says "9"\nand \\ more') == "it says '9' and / more"
    assert plain_text("  ") == "-"
    allowed = plain_tokens(tok, len(tok) + 5)
    assert len(allowed) == len(tok) + 5 and not bool(allowed[-5:].any())
    for token in np.flatnonzero(allowed.numpy())[:300]:
        assert '"' not in tok.decode([int(token)])
    assert State() == OPENING[0][0]


def test_a_free_answer_is_as_sure_as_its_tokens() -> None:
    recording = Recording()
    recording(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[0.0, 0.0]]))
    recording(torch.zeros(1, 4, dtype=torch.long), torch.tensor([[100.0, 0.0]]))
    assert recording.confidence(0, 2) == pytest.approx(0.5**0.5)
