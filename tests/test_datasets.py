"""Dataset versions: content hash, exact round trips, merging, damage, full disks."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsad.core.errors import DatasetError, StorageError
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND, Interval, Origin, Proposal
from tsad.training.datasets import build, content_hash, load, masks, merge, save

START = 1_700_000_000 * NS_PER_SECOND

ORIGIN = Origin("patch", "tsad-x-patch:3", None, "abc")


def make_series(point_id: str = "U1.TI1001.PV", length: int = 400, channels: int = 1, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(length, channels))
    values[rng.random(values.shape) < 0.05] = np.nan
    stamps = START + np.cumsum(rng.integers(1, 5, length)) * NS_PER_SECOND + 123
    names = tuple(f"c{k}" for k in range(channels))
    labels = (Interval(int(stamps[3]), int(stamps[9])),)
    return Series(point_id, stamps, values, names, labels=labels, source="csv:/a/b.csv", notes={"dropped": 2})


def review(
    series: Series,
    start: int,
    stop: int,
    runs: Sequence[tuple[int, int]] = (),
    *,
    state: ReviewState = ReviewState.CORRECTED,
    probability: float = 0.25,
    strategy: str = "random",
    annotator: str = "7",
    label: str = "Anomaly",
) -> ReviewedWindow:
    stamps = series.timestamps
    intervals = tuple(Interval(int(stamps[a]), int(stamps[b]), label) for a, b in runs)
    choice = Choice(
        Window(series, start, stop), probability, strategy, Purpose.TRAIN,
        (Proposal((Interval(int(stamps[start]), int(stamps[start + 1]), score=0.7),), ORIGIN),), 0.7,
    )
    return ReviewedWindow(choice, (Annotation(annotator, intervals, START, False, "12"),), state, intervals)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that takes no file above ``size`` bytes: a real failing write, without a special disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_same(a: DatasetVersion, b: DatasetVersion) -> None:
    assert (a.digest, a.purpose, dict(a.meta)) == (b.digest, b.purpose, dict(b.meta))
    for one, other in zip(a.windows, b.windows, strict=True):
        for key in ("probability", "strategy", "purpose", "proposals", "score"):
            assert getattr(one.choice, key) == getattr(other.choice, key)
        assert (one.annotations, one.state, one.intervals) == (other.annotations, other.state, other.intervals)
        left, right = one.window.series, other.window.series
        assert (one.window.start, one.window.stop, one.window.window_id) == (
            other.window.start, other.window.stop, other.window.window_id,
        )  # fmt: skip
        for key in ("point_id", "channels", "time_kind", "labels", "source"):
            assert getattr(left, key) == getattr(right, key)
        assert dict(left.notes) == dict(right.notes)
        assert left.timestamps.dtype == np.int64 and np.array_equal(left.timestamps, right.timestamps)
        assert left.values.shape == right.values.shape and left.values.tobytes() == right.values.tobytes()


def test_round_trip_of_series_with_different_channels(tmp_path: Path) -> None:
    one, many, index = make_series(), make_series("泵 3/压力.PV", 300, 3, 1), make_series("idx", 50, seed=2)
    index = dataclasses.replace(index, time_kind="index")
    version = build(
        [review(many, 99, 200, [(150, 170)]), review(one, 0, 64), review(one, 64, 99, [(70, 71)]), review(index, 0, 9)],
        Purpose.TRAIN, 20, {"loop": "demo", "iteration": 2, "parent": None},
    )  # fmt: skip
    save(version, tmp_path / "set")
    assert_same(version, load(tmp_path / "set"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["manifest.json", "series.parquet", "set", "windows.json"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_values_come_back_bit_for_bit(tmp_path: Path, data: st.DataObject) -> None:
    length, channels = data.draw(st.integers(2, 30)), data.draw(st.integers(1, 3))
    numbers = st.floats(allow_infinity=False, width=64)
    values = data.draw(st.lists(numbers, min_size=length * channels, max_size=length * channels))
    steps = data.draw(st.lists(st.integers(1, 2**40), min_size=length, max_size=length))
    series = Series(
        "p", np.int64(-(2**61)) + np.cumsum(np.array(steps, np.int64)),
        np.array(values).reshape(length, channels), tuple(f"c{k}" for k in range(channels)),
    )  # fmt: skip
    version = build([review(series, 0, length, [(0, 1)])], Purpose.GOLD, 5)
    save(version, tmp_path / "set")
    assert_same(version, load(tmp_path / "set"))


def test_the_hash_is_the_same_on_every_machine_and_release() -> None:
    stamps = START + np.arange(8, dtype=np.int64) * NS_PER_SECOND
    series = Series("U1.PV", stamps, np.array([[0.1], [np.nan], [-0.0], [3], [4], [5e-324], [1e300], [7]]))
    version = build([review(series, 1, 7, [(3, 5)])], Purpose.TRAIN, 1)
    assert version.digest == "e56d68ae758f802e"  # a change here makes every stored version unreadable


def test_the_hash_follows_the_truth_and_nothing_else() -> None:
    series = make_series()
    first, second = review(series, 0, 64, [(5, 9)]), review(series, 100, 164)
    name = build([first, second], Purpose.TRAIN, 20).digest
    same = [
        build([second, first], Purpose.TRAIN, 20),
        build([first, second], Purpose.TRAIN, 3, {"loop": "other"}),
        build([review(series, 0, 64, [(5, 9)], annotator="8"), second], Purpose.TRAIN, 20),
        build([first, second, review(series, 300, 364, state=ReviewState.CONFLICT)], Purpose.TRAIN, 20),
        build([first, second, first], Purpose.TRAIN, 20),  # imported twice
        build([first, second], Purpose.TRAIN, 400),
    ]
    assert {v.digest for v in same} == {name} and len(name) == 16
    values = series.values.copy()
    values[10] += 1e-12
    moved = dataclasses.replace(series, values=values)
    other = [
        build([first], Purpose.TRAIN, 20),
        build([first, second], Purpose.GOLD, 20),
        build([review(series, 0, 64, [(5, 10)]), second], Purpose.TRAIN, 20),
        build([review(series, 0, 64, [(5, 9)], label="Spike"), second], Purpose.TRAIN, 20),
        build([review(series, 0, 64, [(5, 9)], state=ReviewState.ACCEPTED), second], Purpose.TRAIN, 20),
        build([review(series, 0, 64, [(5, 9)], probability=0.5), second], Purpose.TRAIN, 20),
        build([review(series, 0, 64, [(5, 9)], strategy="top_score"), second], Purpose.TRAIN, 20),
        build([review(moved, 0, 64, [(5, 9)]), second], Purpose.TRAIN, 20),
    ]
    assert len({v.digest for v in other} | {name}) == len(other) + 1


def test_only_usable_windows_with_their_context_and_without_labels() -> None:
    series = make_series()
    states = [ReviewState.PENDING, ReviewState.ACCEPTED, ReviewState.SKIPPED, ReviewState.CONFLICT]
    version = build(
        [review(series, 100 * k, 100 * k + 50, state=s) for k, s in enumerate(states)], Purpose.GOLD, 10
    )
    (kept,) = version.windows
    assert kept.state is ReviewState.ACCEPTED and kept.choice.purpose is Purpose.GOLD
    assert len(kept.window.series) == 70 and kept.window.series.labels is None
    assert np.array_equal(kept.window.timestamps, series.timestamps[100:150])


def test_masks_follow_the_intervals() -> None:
    series = make_series()
    version = build([review(series, 100, 150), review(series, 0, 50, [(5, 9), (20, 21)])], Purpose.TRAIN, 0)
    first, second = masks(version)
    assert np.flatnonzero(first).tolist() == [5, 6, 7, 8, 20] and len(first) == 50
    assert not second.any() and second.dtype == bool


def test_merge_lets_the_later_review_win(tmp_path: Path) -> None:
    series, other = make_series(), make_series("other", seed=5)
    parent = build(
        [review(series, 0, 64, [(5, 9)]), review(series, 64, 128), review(series, 128, 192), review(other, 64, 128)],
        Purpose.TRAIN, 10,
    )  # fmt: skip
    save(parent, tmp_path / "parent")  # as in the loop: the parent comes back from the store
    new = build(
        [review(series, 0, 64, [(7, 9)]), review(series, 120, 130, [(121, 125)])], Purpose.TRAIN, 10, {"iteration": 2}
    )
    merged = merge(load(tmp_path / "parent"), new)
    first = [(r.window.point_id, int(r.window.timestamps[0])) for r in merged.windows]
    stamps = series.timestamps
    assert first == [
        ("U1.TI1001.PV", stamps[0]), ("U1.TI1001.PV", stamps[120]), ("other", other.timestamps[64]),
    ]  # fmt: skip
    assert merged.windows[0].intervals == new.windows[0].intervals
    assert merged.meta["iteration"] == 2 and merge(merged, new).digest == merged.digest
    assert merged.digest == content_hash(merged.windows, Purpose.TRAIN) != parent.digest
    save(merged, tmp_path / "merged")
    assert_same(merged, load(tmp_path / "merged"))


def test_merge_refuses_gold_with_train() -> None:
    series = make_series()
    gold, train = (build([review(series, 0, 64)], purpose, 0) for purpose in (Purpose.GOLD, Purpose.TRAIN))
    with pytest.raises(DatasetError, match="Gold windows never train"):
        merge(gold, train)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=12))
def test_windows_of_a_version_never_overlap(spans: list[tuple[int, int]]) -> None:
    series = make_series(length=120)
    reviewed = [review(series, a, a + n) for a, n in spans]
    version = build(reviewed, Purpose.TRAIN, 4)
    seen: set[int] = set()
    for one in version.windows:
        points = set(one.window.timestamps.tolist())
        assert not points & seen
        seen |= points
    if spans:
        assert reviewed[-1].window.window_id in {r.window.window_id for r in version.windows}


def test_an_empty_version_can_be_kept(tmp_path: Path) -> None:
    version = build([], Purpose.TRAIN, 10)
    save(version, tmp_path / "set")
    assert load(tmp_path / "set").windows == ()


@pytest.mark.parametrize("name", ["manifest.json", "windows.json", "series.parquet"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    save(build([review(make_series(), 0, 64, [(5, 9)])], Purpose.TRAIN, 10), folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=name):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(DatasetError, match=name):
        load(folder)


def test_a_forged_answer_does_not_pass(tmp_path: Path) -> None:
    import hashlib

    folder = tmp_path / "set"
    save(build([review(make_series(), 0, 64, [(5, 9)])], Purpose.TRAIN, 10), folder)
    text = (folder / "windows.json").read_text().replace("CORRECTED", "ACCEPTED")
    (folder / "windows.json").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["windows.json"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="not that of version"):
        load(folder)


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    save(build([], Purpose.TRAIN, 10), tmp_path)
    text = (tmp_path / "manifest.json").read_text().replace('"format": 1', '"format": 9')
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match="Upgrade tsad"):
        load(tmp_path)


def test_meta_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="meta"):
        save(build([], Purpose.TRAIN, 10, {"when": object()}), tmp_path / "set")


def test_a_full_disk_is_named_and_leaves_the_old_version(tmp_path: Path) -> None:
    series = make_series(length=5000)
    old = build([review(series, 0, 64)], Purpose.TRAIN, 10)
    save(old, tmp_path / "set")
    with largest_file(2000), pytest.raises(StorageError, match="Free space"):
        save(build([review(series, 0, 5000)], Purpose.TRAIN, 10), tmp_path / "set")
    assert_same(old, load(tmp_path / "set"))
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_thousands_of_windows_take_seconds(tmp_path: Path) -> None:
    reviewed = []
    for k in range(20):
        series = make_series(f"p{k}", length=128_000, seed=k)
        reviewed += [review(series, a, a + 512, [(a + 5, a + 9)]) for a in range(0, 128_000, 1024)]
    version = build(reviewed, Purpose.TRAIN, 256)
    began = time.perf_counter()
    save(version, tmp_path / "set")
    again = load(tmp_path / "set")
    assert len(again.windows) == 2500 and again.digest == version.digest
    assert time.perf_counter() - began < 10
