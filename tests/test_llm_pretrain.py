"""Tiny language models made by tsad pretrain: the same twice, resumed as if nothing had happened, refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tsad.core.context import Context
from tsad.core.control import StopRequested
from tsad.core.errors import ConfigError
from tsad.core.intervals import runs_of
from tsad.core.options.engine import IN_PROCESS
from tsad.detectors.llm import measure
from tsad.detectors.llm.chatts.detector import ChatTS
from tsad.detectors.llm.measure import Answered
from tsad.detectors.llm.pretrain import CHECKPOINT, Teaching, pretrain, untrained
from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
from tsad.detectors.llm.qwen_vl.detector import QwenVL
from tsad.detectors.llm.teaching import POOL, lesson
from tsad.files.locate import shipped

SIZES = LanguagePretrainOptions(
    hidden_size=32, layers=1, vision_size=32, vision_layers=1, kinds="plain", plain_loss=0.06, ramp=10
)
FAMILIES = {"chatts_tiny": ChatTS, "qwen_vl_tiny": QwenVL}


def detector(name: str, folder: Path):
    given = yaml.safe_load((shipped("conf") / "detector" / f"{name}.yaml").read_text())
    given.pop("_target_")
    given |= {"weights": str(folder), "quantisation": "none", "engine": IN_PROCESS}
    given |= {"length": 64, "most_points": 64, "stride": 64}
    return FAMILIES[name](**given)


def teaching(**changes) -> Teaching:
    given = {
        "seed": 0, "steps": 4, "batch_size": 4, "learning_rate": 0.01, "warmup": 1, "save_every": 50,
        "max_seconds": 0.0, "language": SIZES,
    }  # fmt: skip
    return Teaching(**{**given, **changes})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few windows instead of hundreds, so that figures cost no time."""
    monkeypatch.setattr("tsad.detectors.llm.pretrain.held_out_figures", lambda *_: dict.fromkeys(
        ("f1", "chance_f1", "f1_iou50", "chance_f1_iou50"), 0.0))


class StopAt:
    """A control that asks a run to stop at its n-th safe point."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def safe_point(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StopRequested("stop")

    def checkpoint_asked(self) -> bool:
        return False


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    made = []
    for folder, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (2,))):
        untrained(FAMILIES[name], SIZES, folder, 0)
        before = (folder / "model.safetensors").read_bytes()
        for stop in stops:
            with pytest.raises(StopRequested):
                pretrain(detector(name, folder), teaching(), folder, context=Context(control=StopAt(stop)))
            assert (folder / CHECKPOINT).is_file()
        figures = pretrain(detector(name, folder), teaching(), folder)
        assert figures["steps"] == 4 and not (folder / CHECKPOINT).exists()
        made.append((folder / "model.safetensors").read_bytes())
        assert made[-1] != before
        assert json.loads((folder / "recipe.json").read_text())["steps"] == 4
    assert made[0] == made[1]


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    untrained(ChatTS, SIZES, tmp_path, 0)
    with pytest.raises(StopRequested):
        pretrain(detector("chatts_tiny", tmp_path), teaching(), tmp_path, context=Context(control=StopAt(1)))
    with pytest.raises(ConfigError, match="another batch_size"):
        pretrain(detector("chatts_tiny", tmp_path), teaching(batch_size=8), tmp_path)


def test_lessons_repeat_and_hold_what_they_say() -> None:
    plain = lesson(3, 7, 256, "plain")
    assert len(plain) == POOL and np.array_equal(plain.values, lesson(3, 7, 256, "plain").values)
    assert 0.7 < plain.labels.any(axis=1).mean() < 0.9
    inside = np.abs(plain.values[plain.labels]).mean()
    assert inside > 2.5 > 0.5 > np.abs(plain.values[~plain.labels]).mean()
    everything = lesson(3, 7, 256, "all")
    assert np.isfinite(everything.values).all()
    assert not np.array_equal(everything.values, lesson(3, 8, 256, "all").values)


def test_figures_tell_the_knowing_from_the_lucky() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 64), bool)
    for row, start in enumerate(rng.integers(0, 50, 200)):
        labels[row, start : start + 10] = True
    truth = [runs_of(row) for row in labels]
    edges = np.arange(0, 65, 8)
    knowing = Answered(np.array([[row[a : a + 8].mean() for a in range(0, 64, 8)] for row in labels]), edges, ())
    threshold = measure.best_threshold(knowing, truth)
    figures = measure.figures(knowing.at(threshold), truth)
    assert figures["f1"] > 0.9 and figures["gain_iou50_low"] > 0.3
    lucky = Answered(rng.random((200, 8)), edges, ())
    by_luck = measure.figures(lucky.at(0.8), truth)
    assert by_luck["gain_iou50_low"] < 0.05 < by_luck["chance_f1"]
    marked = measure.figures(measure.marked_whole(truth, 64), truth)
    assert marked["f1"] == 1.0 and marked["gain_iou50"] == 0.0
