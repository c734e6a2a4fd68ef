"""loop.queue: the simulated reviewer answers from what is kept with the queue as it would from the source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.intervals import clip, mask_to_intervals
from tsad.core.reading import ReadSummary
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Origin, Proposal
from tsad.core.windows import cut
from tsad.loop import queue
from tsad.loop.reading import Reading
from tsad.review.simulated import SimulatedReviewer
from tsad.training.datasets import build

Make = Callable[..., Workbench]
MISTAKES = ("review.miss_rate=0.3", "review.shift_rate=0.5", "review.shift_points=3", "review.spurious_rate=0.3")


class Run:
    """A step's run, and its record, that keep artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, path: Path, folder: str = "") -> None:
        shutil.copytree(path, self.folder / folder)

    def fetch(self, path: str, scratch: Path) -> Path:
        return Path(shutil.copytree(self.folder / path, scratch / path))


def irregular(seed: int, labelled: bool = True) -> Series:
    """Steps of 1 s at first and of 60 s later, with gaps: an excerpt's median step is not that of the whole."""
    rng = np.random.default_rng(seed)
    steps = np.concatenate((rng.integers(1, 3, 300), rng.choice([60, 60, 61, 5000], 500)))
    stamps = np.cumsum(steps).astype(np.int64) * 10**9
    mask = np.convolve(rng.random(800) < 0.02, np.ones(9), "same") > 0
    labels = mask_to_intervals(mask, stamps) if labelled else None
    return Series(f"P{seed}", stamps, rng.normal(size=(800, 1)), labels=labels, source="made:", notes={"missing": 1})


def drawn(series: list[Series]) -> list[Choice]:
    rng = np.random.default_rng(0)
    windows = [w for s in series for w in cut(s, 40)]
    picked = sorted(rng.choice(len(windows), 30, replace=False))
    return [
        Choice(windows[k], 0.5, "mix", Purpose.TRAIN,
               (Proposal(clip(windows[k].series.labels or (), *windows[k].span)[:1], Origin("d", "d:1")),), 0.5)
        for k in picked
    ]  # fmt: skip


@pytest.mark.parametrize("mistakes", [(), MISTAKES])
def test_answers_and_dataset_are_those_of_the_whole_series(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistakes: tuple[str, ...]
) -> None:
    made = bench("source=synthetic", "review=simulated", *mistakes)
    series = [irregular(k) for k in range(3)]
    choices, run = drawn(series), Run(tmp_path)
    queue.keep_queue(run, choices, 25, labelled=True)  # type: ignore[arg-type]
    monkeypatch.setattr(queue, "read_series", lambda *_: pytest.fail("the source is read again"))
    kept, reading = queue.queue_with_reading(made, run)  # type: ignore[arg-type]
    assert reading is None
    assert any(len(c.window.series) < 800 for c in kept), "excerpts"
    own = {Series(c.window.point_id, c.window.series.timestamps, c.window.series.values).step for c in kept}
    assert own - {s.step for s in series}, "whose own step would be another"
    reviewer = SimulatedReviewer(made.review)
    before, after = reviewer.pull(choices), reviewer.pull(kept)
    assert [(r.state, r.intervals, r.annotations) for r in after] == [
        (r.state, r.intervals, r.annotations) for r in before
    ]
    assert [c.window.span for c in kept] == [c.window.span for c in choices]
    one, other = (build(r, Purpose.TRAIN, 25) for r in (before, after))
    assert one.digest == other.digest
    for a, b in zip(one.windows, other.windows, strict=True):
        assert (a.window.start, a.window.stop, a.window.series.digest) == (
            b.window.start, b.window.stop, b.window.series.digest
        )  # fmt: skip


def test_a_queue_without_labels_is_answered_from_the_source_as_before(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench("source=synthetic", "review=simulated")
    series = [irregular(k) for k in range(3)]
    choices, run = drawn(series), Run(tmp_path)
    queue.keep_queue(run, choices, 25, labelled=False)  # type: ignore[arg-type]
    source: Any = None
    summary = ReadSummary(source="made:", count=3)
    monkeypatch.setattr(queue, "read_series", lambda *_: Reading(series, source, summary))
    kept, reading = queue.queue_with_reading(made, run)  # type: ignore[arg-type]
    assert reading is not None and [c.window.series for c in kept] == [c.window.series for c in choices]
    people = bench("source=synthetic", "review=label_studio")
    assert queue.queue_with_reading(people, run)[1] is None  # type: ignore[arg-type]


def test_unlabelled_series_stay_so_and_damage_is_named(bench: Make, tmp_path: Path) -> None:
    made = bench("source=synthetic", "review=simulated")
    run = Run(tmp_path)
    queue.keep_queue(run, drawn([irregular(0), irregular(1, False)]), 25, labelled=True)  # type: ignore[arg-type]
    kept = queue.queue_of(made, run)  # type: ignore[arg-type]
    assert {c.window.point_id: c.window.series.labels is None for c in kept} == {"P0": False, "P1": True}
    shared: dict[int, list[Window]] = {}
    for choice in kept:
        shared.setdefault(id(choice.window.series), []).append(choice.window)
    assert any(len(windows) > 1 for windows in shared.values()), "windows whose excerpts touch share one"
    (tmp_path / "queue" / queue.LABELS).write_text(json.dumps([{"window_id": "x"}]))
    with pytest.raises(DatasetError, match="labels of the review queue"):
        queue.queue_of(made, run)  # type: ignore[arg-type]
