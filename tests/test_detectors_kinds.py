"""Kinds: what the kind head says of many windows becomes a note beside each proposal, and nothing else changes."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tsad.core.series import Series
from tsad.core.types import ANOMALY, NS_PER_SECOND
from tsad.detectors.evidence.examined import Examined, Kinds
from tsad.detectors.patch.kinds import SLOT, KindTable, confusion, kind_names
from tsad.detectors.proposals.proposer import default_detection
from tsad.synthetic.coupled import MACHINE_KINDS

NAMES = ("normal", "spike", "drift")


def logits(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.log(np.array(rows, np.float32))


def test_windows_are_put_together_by_the_points_they_cover() -> None:
    table = KindTable(NAMES, 128, 32)
    table.add(logits((0.9, 0.1, 0.0001), (0.2, 0.7, 0.1), (0.8, 0.1, 0.1)), 0, 96, 1)
    table.add(logits((0.1, 0.2, 0.7)), 96, 20, 1)  # a padded window counts as far as it has points
    made = table.kinds()
    assert made is not None and made.names == ("spike", "drift") and made.table.shape == (4, 2)
    assert made.name(32, 64) == ("spike", pytest.approx(0.875, abs=0.01))
    assert made.name(100, 110)[0] == "drift"
    assert np.allclose(made.table[:, 0], (0.1, 0.7, 0.1, 0.2), atol=1e-3)


def test_a_coarse_scale_spreads_over_its_points_and_scales_add_up() -> None:
    table = KindTable(NAMES, 256, 32)
    table.add(logits((0.5, 0.3, 0.2), (0.1, 0.1, 0.8)), 0, 64, 4)  # 256 points as 64
    table.add(logits(*[(0.4, 0.4, 0.2)] * 8), 0, 256, 1)
    made = table.kinds()
    assert made is not None
    assert made.name(0, 128)[0] == "spike" and made.name(128, 256)[0] == "drift"


def test_a_stretch_of_one_point_has_the_kind_of_its_slot() -> None:
    table = np.zeros((3, 2), np.float16)
    table[1] = 0.1, 0.6
    assert Kinds(("spike", "drift"), table, SLOT).name(SLOT, SLOT + 1) == ("drift", pytest.approx(6 / 7, abs=1e-3))


def test_values_tell_a_dip_from_a_spike() -> None:
    kinds = Kinds(("spike", "dip", "drift"), np.array([[0.5, 0.1, 0.3]] * 3, np.float16), SLOT)
    assert kinds.name(0, 9)[0] == kinds.name(0, 9, above=True)[0] == "spike"
    assert kinds.name(0, 9, above=False) == ("dip", pytest.approx(6 / 9, abs=1e-3))
    assert Kinds(("spike", "drift"), kinds.table[:, :2], SLOT).name(0, 9, above=False)[0] == "spike", "no dip there"
    values = np.random.default_rng(0).normal(size=(400, 1))
    values[[100, 101, 300, 301]] += np.array([[40.0], [40.0], [-40.0], [-40.0]])
    series = Series("x", np.arange(400) * NS_PER_SECOND, values)
    table = np.full((13, 2), 0.5, np.float16)
    examined = replace(Examined.plain(series, np.zeros(400)), kinds=Kinds(("spike", "dip"), table, SLOT))
    told = [examined.kind_of(start, start + 4) for start in (99, 299)]
    assert told == [("spike", pytest.approx(1.0)), ("dip", pytest.approx(1.0))]
    assert Examined.plain(series, np.zeros(400)).kind_of(99, 103) is None, "nobody can tell"


def test_weights_that_do_not_name_their_kinds_tell_none() -> None:
    assert kind_names({"kinds": ["normal", "spike"]}, 2) == ("normal", "spike")
    for recipe in (None, {}, {"kinds": ["normal"]}, {"kinds": None}):
        assert kind_names(recipe, 2) == ()
    table = KindTable((), 100, 32)
    table.add(np.zeros((4, 2), np.float32), 0, 100, 1)
    assert table.kinds() is None


def test_the_confusion_table_counts_pairs() -> None:
    counts = confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_proposals_of_patch_carry_their_kind_as_a_note() -> None:
    from tsad.detectors.patch.detector import PatchDetector

    rng = np.random.default_rng(0)
    values = np.sin(np.arange(3000) / 20)[:, None] + 0.05 * rng.standard_normal((3000, 1))
    values[1500:1503] += 6
    values[2200:2300] += 0.8 * rng.standard_normal((100, 1))
    series = Series("a", np.arange(3000, dtype=np.int64) * NS_PER_SECOND, values)
    detector = PatchDetector(weights="", batch_size=8, device="cpu", stride=512, blend=0.5)
    detection = default_detection(detector, series)
    assert detection.candidates
    for interval in (*detection.intervals, *detection.candidates):
        kind, _, share = interval.note.rpartition(" ")
        assert kind in MACHINE_KINDS[1:] and share.startswith("(") and share.endswith("%)")
        assert interval.label == ANOMALY


def test_the_benchmark_prints_accuracy_and_who_is_taken_for_whom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    bench = importlib.import_module("benchmarks.kinds")
    monkeypatch.setattr(bench, "LENGTHS", (1024,))
    monkeypatch.setattr("sys.argv", ["kinds", "--series", "12"])
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("labelled stretches") and 0.1 < float(lines[1].split()[2]) <= 1
    rows = {line.rsplit(None)[0]: line for line in lines[4:]}
    assert len(lines[4:]) == len(MACHINE_KINDS) - 1 and "spike" in rows
