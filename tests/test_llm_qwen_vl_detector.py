"""The ``qwen_vl`` detector from its YAML: scores, intervals, rows of training."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tsad.core.errors import DetectorError, WeightsError
from tsad.core.options.engine import IN_PROCESS
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.llm.blocks import pieces
from tsad.detectors.llm.codec import Mark
from tsad.detectors.llm.prompts import chat_text, codec_of
from tsad.detectors.llm.qwen_vl.detector import QwenVL, QwenVLOptions
from tsad.detectors.llm.qwen_vl.tiny import qwen3_vl, write_preprocessor
from tsad.detectors.llm.rows import answer_of, stretch
from tsad.detectors.llm.tiny import tokenizer

CONF = Path(__file__).resolve().parents[1] / "conf"


def options(name: str = "qwen_vl_tiny", prompt: str = "flags", **changes: Any) -> dict[str, Any]:
    """What the YAML gives, with what it takes from other groups."""
    given = yaml.safe_load((CONF / "detector" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert given.pop("_target_") == f"{QwenVL.__module__}.QwenVL"
    assert given["quantisation"] == "${adapter.quantisation}"
    assert (given["prompt"] == "${prompt}") == (given["weights"] == "???") == (name == "qwen_vl_8b")
    asked = yaml.safe_load((CONF / "prompt" / f"{prompt}.yaml").read_text(encoding="utf-8"))
    return given | {"prompt": asked, "quantisation": "none", "device": "cpu", "engine": IN_PROCESS} | changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tok = tokenizer()
    qwen3_vl(tok, hidden=64, layers=2, vision=64, depth=2).save_pretrained(folder)
    tok.save_pretrained(folder)
    write_preprocessor(folder)
    return folder


def series(points: int = 300, channels: int = 1) -> Series:
    values = np.random.default_rng(0).standard_normal((points, channels))
    values[100:110] = np.nan
    names = tuple(f"c{k}" for k in range(channels))
    return Series("p", np.arange(points, dtype=np.int64) * NS_PER_SECOND, values, names)


@pytest.mark.parametrize("name", ["qwen_vl_8b", "qwen_vl_tiny"])
def test_the_yaml_is_what_the_detector_takes(name: str) -> None:
    QwenVLOptions(**options(name))


def test_scores_of_flags(folder: Path) -> None:
    detector = QwenVL(**options(weights=str(folder)))
    (scores,) = detector.score([series()])
    assert scores.shape == (300,) and (scores >= 0).all() and (scores <= 1).all()
    assert (scores[100:110] == 0).all() and len(np.unique(scores)) > 10
    (again,) = QwenVL(**options(weights=str(folder), batch_size=1)).score([series()])
    assert np.allclose(scores, again, atol=1e-5)


def test_several_channels_share_a_picture(folder: Path) -> None:
    detector = QwenVL(**options(weights=str(folder), channels=2, height=64))
    (scores,) = detector.score([series(channels=3)])
    assert scores.shape == (300,) and scores.max() > 0
    with pytest.raises(DetectorError, match="5 channels in a picture 32 pixels high"):
        QwenVL(**options(weights=str(folder), channels=5)).score([series(channels=5)])


@pytest.mark.parametrize("unit", ["points", "columns"])
def test_intervals(folder: Path, unit: str) -> None:
    drawn = {"ticks": 6, "numbers": True, "height": 0, "unit": unit}
    detector = QwenVL(**options(weights=str(folder), prompt="kinds", **drawn))
    intervals = detector.candidates(series())
    assert intervals and all(a.end <= b.start for a, b in itertools.pairwise(intervals))
    assert all(0 <= i.start < i.end <= 300 * NS_PER_SECOND and 0 <= i.score <= 1 for i in intervals)


@pytest.mark.parametrize(("points", "width"), [(256, 0), (250, 0), (100, 512), (10, 512)])
def test_intervals_in_columns_are_mapped_back_exactly(folder: Path, points: int, width: int) -> None:
    drawn = {"prompt": "columns", "unit": "columns", "width": width, "stride": 256, "length": 256}
    detector = QwenVL(**options(weights=str(folder), **drawn))
    reading = detector.reader
    edges, (piece,) = reading.position_edges(points), pieces(series(points), detector.settings.cutting)
    assert len(edges) == (width or 4 * 256) // 32 + 1
    text = chat_text(detector.settings.prompt, reader=reading, block=piece.block)
    assert f"numbered 0 to {len(edges) - 2} from" in text
    for start, end in itertools.combinations(range(0, points, 7), 2):
        codec = codec_of(detector.settings.prompt, reading, points)
        told = reading.tokenizer.decode(answer_of(codec, edges, [Mark(start, end)])).removesuffix("<|im_end|>")
        ((first, last),) = json.loads(told)
        assert edges[first] <= start < edges[first + 1] and edges[last] <= end < edges[last + 1]
        low, high = stretch(piece, Mark(first, last), edges)
        assert (low, high) == (edges[first], edges[last + 1]) and low <= start and end < high
    near = answer_of(codec, edges, [Mark(0, 0), Mark(1, 1)])  # in one column where it holds both
    assert reading.tokenizer.decode(near).count(",") == (1 if edges[1] > 1 else 3)
    assert stretch(piece, Mark(0, len(edges) - 2), edges) == (0, points)
    for empty in np.flatnonzero(np.diff(edges) == 0)[:3]:
        low, high = stretch(piece, Mark(int(empty), int(empty)), edges)
        assert high == low + 1  # a column without a point means the next one


def test_rows_have_the_answer_of_the_window(folder: Path) -> None:
    detector = QwenVL(**options(weights=str(folder)))
    window, mask = Window(series(256), 0, 256), np.zeros(256, bool)
    mask[64:81] = True  # units of 8 points: 8, 9 and one point of 10
    (row,) = detector.encode([window], [mask], np.random.default_rng(0))
    said = detector.reader.tokenizer.decode(row.answer)
    assert said == "".join("1" if k in (8, 9, 10) else "0" for k in range(32)) + "<|im_end|>"
    batch = detector.collate([row])
    assert row.tokens == batch["input_ids"].shape[1] and row.positive
    loss = detector.network()(**batch).loss
    assert np.isfinite(loss.item())


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"qwen_vl: .* is missing"):
        QwenVL(**options(weights=str(tmp_path)))
    with pytest.raises(WeightsError, match="there is no folder Qwen3-VL-8B-Instruct"):
        QwenVL(**options("qwen_vl_8b", weights="Qwen3-VL-8B-Instruct"))


def test_a_plan_needs_no_weights(folder: Path) -> None:
    from tsad.core.options import AdapterOptions

    given = yaml.safe_load((CONF / "adapter" / "lora.yaml").read_text(encoding="utf-8"))
    adapter = AdapterOptions(**given).for_detector(QwenVL.adapter_defaults)
    plan = QwenVL.plan(options("qwen_vl_8b"), adapter)
    assert plan is not None and plan.parameters == 8_767_123_696 and plan.trainable == 21_823_488
    assert 32 * 8 < plan.tokens < 700 and 16.3 < plan.parts["weights"] < 16.4
    tiny = QwenVL(**options(weights=str(folder))).memory_plan(adapter)
    assert tiny is not None and tiny.parameters < 2_000_000
