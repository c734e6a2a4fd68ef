"""Language models as detectors: blocks and their way back, answers kept, bad windows, rows of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tsad.config.composing import compose, plain
from tsad.config.parts import part
from tsad.core.errors import DetectorError, TsadError
from tsad.core.intervals import intervals_to_runs
from tsad.core.options.engine import IN_PROCESS
from tsad.core.options.prompt import PromptOptions
from tsad.core.reduction import kept_positions
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin
from tsad.detectors.devices import full_device_named
from tsad.detectors.llm.asking import Asking
from tsad.detectors.llm.blocks import Cutting, pieces
from tsad.detectors.llm.chatts.detector import ChatTS
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.codec import IntervalCodec, Mark
from tsad.detectors.llm.decode import Walker
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.rows import marks_of, stretch
from tsad.detectors.llm.tiny import tokenizer
from tsad.files.locate import shipped

CONF = shipped("conf")
S = 10**9


def prompt(name: str) -> dict:
    return yaml.safe_load((CONF / "prompt" / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("chatts")
    own = tokenizer()
    own.save_pretrained(made)
    chatts(own, hidden=64, layers=2).save_pretrained(made)
    return made


@pytest.fixture
def make(folder: Path):
    def made(**changes) -> ChatTS:
        given = yaml.safe_load((CONF / "detector" / "chatts_tiny.yaml").read_text())
        given.pop("_target_")
        return ChatTS(**{**given, "weights": str(folder), "quantisation": "none", "engine": IN_PROCESS, **changes})

    return made


def series(values: np.ndarray, name: str = "p") -> Series:
    values = np.asarray(values, float).reshape(len(values), -1)
    return Series(name, np.arange(len(values), dtype=np.int64) * S, values, tuple("abcdef"[: values.shape[1]]))


def noise(length: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, channels))


class Counting:
    """A network that counts how often it is asked to generate."""

    def __init__(self, network) -> None:
        self.network, self.prompts = network, 0

    def parameters(self):
        return self.network.parameters()

    def get_input_embeddings(self):
        return self.network.get_input_embeddings()

    def generate(self, **batch):
        self.prompts += len(batch["input_ids"])
        return self.network.generate(**batch)


@pytest.mark.parametrize("method", ["m4", "minmax"])
def test_long_windows_are_shortened_and_every_point_has_its_way_back(method: str) -> None:
    values = noise(50_000, 2)
    values[31_234, 1] = 40.0
    kept = kept_positions(values, 1024, method)
    assert len(kept) <= 1024 and kept[0] == 0 and kept[-1] == 49_999 and 31_234 in kept
    assert np.array_equal(np.unique(kept), kept)
    cutting = Cutting(length=50_000, stride=50_000, most=1024, reduce=method, channels=2)
    (piece,) = pieces(series(values), cutting)
    truth = Interval(31_230 * S, 31_240 * S)
    (mark,) = marks_of(piece, series(values), [truth], ())
    low, high = stretch(piece, mark, np.arange(len(piece.block) + 1))
    assert low <= 31_234 < high and high - low < 500


def test_marks_and_stretches_are_each_others_inverse() -> None:
    one = series(noise(700))
    cutting = Cutting(length=256, stride=128, most=256, reduce="m4", channels=1)
    for piece in pieces(one, cutting):
        for start, stop in ((piece.start, piece.start + 1), (piece.start + 7, piece.stop), (piece.start, piece.stop)):
            (mark,) = marks_of(piece, one, [Interval(start * S, stop * S)], ())
            assert stretch(piece, mark, np.arange(len(piece.block) + 1)) == (start, stop)


def test_scores_cover_the_series_whatever_its_length(make) -> None:
    detector = make()
    for length in (3, 8, 255, 256, 257, 1000):
        (scores,) = detector.score([series(noise(length))])
        assert scores.shape == (length,) and np.isfinite(scores).all()
        assert scores.min() >= 0.0 and scores.max() <= 1.0
    together = detector.score([series(noise(300, seed=1)), series(noise(40, seed=2))])
    assert np.array_equal(together[1], detector.score([series(noise(40, seed=2))])[0])


def test_missing_and_constant_windows_are_never_asked_about(make) -> None:
    detector = make()
    detector._network = Counting(detector.network())
    nothing = series(np.full(300, np.nan))
    assert not detector.score([nothing, series(np.full(300, 7.0)), series(np.zeros(3))])[0].any()
    assert detector._network.prompts == 0
    values = noise(512)
    values[:256] = np.nan
    values[300:310] = np.nan
    (scores,) = detector.score([series(values)])
    assert not scores[:256].any() and not scores[300:310].any() and scores[256:300].all()


def test_equal_blocks_are_asked_once_and_kept_answers_cost_nothing(make, tmp_path) -> None:
    values = np.tile(noise(256), (3, 1))
    detector = make(stride=256).keeping_answers(tmp_path)
    detector._network = Counting(detector.network())
    first = detector.score([series(values)])[0]
    assert detector._network.prompts == 1
    again = make(stride=256).continuing(tmp_path, 0.0)
    again._network = Counting(again.network())
    assert np.array_equal(again.score([series(values)])[0], first) and again._network.prompts == 0
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text("{damaged")
    assert np.array_equal(again.score([series(values)])[0], first) and again._network.prompts == 1
    other = make(stride=256, prompt={**prompt("flags"), "text": "{series}?"}).continuing(tmp_path, 0.0)
    other._network = Counting(other.network())
    other.score([series(values)])
    assert other._network.prompts == 1, "another prompt is another question"


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONF / "prompt").glob("*.yaml")))
def test_every_prompt_that_ships_is_answered(make, name: str) -> None:
    detector = make(prompt=prompt(name), channels=2, prefix="current")
    one = series(noise(300, 2))
    if detector.scored:
        assert detector.score([one])[0].max() <= 1.0
        with pytest.raises(DetectorError, match="no candidates"):
            detector.candidates(one)
        return
    found = detector.candidates(one)
    runs = intervals_to_runs(found, one.timestamps)
    assert len(runs) == len(found) and (runs[1:, 0] >= runs[:-1, 1]).all()
    kinds = {*detector.settings.prompt.kinds, "Anomaly"}
    assert all(i.label in kinds and 0.0 <= i.score <= 1.0 for i in found)
    assert bool(detector.settings.prompt.reasons) or not any(i.note for i in found)
    with pytest.raises(DetectorError, match="no scores"):
        detector.score([one])
    (examined,) = detector.examine([one])
    assert examined.own is not None and examined.own.intervals == found


def test_what_people_said_becomes_rows_and_is_read_back(make) -> None:
    kinds = ["尖峰", "level shift"]
    detector = make(prompt={**prompt("detailed"), "kinds": kinds}, length=128, stride=128)
    one = series(noise(600))
    said = (
        Interval(110 * S, 120 * S, "尖峰", note='rises to "9"'), Interval(250 * S, 260 * S, "unheard of"),
    )  # fmt: skip
    reviewed = [reviewed_window(Window(one, 100, 300), said), reviewed_window(Window(one, 300, 428), ())]
    rows = detector.rows(reviewed)
    assert [r.positive for r in rows] == [True, True, False]
    assert {r.window_id for r in rows[:2]} == {reviewed[0].window.window_id}
    codec = IntervalCodec(detector.reader.tokenizer, 128, kinds=(*kinds, "Anomaly"), reasons=True)
    read = [Walker(codec).read(r.answer, [1.0] * len(r.answer), detector.reader.tokenizer) for r in rows]
    assert [(m.start, m.end, m.kind, m.note) for m in read[0]] == [(10, 19, "尖峰", "rises to '9'")]
    assert [m.kind for m in read[1]] == ["Anomaly"] and read[2] == ()
    batch = detector.collate(rows)
    assert batch["labels"].shape == batch["input_ids"].shape and batch["timeseries"].shape[0] == 3
    assert all(r.tokens == len(r.prompted.ids) + len(r.answer) for r in rows)


def reviewed_window(window: Window, intervals: tuple[Interval, ...]) -> ReviewedWindow:
    choice = Choice(window, 1.0, "random", Purpose.TRAIN)
    return ReviewedWindow(choice, (Annotation("7", intervals),), ReviewState.CORRECTED, intervals)


def test_validation_is_of_generated_answers(make) -> None:
    detector = make()
    windows = [Window(series(noise(256, seed=k)), 0, 256) for k in range(3)]
    masks = [np.zeros(256, bool) for _ in windows]
    masks[0][100:120] = True
    figures = detector.validate(detector.network(), windows, masks)
    assert 0.0 <= figures["validation_interval_f1"] <= 1.0
    assert figures["validation_loss"] == pytest.approx(
        1 - figures["validation_interval_f1"] + 0.1 * figures["validation_answer_loss"]
    )


def test_an_answer_cut_by_its_tokens_is_told_and_marks_nothing(make, monkeypatch) -> None:
    detector = make(prompt=prompt("range"))
    monkeypatch.setattr(IntervalCodec, "longest", property(lambda self: 4))
    asking = detector.asking(detector.network())
    assert isinstance(asking, Asking)
    cut = list(pieces(series(noise(256)), detector.settings.cutting))
    (answer,) = asking.answers(cut, Kept(None))
    assert answer == Answer(mended=("the answer was cut off",)) or answer.marks == ()


def test_several_drawn_answers_are_taken_together_and_repeat(make) -> None:
    one = series(noise(256))
    drawn = make(samples=4, temperature=1.5)
    (first,), (second,) = drawn.score([one]), drawn.score([one])
    assert np.array_equal(first, second)
    words = make(prompt=prompt("range"), samples=3, temperature=1.5)
    assert words.candidates(one) == words.candidates(one)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": "no place"}, "has the place of the window, {series}, 0 times"),
        ({"text": "{series} {nonsense}"}, "nonsense"),
        ({"text": "{series} {"}, "brace"),
        ({"kinds": ["a", "a"]}, "one kind twice"),
        ({"kinds": ['say "x"']}, "holds"),
        ({"reasons": True}, "flags with kinds or reasons"),
        ({"answer": "maybe"}, "answer"),
    ],
)
def test_prompts_that_cannot_be_asked_are_refused_by_name(make, change, words: str) -> None:
    with pytest.raises(TsadError) as refused:
        make(prompt={**prompt("flags"), **change})
    assert words in str(refused.value)
    assert set(PromptOptions.model_fields) == set(prompt("flags"))


def test_a_free_answer_needs_intervals_and_blocks_must_touch(make) -> None:
    with pytest.raises(DetectorError, match="free with flags"):
        make(decoding="free")
    with pytest.raises(DetectorError, match="stride is 300"):
        make(stride=300)


def test_a_full_device_is_said_by_name_with_what_takes_less() -> None:
    named = full_device_named("chatts", "Lower it.")
    with pytest.raises(DetectorError, match=r"chatts: the device is full.*Lower"), named:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nmore")


@pytest.mark.parametrize("name", ["chatts_8b", "chatts_14b", "chatts_tiny", "qwen_vl_8b", "qwen_vl_tiny"])
def test_configs_that_ship_fit_their_classes_and_take_bits_from_the_adapter(name: str, folder: Path) -> None:
    for adapter, bits in (("lora", "none"), ("qlora", "nf4")):
        config = plain(compose([f"detector={name}", f"adapter={adapter}"]))["detector"]
        chosen = part("detector", config)
        assert chosen.options.quantisation == bits and chosen.kind.scored is True


def test_a_version_is_described_by_plain_values_and_hashes_what_answers(make) -> None:
    detector = make()
    described = json.loads(json.dumps(detector.describe()))
    assert described["prompt"]["answer"] == "flags"
    assert make(batch_size=3).config_hash == detector.config_hash
    assert make(prompt=prompt("range")).config_hash != detector.config_hash
    assert detector.base_reference()["sha256"] and detector.adapter_defaults["learning_rate"] == 1e-3
    assert Origin("chatts", "chatts:base", None, detector.config_hash)
    assert Mark(0, 1) == Mark(0, 1)
