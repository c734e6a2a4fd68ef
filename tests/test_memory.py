"""What people have called normal: kept with a version, compared with, never with itself, and never gold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import TrainingError, WeightsError
from tsad.core.intervals import runs_of
from tsad.core.memory import MARGIN, PIECE, NormalMemory, normal_memory, remembered
from tsad.core.reviews import Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.detectors.evidence.channels import FAR, INDEX, Beside, evidence_of, scale_of, scaled_values
from tsad.detectors.evidence.course import Tail
from tsad.detectors.evidence.examined import Examined, channel_evidence
from tsad.detectors.evidence.feature_neighbours import (
    LENGTHS,
    NEAREST,
    REFERENCES,
    Described,
    Length,
    described,
    own_distances,
)
from tsad.detectors.evidence.remembered import MEMORY_ROWS, Remembered, remembered_of
from tsad.detectors.proposals import proposer as proposers
from tsad.detectors.proposals.candidates import find_candidates
from tsad.detectors.proposals.features import committee
from tsad.detectors.proposals.features import memory as features
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.table import FEATURES, PLACE
from tsad.detectors.proposals.fitting import LabelledLook, default_weights, remembering_look
from tsad.detectors.proposals.proposer import default_proposer, look_at
from tsad.detectors.robust_zscore import RobustZScore
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.common import load_series
from tsad.loop.gold import find_gold
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.steps.curve_memory import Recall
from tsad.steps.curve_protocol import Line, Split, answers, by_calibrator, measured, subject_of
from tsad.tracking.memory_file import read_memory, write_memory
from tsad.tracking.pyfunc_model import load_folder

Make = Callable[..., Workbench]


def series_of(total: int = 3000, seed: int = 0, channels: int = 1, name: str = "p") -> Series:
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(total) / 9)[:, None] + 0.2 * rng.standard_normal((total, channels))
    names = tuple(f"c{k}" for k in range(channels)) if channels > 1 else ("value",)
    return Series(name, np.arange(total, dtype=np.int64) * NS_PER_SECOND, values, names)


def at(series: Series, *windows: tuple[int, int], most: int = 8192) -> NormalMemory:
    """The memory of windows in which nothing is abnormal."""
    return normal_memory([(Window(series, a, b), np.zeros(b - a, bool)) for a, b in windows], most)


def only(memory: NormalMemory) -> list[tuple[int, int]]:
    """First position and end of each stretch of a memory of one series of one point per second."""
    (own,) = memory.stretches.values()
    return [(int(s.series.timestamps[0] // NS_PER_SECOND), int(s.series.timestamps[-1] // NS_PER_SECOND) + 1)
            for s in own]  # fmt: skip


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_reviewed_windows_without_what_people_drew_and_a_margin_are_kept() -> None:
    series, drawn = series_of(), np.zeros(200, bool)
    drawn[50:60], drawn[197:] = True, True
    memory = normal_memory([(Window(series, 1000, 1200), drawn), (Window(series, 300, 310), np.ones(10, bool))], 8192)
    assert only(memory) == [(1000, 1050 - MARGIN), (1060 + MARGIN, 1197 - MARGIN)]
    assert all(s.window == (1000 * NS_PER_SECOND, 1200 * NS_PER_SECOND) for s in memory.of("p"))
    assert memory.of("p")[0].series.labels is None and memory.of("another") == ()
    assert np.array_equal(memory.of("p")[1].series.values, series.values[1068:1189])


def test_of_many_points_some_are_drawn_and_always_the_same() -> None:
    series = series_of(6000)
    windows = [(a, a + 500) for a in range(0, 6000, 500)]
    kept, again, turned = at(series, *windows, most=1100), at(series, *windows, most=1100), at(series, *windows[::-1],
                                                                                             most=1100)  # fmt: skip
    assert PIECE < kept.points <= 1100 and only(kept) == only(again) == only(turned)
    assert all(b - a <= PIECE for a, b in only(kept)) and only(kept) == sorted(only(kept))
    assert at(series, *windows).points == 6000 and at(series, (0, 400), most=100).points == 100


def version(purpose: Purpose) -> DatasetVersion:
    series, odd = series_of(), Interval(120 * NS_PER_SECOND, 130 * NS_PER_SECOND)
    choice = Choice(Window(series, 100, 200), 1.0, "mix", purpose)
    return DatasetVersion("d" * 16, (ReviewedWindow(choice, (), ReviewState.CORRECTED, (odd,)),), purpose)


def test_gold_windows_are_never_remembered() -> None:
    kept = remembered(version(Purpose.TRAIN), 1000)
    assert kept is not None and only(kept) == [(100, 112), (138, 200)]
    assert remembered(version(Purpose.TRAIN), 0) is None
    with pytest.raises(TrainingError, match="Gold windows are never remembered"):
        remembered(version(Purpose.GOLD), 1000)


# --- what is compared with it ----------------------------------------------------------------------------------------


def told(series: Series, memory: NormalMemory) -> Remembered:
    known = remembered_of(series, 0, memory.of(series.point_id))
    assert known is not None
    return known.scaled(*scale_of(series.values[:, 0]), FAR)


def slow_distances(table: Described, known: Remembered, plain: np.ndarray) -> np.ndarray:
    """By the definition: sub-sequences of all pieces, those of a window that the query overlaps left out."""
    length, rate = table.length, table.length.rate
    references = []
    for piece in known.pieces:
        values = table.standard.values_of(piece.values)[: len(piece.values) // rate * rate].reshape(-1, rate)
        means = values.mean(axis=1).astype(np.float32)
        for start in range(0, len(means) - length.points + 1, length.stride):
            figures = table.standard.table(means[start : start + length.points].copy(), length.points, np.zeros(1, int))
            references.append((figures[0], piece.low, piece.high))
    assert 0 < len(references) <= REFERENCES
    out = []
    for row, start in enumerate(table.starts * rate):
        free = [f for f, low, high in references if start >= high or start + length.covered <= low]
        gaps = np.sort([np.linalg.norm(f.astype(float) - table.table[row]) for f in free])[:NEAREST]
        out.append(gaps.mean() if len(gaps) else plain[row])
    return np.array(out)


@pytest.mark.parametrize("length", [Length(8, 4), Length(32, 8), Length(32, 8, rate=4)])
@pytest.mark.parametrize("windows", [((400, 560),), ((400, 560), (1200, 1340))])
def test_distances_are_those_to_the_three_nearest_of_other_windows(
    length: Length, windows: tuple[tuple[int, int], ...]
) -> None:
    series = series_of(1600)
    known = told(series, at(series, *windows))
    (table,) = described(Tail(scaled_values(series.values[:, 0])), (length,), squashed=False)
    plain = own_distances(table)
    found = known.distances(table, plain)
    assert found is not None
    np.testing.assert_allclose(found, slow_distances(table, known, plain), rtol=1e-2, atol=2e-2)
    inside = (table.starts * length.rate < 560) & (table.starts * length.rate + length.covered > 400)
    assert np.array_equal(found[inside], plain[inside]) == (len(windows) == 1), "nothing left: as if not reviewed"


def test_a_reviewed_window_is_told_by_the_others_alone() -> None:
    series = series_of(1600)
    both, other = told(series, at(series, (400, 560), (1200, 1300))), told(series, at(series, (1200, 1300)))
    (table,) = described(Tail(scaled_values(series.values[:, 0])), (Length(16, 4),), squashed=True)
    plain = own_distances(table)
    first, second = both.distances(table, plain), other.distances(table, plain)
    assert first is not None and second is not None
    inside = (table.starts < 560) & (table.starts + 16 > 400)
    np.testing.assert_allclose(first[inside], second[inside], rtol=1e-5)
    assert (first[~inside] <= second[~inside] + 1e-4).mean() > 0.9, "elsewhere the more is known, the nearer"


def test_a_series_that_no_longer_holds_these_times_is_compared_with_them_all() -> None:
    whole = series_of(5000)
    memory, later = at(whole, (500, 1000)), whole.slice(2000, 5000)
    (piece,) = told(later, memory).pieces
    assert piece.low == piece.high == 0
    half = told(whole.slice(700, 5000), memory).pieces[0]
    assert (half.low, half.high) == (0, 300)
    for name in MEMORY_ROWS:
        assert next(channel_evidence(later, memory=memory))[1].row(name).any()


def test_other_rows_and_other_series_are_as_without_a_memory() -> None:
    series, other = series_of(), series_of(seed=1, name="q")
    memory = at(series, (500, 1000), (1500, 2000))
    plain, known = (next(channel_evidence(series, memory=m))[1] for m in (None, memory))
    recalled = [INDEX[name] for name in MEMORY_ROWS]
    assert not plain.rows[recalled].any() and known.rows[recalled].any(axis=1).all()
    assert np.array_equal(np.delete(plain.rows, recalled, 0), np.delete(known.rows, recalled, 0))
    without, beside = (next(channel_evidence(other, memory=m))[1] for m in (None, memory))
    assert np.array_equal(without.rows, beside.rows)


def test_it_tells_what_marked_points_tell_outside_what_was_reviewed() -> None:
    """The network was taught with points marked in the series itself."""
    series, normal = series_of(6000), np.zeros(6000, bool)
    normal[3000:4500] = True
    series.values[1000:1040] = 0.0
    marked = evidence_of(series.values[:, 0], beside=Beside(normal=normal))
    known = next(channel_evidence(series, memory=at(series, (3000, 4500))))[1]
    for name in MEMORY_ROWS:
        one, two = marked.row(name)[:2900], known.row(name)[:2900]
        assert np.corrcoef(one, two)[0, 1] > 0.8 and 950 < int(np.argmax(two)) < 1090, name


def test_channels_are_known_by_name_and_what_was_hardly_seen_is_left_out() -> None:
    series = series_of(2000, channels=3)
    series.values[200:330, 1] = np.nan
    memory = at(series, (100, 400))
    turned = Series("p", series.timestamps, series.values[:, ::-1], series.channels[::-1])
    for channel, name in enumerate(turned.channels):
        known = remembered_of(turned, channel, memory.of("p"))
        (piece,) = known.pieces if known else (None,)
        assert piece is not None and piece.observed.sum() == (170 if name == "c1" else 300)
    known = remembered_of(turned, 1, memory.of("p"))
    renamed = Series("p", series.timestamps, series.values, ("x", "y", "z"))
    assert known is not None and remembered_of(renamed, 0, memory.of("p")) is None
    (table,) = described(Tail(scaled_values(series.values[:, 0])), (LENGTHS["short"][0],), squashed=True)
    hidden = Remembered((type(known.pieces[0])(np.zeros(40), np.arange(40) > 37, 0, 0),))
    assert hidden.distances(table, own_distances(table)) is None


# --- features --------------------------------------------------------------------------------------------------------


def test_features_are_means_and_0_without_a_memory() -> None:
    series = series_of(3000)
    series.values[2500:2530] += 4.0
    detector = RobustZScore(half=6.0, window=0)
    examined: Examined
    for memory in (None, at(series, (500, 1000), (1500, 2000))):
        (examined,) = detector.with_memory(memory).examine([series])
        candidates = find_candidates(examined)
        found = features.memory_features(Context(examined, candidates))
        if memory is None:
            assert not found.any()
            continue
        for k, (a, b) in enumerate(candidates.runs):
            for column, name in enumerate(("short", "long")):
                near, usual = examined.row(f"{name}_memory")[a:b].mean(), examined.row(f"{name}_features")[a:b].mean()
                np.testing.assert_allclose(found[k, 2 * column : 2 * column + 2], (near, near - usual), atol=1e-4)
    assert set(features.NAMES) <= set(FEATURES) and detector.memory is None


def labelled(seed: int) -> tuple[Series, np.ndarray]:
    series, truth = series_of(2400, seed, name=f"s{seed}"), np.zeros(2400, bool)
    for start in range(150, 2380, 300):
        series.values[start : start + 12] += 6.0
        truth[start : start + 12] = True
    return series, truth


def test_weights_read_it_only_where_it_was_seen() -> None:
    detector, (series, truth) = RobustZScore(half=6.0, window=0), labelled(0)
    bare = LabelledLook(look_at(series, next(iter(detector.examine([series])))), truth)
    seen, again = (remembering_look(detector, series, truth, 300, 2000) for _ in range(2))
    assert np.array_equal(seen.look.features, again.look.features)
    columns = [PLACE[name] for name in features.NAMES]
    assert seen.look.features[:, columns].any(axis=0).all() and not bare.look.features[:, columns].any()
    tables = [(one.look.features, one.confirmed) for one in (bare, seen)]
    assert not set(features.NAMES) & set(default_weights(tables[:1]).names)
    assert default_weights(tables).names == tuple(name for name in FEATURES if name not in committee.NAMES)


# --- a version's file ------------------------------------------------------------------------------------------------


def test_a_memory_survives_its_file_and_a_tampered_one_is_refused(tmp_path: Path) -> None:
    one, two = series_of(2000, channels=2), series_of(900, 1, name="点 2")
    one.values[110:115, 1] = np.nan
    memory = NormalMemory({**at(one, (100, 300), (700, 800)).stretches, **at(two, (0, 100)).stretches})
    path = tmp_path / "memory.parquet"
    digest = write_memory(memory, path)
    back = read_memory(path, digest)
    assert list(back.stretches) == list(memory.stretches) and back.points == memory.points == 400
    for point in memory.stretches:
        for kept, read in zip(memory.of(point), back.of(point), strict=True):
            assert kept.series.digest == read.series.digest and kept.window == read.window
    assert write_memory(back, tmp_path / "again.parquet") == digest
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"memory\.parquet is missing or damaged"):
        read_memory(path, digest)
    path.unlink()
    with pytest.raises(WeightsError, match="missing or damaged"):
        read_memory(path, digest)


# --- the loop --------------------------------------------------------------------------------------------------------

SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.9",
)  # fmt: skip


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Default weights that read what people have called normal."""
    stated = json.loads(proposers.DEFAULTS.read_text(encoding="utf-8"))
    for own in stated.values():
        own["features"] |= {name: {"weight": 0.4, "mean": 0.1, "scale": 0.5} for name in features.NAMES}
    path = tmp_path / "defaults.json"
    path.write_text(json.dumps(stated), encoding="utf-8")
    monkeypatch.setattr(proposers, "DEFAULTS", path)


