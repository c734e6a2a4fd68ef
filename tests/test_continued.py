"""Series that have grown: to the bit what a full pass under the same state gives, and when a state is fitted anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_detectors_patch import TINY, make_series

from tsad.core.memory import NormalMemory, normal_memory
from tsad.core.series import Series, Window
from tsad.detectors.evidence import continued
from tsad.detectors.evidence.channels import CHANNELS, INDEX, SECOND_EDITION, evidence_of, rows_of
from tsad.detectors.evidence.continued import Continued, SeriesState, continued_evidence
from tsad.detectors.evidence.course import Tail
from tsad.detectors.evidence.examined import channel_evidence
from tsad.detectors.evidence.remembered import MEMORY_ROWS
from tsad.detectors.patch import keeping
from tsad.detectors.patch.continued import Looked, Passes
from tsad.detectors.patch.detector import PatchDetector

STRIDE, BLEND = 56, 0.5


def wave(points: int, period: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(points) * 2 * np.pi / period) + 0.3 * rng.standard_normal(points)


def holed(points: int) -> np.ndarray:
    x = wave(points, 50)
    x[3000:3100] = np.nan
    x[points * 7 // 10 - 20 : points * 7 // 10 + 20] = np.nan  # over where the first pass ends
    x[np.random.default_rng(1).random(points) < 0.01] = np.nan
    return x


SERIES = {
    "a period": wave(6000, 40.3), "a long period": wave(12000, 300.7), "gaps": holed(6000),
    "no period": np.random.default_rng(0).standard_normal(5000).cumsum(), "short": wave(700, 20),
    "channels": np.stack([wave(4000, 60), wave(4000, 33, 1) + 0.5 * wave(4000, 60)], axis=1),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_evidence_of_a_grown_series_is_that_of_a_full_pass_to_the_bit(name: str) -> None:
    series = make_series(SERIES[name])
    seen = len(series) * 7 // 10
    state = SeriesState.new(series.slice(0, seen))
    kept = continued_evidence(series.slice(0, seen), state, CHANNELS, None)
    ordinary = evidence_of(series.values[:seen, 0], [n for n in CHANNELS if not n.startswith("others")])
    away = np.abs(kept[0].evidence.rows.astype(int) - ordinary.rows)
    own = [row for row, n in enumerate(CHANNELS) if not n.startswith("others")]
    assert away[own].max() <= 1 and (away[own] > 0).mean() < 1e-4  # last bits of a product, at the very end
    state = state.closed()
    for step in np.random.default_rng(len(series)).choice([1, 7, 133, 700], 3, replace=False):
        grown = series.slice(0, min(len(series), seen + int(step)))
        full = continued_evidence(grown, state, CHANNELS, None)
        kept = continued_evidence(grown, state, CHANNELS, (seen, [c.before for c in kept]))
        seen = len(grown)
        assert [same(a, b) for a, b in zip(kept, full, strict=True)] == [True] * len(full)


def reviewed(series: Series, *windows: tuple[int, int]) -> NormalMemory:
    return normal_memory([(Window(series, a, b), np.zeros(b - a, bool)) for a, b in windows], 8192)


@pytest.mark.parametrize("name", ["a period", "gaps", "channels"])
def test_what_people_called_normal_is_compared_with_as_in_a_full_pass(name: str) -> None:
    series = make_series(SERIES[name])
    seen = len(series) * 7 // 10
    memory = reviewed(series, (200, 900), (seen - 300, seen + 200))  # one over where the first pass ends
    state = SeriesState.new(series.slice(0, seen))
    kept = continued_evidence(series.slice(0, seen), state, CHANNELS, None, memory)
    ordinary = channel_evidence(series.slice(0, seen), CHANNELS, memory)
    for one, (_, other) in zip(kept, ordinary, strict=True):
        away = np.abs(one.evidence.rows.astype(int) - other.rows)
        assert away.max() <= 1 and (away > 0).mean() < 1e-4 and other.rows[[INDEX[n] for n in MEMORY_ROWS]].any()
    state = state.closed()
    for step in (1, 90, 400):
        grown = series.slice(0, seen + step)
        full = continued_evidence(grown, state, CHANNELS, None, memory)
        kept = continued_evidence(grown, state, CHANNELS, (seen, [c.before for c in kept]), memory)
        seen = len(grown)
        assert [same(a, b) for a, b in zip(kept, full, strict=True)] == [True] * len(full)


def test_a_pass_begins_once_wherever_the_one_before_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    series, begun = make_series(wave(12_000, 40.3)), []

    def counted(x: Tail, *given: Any) -> Iterator[tuple[str, Tail]]:
        begun.append(x.begin)
        return rows_of(x, *given)

    monkeypatch.setattr(continued, "rows_of", counted)
    for seen in range(11_000, 11_256, 15):
        state, begun[:] = SeriesState.new(series.slice(0, seen)), []
        kept = continued_evidence(series.slice(0, seen), state, SECOND_EDITION, None)
        continued_evidence(series, state.closed(), SECOND_EDITION, (seen, [c.before for c in kept]))
        assert len(begun) == 2 and begun[1] > 5000, (seen, begun)


def same(one: Continued, other: Continued) -> bool:
    sums = other.before.sums
    assert set(one.before.sums) == set(sums)
    assert all(np.array_equal(one.before.sums[name], sums[name]) for name in sums)
    return np.array_equal(one.evidence.rows, other.evidence.rows) and one.evidence.period == other.evidence.period


def test_a_state_has_a_digest_and_holds_all_that_scoring_takes_from_the_whole() -> None:
    series = make_series(SERIES["channels"])
    state, again = SeriesState.new(series), SeriesState.new(series)
    for one in (state, again):
        continued_evidence(series, one, CHANNELS, None)
    assert state.digest == again.digest == SeriesState.of(state.about(), state.arrays()).digest
    figures = dict(state.states[0].figures)
    figures["scale.0"] = figures["scale.0"] + 1e-9
    changed = replace(state, states=(replace(state.states[0], figures=figures), state.states[1]))
    assert changed.digest != state.digest and replace(state, points=7).digest != state.digest
    with pytest.raises(KeyError, match="the state holds no"):
        continued_evidence(series, SeriesState.new(series).closed(), CHANNELS, None)


def test_a_state_says_what_it_does_not_fit() -> None:
    series = make_series(SERIES["channels"])
    state = SeriesState.new(series.slice(0, 3000))
    assert state.misfit(series) == ""
    assert "another series" in state.misfit(replace(series, point_id="T2.PV"))
    assert "another series" in state.misfit(series.slice(0, 2000))
    values = series.values.copy()
    values[3500, 0] = np.nan
    assert "missing" in state.misfit(replace(series, values=values))
    assert "extreme" in state.misfit(replace(series, values=series.values * 1e200))
    assert "varies" in state.misfit(replace(series, values=series.values * [1.0, 0.0]))


# ---- the patch detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> PatchDetector:
    """A tiny network with random weights that names its kinds."""
    import torch
    from safetensors.torch import save_file

    from tsad.detectors.patch.configuration import PatchConfig
    from tsad.detectors.patch.model import PatchModel

    torch.manual_seed(0)
    model = PatchModel(PatchConfig(**TINY, recipe={"kinds": [f"kind {k}" for k in range(20)]}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    folder = tmp_path_factory.mktemp("weights")
    model.config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors")
    return PatchDetector(weights=str(folder), batch_size=32, device="cpu", stride=STRIDE, blend=BLEND, refit_every=0.0)


def passes_of(detector: PatchDetector) -> Passes:
    return Passes(detector._scoring(), "cpu", detector._seen(), STRIDE, BLEND)


def kept_in(folder: Path, detector: PatchDetector) -> keeping.KeptSeries:
    (file,) = folder.glob("*.safetensors")
    return keeping.read(file, keeping.identity_of(detector._scoring(), STRIDE, BLEND))


@pytest.mark.parametrize("name", ["a period", "gaps", "channels"])
def test_scores_of_a_grown_series_are_those_of_a_full_pass_to_the_bit(
    name: str, detector: PatchDetector, tmp_path: Path
) -> None:
    series = make_series(SERIES[name])
    seen = len(series) * 7 // 10
    going = detector.continuing(tmp_path, 0.5)
    (first,), (ordinary,) = (d.examine([series.slice(0, seen)]) for d in (going, detector))
    assert np.abs(first.scores - ordinary.scores).max() < 1e-5 and ordinary.state is None
    assert first.state is not None and first.state.fitted_points == seen
    for step in (1, 70, 300):
        seen += step
        (grown,) = going.examine([series.slice(0, seen)])
        kept = kept_in(tmp_path, going)
        full = passes_of(going).look(series.slice(0, seen), kept.state, None)
        assert grown.state is not None and grown.state.digest == first.state.digest and not grown.state.refitted
        assert np.array_equal(grown.scores, full.together) and grown.kinds is not None
        assert np.array_equal(grown.kinds.table, full.kinds) and kept.points == seen
        assert all_same(kept, full)


def all_same(kept: keeping.KeptSeries, full: Looked) -> bool:
    pairs = [(a, b) for one, other in zip(kept.channels, full.kept, strict=True)
             for a, b in zip(one.scales, other.scales, strict=True)]  # fmt: skip
    return all(np.array_equal(a.logits, b.logits) and np.array_equal(a.stitched, b.stitched) for a, b in pairs)


def refit(detector: PatchDetector, series: Series) -> str:
    (examined,) = detector.examine([series])
    assert examined.state is not None
    return examined.state.refitted


def test_a_state_is_fitted_anew_by_rule_and_says_what_changed(
    detector: PatchDetector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series, going = make_series(SERIES["a period"]), detector.continuing(tmp_path, 0.1)
    assert "nothing is kept" in refit(going, series.slice(0, 1000))
    assert refit(going, series.slice(0, 1099)) == ""
    with caplog.at_level(logging.INFO, logger="tsad"):
        (examined,) = going.examine([series.slice(0, 1100)])
    state = examined.state
    assert state is not None and state.compared == 1099 and "grown from 1,000 to 1,100" in state.refitted
    assert 0 < state.mean_change <= state.largest_change and state.change() in caplog.text
    (before,) = detector.continuing(tmp_path / "other", 0.1).examine([series.slice(0, 1100)])
    assert before.state is not None and before.state.digest == state.digest  # all that counts is the series
    edited = series.values.copy()
    edited[500] += 1.0
    assert "points before have changed" in refit(going, replace(series, values=edited).slice(0, 1101))
    assert "shorter" in refit(going, series.slice(0, 900))
    assert not list((tmp_path / "none").glob("*"))
    assert next(detector.continuing(tmp_path / "none", 0.0).examine([series.slice(0, 900)])).state is None
    assert next(going.examine([make_series(np.ones(50))])).state is None  # nothing varies


def test_what_is_damaged_or_of_another_network_is_fitted_anew_and_said(
    detector: PatchDetector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series, going = make_series(SERIES["short"]), detector.continuing(tmp_path, 0.5)
    refit(going, series)
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    for content in (b"", whole[: len(whole) // 2], bytes(flipped), b"nonsense" * 100):
        file.write_bytes(content)
        assert "damaged" in refit(going, series) and "cannot be used" in caplog.text
        assert refit(going, series) == ""
    with pytest.raises(ValueError, match="another network"):
        keeping.read(file, "else")
    other = PatchDetector(**(detector.options() | {"blend": 0.7})).continuing(tmp_path, 0.5)
    assert "nothing is kept" in refit(other, series) and len(list(tmp_path.glob("*.safetensors"))) == 2


def test_another_memory_is_another_state(detector: PatchDetector, tmp_path: Path) -> None:
    series, going = make_series(SERIES["a period"]), detector.continuing(tmp_path, 0.5)
    assert "nothing is kept" in refit(going, series.slice(0, 1000)) and refit(going, series.slice(0, 1010)) == ""
    reviewing = going.with_memory(reviewed(series, (100, 400)))
    assert "nothing is kept" in refit(reviewing, series.slice(0, 1010))
    assert refit(reviewing, series.slice(0, 1020)) == ""
    assert "nothing is kept" in refit(reviewing.with_memory(reviewed(series, (100, 401))), series.slice(0, 1020))
    assert refit(reviewing.with_memory(None), series.slice(0, 1020)) == ""


def test_refit_every_is_no_part_of_what_a_version_is(detector: PatchDetector) -> None:
    options = detector.options()
    assert options["refit_every"] == 0.0
    assert PatchDetector(**(options | {"refit_every": 0.2})).config_hash == detector.config_hash
    del options["refit_every"]  # a version registered before
    assert PatchDetector(**options).settings.refit_every == 0.0
