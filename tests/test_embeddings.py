"""tsad.embeddings: vectors of windows, computed once per content, never mixed with those of another base."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tsad.core.errors import DetectorError, EmbeddingError
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray
from tsad.core.windows import cut
from tsad.detectors.patch.detector import PatchDetector
from tsad.embeddings.hidden import HiddenEmbedding
from tsad.embeddings.kept import KeptEmbedding
from tsad.embeddings.shape import BANDS, COLUMNS, ShapeEmbedding, resampled
from tsad.embeddings.stretches import Usual, around, outlines_of, stretches_of
from tsad.embeddings.table import FARTHEST, Embedded, centre_radii, near_identical
from tsad.files.locate import shipped
from tsad.loop.embedding import base_embedding
from tsad.sources.cache import clean, states_folder, usage


def series(values: np.ndarray, name: str = "P") -> Series:
    table = values if values.ndim == 2 else values[:, None]
    channels = tuple(f"c{k}" for k in range(table.shape[1]))
    return Series(name, np.arange(len(table), dtype=np.int64) * 10**9, table.astype(float), channels)


class Counting:
    """The shape embedding under an identity, and how many stretches it was asked for."""

    def __init__(self, identity: str = "counting") -> None:
        self.name, self.identity, self.asked = "counting", identity, 0

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        self.asked += len(stretches)
        return ShapeEmbedding().embed(stretches)


def bumps(seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values, at = rng.normal(scale=0.1, size=120), np.arange(120)
    if kind == "spike":
        values[60] += 4
    elif kind == "step":
        values[60:] += 4
    else:
        values += np.sin(at / 2)
    return values


def test_what_looks_alike_lies_near_whatever_its_level_and_scale() -> None:
    kinds = ("spike", "step", "wave")
    stretches = [bumps(k, kind) * (1 + k) + 50 * k for kind in kinds for k in range(4)]
    table = Embedded("x", ShapeEmbedding().embed(stretches))
    assert table.vectors.shape == (12, COLUMNS + BANDS)
    assert np.allclose(np.linalg.norm(table.vectors, axis=1), 1.0)
    away = table.distances(np.arange(12))
    same = np.repeat(np.arange(3), 4)[:, None] == np.repeat(np.arange(3), 4)[None, :]
    assert away[same].max() < away[~same].min() and np.allclose(np.diag(away), 0, atol=1e-6)
    again = ShapeEmbedding().embed([stretches[0], np.interp(np.arange(240) / 2, np.arange(120), stretches[0])])
    assert np.linalg.norm(again[0] - again[1]) < 0.6, "another sampling rate changes the spectrum, hardly the shape"


def test_missing_and_constant_values() -> None:
    values = bumps(0, "spike")
    holed = values.copy()
    holed[10:15] = np.nan
    vectors = ShapeEmbedding().embed([values, holed, np.full(50, 7.0), np.full(9, np.nan), values[:3]])
    assert np.linalg.norm(vectors[0] - vectors[1]) < 0.3 and not vectors[2:4].any() and np.isfinite(vectors).all()
    away = Embedded("x", vectors).distances(np.array([0, 2]))
    assert away[0, 2] == away[1, 0] == FARTHEST and away[1, 3] == 0.0
    assert resampled(np.arange(6.0), 3) == pytest.approx([0.5, 2.5, 4.5])
    assert resampled(np.arange(2.0), 4) == pytest.approx([0, 0, 1, 1])


def test_a_window_of_several_channels_is_looked_at_where_it_moves() -> None:
    table = np.random.default_rng(0).normal(size=(200, 3)) * [1, 100, 1]
    table[150, 2] = 30.0
    whole = series(table)
    windows = [Window(whole, 140, 160), Window(whole, 0, 20)]
    first, second = stretches_of(windows)
    assert np.array_equal(first, table[140:160, 2]) and len(second) == 20
    assert (around(whole, 150, 151).start, around(whole, 150, 151).stop) == (134, 167)
    assert (around(whole, 100, 140).start, around(whole, 100, 140).stop) == (60, 180)
    assert around(whole, 0, 3).start == 0 and around(whole, 199, 200).stop == 200
    usual = Usual.of(series(np.column_stack([np.full(9, np.nan), np.full(9, 5.0)])))
    assert usual.level.tolist() == [0, 5] and usual.spread.tolist() == [1, 1]


def test_windows_that_are_all_but_the_same_are_one_group() -> None:
    rng = np.random.default_rng(1)
    cycle = np.tile(np.sin(np.arange(64) / 64 * 2 * np.pi), 20)
    windows = cut(series(cycle + rng.normal(scale=1e-3, size=len(cycle))), 64)
    odd = cycle.copy()
    odd[64 * 5 + 3] += 1.0
    others = [*cut(series(odd, "Q"), 64), *cut(series(rng.normal(size=640), "noise"), 64)]
    groups = near_identical(outlines_of([*windows, *others]), 0.1)
    assert len(set(groups[:20])) == 1 and groups[0] == 0
    assert groups[25] == 25 and {int(g) for g in np.delete(groups[20:40], 5)} == {0}
    assert len(set(groups[40:])) == 10, "noise is never the same"
    assert len(set(near_identical(outlines_of(windows), 0.0))) == 20
    flat = cut(series(np.repeat([1.0, 9.0, 1.0], 64)), 64)
    assert near_identical(outlines_of(flat), 0.1).tolist() == [0, 1, 0], "stuck elsewhere is not the same"
    gone = series(np.concatenate((np.full(64, np.nan), np.full(64, np.nan), np.arange(64.0))))
    assert near_identical(outlines_of(cut(gone, 64)), 0.1).tolist() == [0, 0, 2]
    two = series(np.zeros((64, 2)), "two")
    assert near_identical(outlines_of([*cut(series(np.zeros(64)), 64), *cut(two, 64)]), 0.1).tolist() == [0, 1]


def test_centres_lie_apart_and_what_people_know_is_a_centre_too() -> None:
    angle = np.array([0.0, 0.05, 2.0, 2.05, 4.0, 4.02])
    table = Embedded("x", np.column_stack((np.cos(angle), np.sin(angle))))
    radii = centre_radii(table, 3, 0, np.array([], np.int64))
    centres = np.sort(np.argsort(-radii, kind="stable")[:3])
    assert centres[0] == 0 and centres[1] in (2, 3) and centres[2] in (4, 5)
    assert radii[[0, 1]].tolist() == [FARTHEST, pytest.approx(0.05, abs=1e-3)]
    known = centre_radii(table, 2, 0, np.array([0]))
    assert set(np.argsort(-known)[:2].tolist()) <= {2, 3, 4, 5} and known[1] < 0.06
    assert len(centre_radii(table, 99, 1, np.array([], np.int64))) == 6


def test_vectors_are_computed_once_per_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(2)
    whole, model = series(rng.normal(size=640)), Counting()
    windows, folder = cut(whole, 64), states_folder(tmp_path)
    first, kept = KeptEmbedding(model, folder).of(windows)
    assert (kept, model.asked, len(first)) == (0, 10, 10)
    shifted = replace(whole, timestamps=whole.timestamps + 5, point_id="other")
    again, kept = KeptEmbedding(model, folder).of([*cut(shifted, 64), *cut(series(rng.normal(size=64)), 64)])
    assert (kept, model.asked) == (10, 11), "the same values at another time on another point"
    assert np.array_equal(first.vectors, again.vectors[:10])
    twins = cut(series(np.tile(rng.normal(size=64), 3)), 64)
    assert KeptEmbedding(model, folder).of(twins)[1] == 0 and model.asked == 12, "what is there twice is embedded once"
    assert usage(folder.parent).entries == 3
    for file in folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-3] + b"xyz")
    with caplog.at_level(logging.WARNING, "tsad"):
        mended, kept = KeptEmbedding(model, folder).of(windows)
    assert (kept, model.asked) == (0, 22) and np.array_equal(mended.vectors, first.vectors)
    assert "computed again" in caplog.text
    assert clean(folder.parent).entries >= 3 and KeptEmbedding(model, folder).of(windows)[1] == 0
    assert KeptEmbedding(model, folder).of([])[0].vectors.shape == (0, 0)


def test_embeddings_of_another_base_are_never_mixed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    windows = cut(series(np.random.default_rng(3).normal(size=640)), 64)
    old, new = Counting("base:old"), Counting("base:new")
    first, _ = KeptEmbedding(old, tmp_path).of(windows)
    second, kept = KeptEmbedding(new, tmp_path).of(windows)
    assert kept == 0 and new.asked == 10 and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(EmbeddingError, match=r"vectors of base:new cannot be compared with those of base:old"):
        first.with_others(second)
    assert len(first.with_others(first)) == 20
    before, after = sorted(tmp_path.iterdir()), KeptEmbedding(new, tmp_path)
    foreign = next(f for f in before if not f.name.startswith(after._prefix))
    foreign.rename(tmp_path / f"{after._prefix}copied.safetensors")
    with caplog.at_level(logging.WARNING, "tsad"):
        assert after.of(windows)[1] == 10
    assert "another base or recipe" in caplog.text


@pytest.fixture(scope="module")
def patch() -> PatchDetector:
    given = yaml.safe_load((shipped("conf") / "detector" / "patch.yaml").read_text("utf-8"))
    return PatchDetector(**{k: v for k, v in given.items() if k != "_target_"})


def test_the_base_model_embeds_a_stretch_by_itself(patch: PatchDetector, tmp_path: Path) -> None:
    stretches = [bumps(0, "spike"), bumps(1, "spike"), bumps(0, "wave"), np.full(40, 3.0), np.tile(bumps(2, "step"), 9)]
    model = base_embedding(patch, tmp_path)
    assert isinstance(model, HiddenEmbedding) and model.identity.endswith(f":{patch.base_reference()['sha256']}")
    vectors = model.embed(stretches)
    assert vectors.shape == (5, 256) and not vectors[3].any() and np.isfinite(vectors).all()
    assert np.allclose(model.embed(stretches[1:2])[0], vectors[1], atol=1e-4), "whatever it is embedded beside"
    table = Embedded(model.identity, vectors)
    away = table.distances(np.array([0]))[0]
    assert away[1] == min(away[[1, 2, 4]]) and away[3] == FARTHEST
    few = Embedded(model.identity, vectors[:2]).distances(np.array([0]))[0]
    assert few[1] == pytest.approx(away[1]), "whatever it is compared beside"
    assert len(list(tmp_path.glob("embedding_*"))) == 1, "what is usual for the network is kept"


def test_directions_are_taken_from_what_is_usual_for_the_network(tmp_path: Path) -> None:
    asked = list[int]()

    def states(stretches: Sequence[FloatArray]) -> FloatArray:
        asked.append(len(stretches))
        means = np.array([np.nanmean(np.abs(np.diff(v))) for v in stretches])
        return np.column_stack((np.full(len(means), 7.0), 100 + means, -means)) * (means > 0)[:, None]

    first = HiddenEmbedding("d", states, tmp_path).embed([np.arange(9.0) * 1e3, np.arange(9.0) * 1e-3, np.zeros(4)])
    assert np.allclose(np.linalg.norm(first, axis=1), [1, 1, 0])
    assert first[0] @ first[1] < 0, "on either side of the usual, not both near (7, 100, 0)"
    assert asked == [3, 72]
    again = HiddenEmbedding("d", states, tmp_path).embed([np.arange(9.0) * 1e3])
    assert np.allclose(again[0], first[0]) and asked == [3, 72, 1], "kept for the next process"
    assert HiddenEmbedding("e", states, tmp_path).identity != HiddenEmbedding("d", states, tmp_path).identity


def test_a_detector_without_a_base_says_so(tmp_path: Path) -> None:
    from tsad.detectors.robust_zscore import RobustZScore

    plain = RobustZScore(half=6.0, window=0)
    with pytest.raises(EmbeddingError, match="robust_zscore has no base model"):
        base_embedding(plain, tmp_path)
    with pytest.raises(DetectorError, match="embedding=shape"):
        plain.hidden_states([np.zeros(4)])