@pytest.mark.usefixtures("stocked", "reading")
def test_a_challenger_keeps_what_was_reviewed_and_nothing_gold(bench: Make, tmp_path: Path) -> None:
    one = bench(*SMALL)
    iterate(one)
    loop = open_loop(one)
    registry, gold = registry_of(one, loop), find_gold(loop)
    first, challenger = registry.versions()
    assert load_registered(one, registry, first).detector.memory is None
    loaded, again = (load_registered(one, registry, challenger) for _ in range(2))
    memory: NormalMemory = loaded.detector.memory
    (train,) = [r for r in loop.datasets() if r.purpose == Purpose.TRAIN]
    assert gold is not None and 0 < memory.points <= train.windows * 200
    for r in gold.windows:
        start, end = r.window.span
        assert not any(s.window[0] < end and start < s.window[1] for s in memory.of(r.window.point_id))
    whole = [s for s in load_series(one) if memory.of(s.point_id)][:2]
    for left, right in zip(loaded.detections(whole), again.detections(whole), strict=True):
        assert left.intervals == right.intervals and [c.score for c in left.candidates or ()] == [
            c.score for c in right.candidates or ()
        ]
    assert loaded.detector.config_hash == one.make_detector().config_hash
    without = loaded.detector.with_memory(None)
    plain, told_of = (next(iter(d.examine(whole[:1]))).row("short_memory") for d in (without, loaded.detector))
    assert not plain.any() and told_of.any()
    file = next((registry.fetch(challenger, tmp_path / "model")).rglob("memory.parquet"))
    description = file.with_name("detector.json")
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    with pytest.raises(WeightsError, match=r"memory\.parquet is missing or damaged"):
        load_folder(description, None)


@pytest.mark.usefixtures("stocked")
def test_where_nothing_reads_it_or_it_is_turned_off_nothing_is_kept(
    bench: Make, request: pytest.FixtureRequest
) -> None:
    plain = bench(*SMALL, "loop.name=plain")
    iterate(plain)
    request.getfixturevalue("reading")
    off = bench(*SMALL, "loop.name=off", "windows.remembered=0")
    iterate(off)
    for one in (plain, off):
        registry = registry_of(one, open_loop(one))
        assert len(registry.versions()) == 2
        assert all(load_registered(one, registry, v).detector.memory is None for v in registry.versions())


# --- the learning curve ----------------------------------------------------------------------------------------------


def test_the_curve_looks_at_reviewed_series_anew(reading: None) -> None:
    detector, base = RobustZScore(half=6.0, window=0), default_proposer("robust_zscore")
    line = Line("toy", [subject_of(detector, *labelled(seed)) for seed in range(3)])
    split = Split(line, 0, 300, 50, 1)
    assert base.remembers and Recall(detector, 0).after(split, 8, 0.0, base) is split
    assert Recall(detector, 8192).after(split, 0, 0.0, base) is split
    seen = Recall(detector, 8192).after(split, 2, 0.0, base)
    touched = {k for k, (_, place) in enumerate(line.slices()) for a, _ in split.windows[:2]
               if place.start <= a < place.stop}  # fmt: skip
    columns = [PLACE[name] for name in features.NAMES]
    for k, (old, new) in enumerate(zip(line.subjects, seen.line.subjects, strict=True)):
        assert (new is old) == (k not in touched)
        assert new.seen.look.features[:, columns].any() == (k in touched)
    assert np.array_equal(seen.windows, split.windows) and seen.asked is line and split.line is line
    wrong = [answers(one, 2, 0.9)[1] for one in (split, seen)]
    assert np.array_equal(*wrong), "people answer about what they were shown"
    figures = measured(seen, by_calibrator(seen, 2, 0.0, base, True), 2, 0.0)
    assert 0 <= figures["interval_f1"] <= 1 and len(runs_of(seen.line.truth)) == len(runs_of(line.truth))
