"""sources.cache: a series comes back as it was; damage, faults and neighbours are survived and said."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_kit import series_of
from sources_kit import EXAMPLE, csv_source, write
from verbs_kit import call

from tsad.core.errors import CacheError, SourceError
from tsad.core.reading import gather
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.files.locate import answers_folder
from tsad.sources.base import Source
from tsad.sources.cache import CachedSource, clean, load, save, usage

ROOT = Path(__file__).parent.parent
texts = st.text(min_size=1, max_size=12)
floats = st.floats(allow_infinity=False, width=64)


class Counting(Source):
    """A source that says which points were fetched, and in which batches."""

    name = "counting"

    def __init__(self, series: Sequence[Series]) -> None:
        self.series = {s.point_id: s for s in series}
        self.batches: list[list[str]] = []

    def points(self) -> list[str]:
        return list(self.series)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        self.batches.append(list(point_ids))
        for point_id in point_ids:
            yield self.series[point_id]

    def digest(self, point_id: str | None = None) -> str:
        return self.series[point_id].digest if point_id else "all"

    def describe(self) -> str:
        return "counting:"


def make_series(point_id: str, length: int = 50, channels: int = 1) -> Series:
    rng = np.random.default_rng(len(point_id))
    values = rng.normal(size=(length, channels))
    values[3] = np.nan
    return Series(
        point_id, np.arange(length, dtype=np.int64) * 10**9, values, tuple(f"c{k}" for k in range(channels)), "index",
        (Interval(0, 10**9, "尖峰", 0.1 + 0.2),), f"counting:{point_id}", {"missing": 1, "share": 0.1, "why": "试"},
    )


def assert_same(a: Series, b: Series) -> None:
    assert a.digest == b.digest
    for name in ("point_id", "channels", "time_kind", "labels", "source"):
        assert getattr(a, name) == getattr(b, name)
    assert dict(a.notes) == dict(b.notes)
    assert (a.values.dtype, a.timestamps.dtype) == (b.values.dtype, b.timestamps.dtype)
    assert a.values.tobytes() == b.values.tobytes()


@given(
    point_id=texts, channels=st.lists(texts, min_size=1, max_size=3, unique=True),
    rows=st.lists(st.tuples(st.integers(1, 10**15), floats), min_size=1, max_size=20),
    labels=st.none() | st.lists(st.tuples(st.integers(-(10**18), 10**18), texts, st.floats(0, 1)), max_size=3),
    notes=st.dictionaries(texts, st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts, max_size=3),
)  # fmt: skip
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_entry_gives_the_series_back_exactly(
    tmp_path: Path, point_id: str, channels: list[str], rows: list[tuple[int, float]],
    labels: list[tuple[int, str, float]] | None, notes: dict[str, int | float | str],
) -> None:  # fmt: skip
    stamps = np.cumsum([r[0] for r in rows]).astype(np.int64)
    values = np.repeat(np.array([[r[1]] for r in rows]), len(channels), axis=1)
    given_labels = None if labels is None else tuple(Interval(a, a + 1, kind, score) for a, kind, score in labels)
    series = Series(point_id, stamps, values, tuple(channels), "time", given_labels, "s", notes)
    save(series, tmp_path / "e.parquet")
    assert_same(load(tmp_path / "e.parquet"), series)


def test_what_is_cached_is_not_fetched_again_and_the_rest_in_one_batch(tmp_path: Path) -> None:
    made = [make_series(p, channels=2) for p in ("a", "b", "c", "d")]
    source = Counting(made)
    assert [s.point_id for s in series_of(CachedSource(source, tmp_path), ["b"])] == ["b"]
    again = CachedSource(source, tmp_path)
    found, met = gather(again.read())
    for before, after in zip(made, found, strict=True):
        assert_same(before, after.series)
    assert source.batches == [["b"], ["a"], ["c", "d"]]
    assert (met.hits, met.fetched, met.damaged) == (1, 3, 0)
    (part,) = series_of(again, ["a"], start=5 * 10**9, end=9 * 10**9)
    assert len(part) == 4
    assert usage(tmp_path).entries == 4


def test_a_point_that_fails_is_never_cached_and_fails_by_name_each_time(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "a.csv")
    write(tmp_path / "data" / "b.csv", "not a csv")
    source = CachedSource(csv_source(tmp_path / "data"), tmp_path / "cache")
    found, met = gather(source.read())
    assert ([s.point_id for s in found], list(met.failures)) == (["a"], ["b"])
    found, met = gather(source.read())
    assert [s.point_id for s in found] == ["a"]
    assert (list(met.failures), met.hits) == (["b"], 1)
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.csv cannot be read"):
        source.digest("a")


def test_a_changed_file_or_option_is_read_again_and_its_old_entry_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "a.csv")
    cache = tmp_path / "cache"
    assert len(next(series_of(CachedSource(csv_source(path), cache)))) == 3
    write(path, EXAMPLE + "2020-01-01T00:03:00,9,0\n")
    assert len(next(series_of(CachedSource(csv_source(path), cache)))) == 4
    assert usage(cache).entries == 1
    other = CachedSource(csv_source(path, label_column=None), cache)
    ((read,), met) = gather(other.read())
    assert read.series.labels is None
    assert (met.hits, met.fetched) == (0, 1)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign"])
def test_a_damaged_entry_is_read_again_and_the_series_says_so(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    series = make_series("a", 2000)
    source = CachedSource(Counting([series]), tmp_path)
    list(series_of(source))
    (entry,) = tmp_path.rglob("*.parquet")
    content = entry.read_bytes()
    if damage == "foreign":
        save(dataclasses.replace(series, values=series.values + 1), tmp_path / "other")
        foreign = load(tmp_path / "other")
        assert foreign.digest != series.digest
        import pyarrow.parquet as pq

        good = pq.read_table(entry)
        pq.write_table(pq.read_table(tmp_path / "other").replace_schema_metadata(good.schema.metadata), entry)
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        entry.write_bytes({"truncated": content[:-200], "empty": b"", "flipped": flipped}[damage])
    with pytest.raises(CacheError, match="is damaged"):
        load(entry)
    with caplog.at_level(logging.WARNING):
        ((read,), met) = gather(source.read())
    again = read.series
    assert again.notes["cache"] == "entry was damaged: read again"
    assert_same(dataclasses.replace(again, notes=series.notes), series)
    assert met.damaged == 1
    assert "is damaged" in caplog.text
    assert_same(next(series_of(source)), series)  # mended: the entry is whole again and the note is gone


def test_a_folder_that_cannot_be_written_is_said_once_and_reading_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    source = CachedSource(Counting([make_series(p) for p in "abc"]), tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        assert len(list(series_of(source))) == 3
    assert len(caplog.records) == 1
    assert "without the cache" in caplog.text
    with pytest.raises(CacheError, match="cannot be written"):
        source.require_writable()


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsad.sources.cache.entries.pq.write_table", full)
    source = CachedSource(Counting([make_series("a")]), tmp_path)
    found, met = gather(source.read())
    assert len(found) == 1
    assert "No space left" in met.unwritable
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["source.json"]


def test_off_means_off(tmp_path: Path) -> None:
    source = CachedSource(Counting([make_series("a")]), tmp_path / "cache", enabled=False)
    list(series_of(source))
    source.require_writable()
    assert not (tmp_path / "cache").exists()


def test_clean_frees_entries_and_leftovers_and_nothing_else(tmp_path: Path) -> None:
    list(series_of(CachedSource(Counting([make_series(p) for p in "abc"]), tmp_path)))
    (tmp_path / "mine.txt").write_text("keep")
    old, fresh = tmp_path / ".000000000000.partial", tmp_path / ".111111111111.partial"
    for leftover in (old, fresh):
        leftover.write_bytes(b"half")
    os.utime(old, (1, 1))
    oldest = sorted(tmp_path.rglob("*.parquet"))[0]
    os.utime(oldest, (time.time() - 10 * 86_400,) * 2)
    assert clean(tmp_path, older_than_days=5, dry_run=True).entries == 2
    assert clean(tmp_path, older_than_days=5).entries == 2
    assert not oldest.exists()
    assert clean(tmp_path).entries == 2
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", fresh.name}
    assert clean(tmp_path / "nowhere").entries == 0


def test_clean_frees_what_was_read_of_label_studio_s_tasks(tmp_path: Path) -> None:
    folder = answers_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "ab12.json").write_text("{}")
    (tmp_path / "label_studio").mkdir()
    (tmp_path / "label_studio" / "credentials.json").write_text("the server's own")
    assert clean(tmp_path / "cache").entries == 1
    assert not folder.exists() and (tmp_path / "label_studio" / "credentials.json").exists()


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_sources_cache import Counting, make_series
from tsad.sources.cache import CachedSource, clean
series = [make_series("p" * (k + 1), 3000) for k in range(12)]
print("ready", flush=True)
for _ in range(2000):
    list(CachedSource(Counting(series), Path({folder!r})).read())
    clean(Path({folder!r}))
"""


def test_two_processes_share_a_folder_and_kill_9_leaves_no_half_entry(tmp_path: Path) -> None:
    code = WORKER.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=str(tmp_path))
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert busy.stdout is not None
    try:
        assert busy.stdout.readline() == "ready\n"
        series = [make_series("p" * (k + 1), 3000) for k in range(12)]
        for _ in range(10):
            for before, after in zip(series, series_of(CachedSource(Counting(series), tmp_path)), strict=True):
                assert_same(before, after)
    finally:
        busy.kill()
        busy.communicate(timeout=10)
    assert busy.returncode == -9
    for entry in tmp_path.rglob("*.parquet"):
        load(entry)


def test_clean_counts_first_and_frees_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = CachedSource(csv_source(write(tmp_path / "data" / "good.csv")), tmp_path / "cache")
    assert len(list(series_of(source))) == 1
    bench = SimpleNamespace(home=tmp_path, make_source=lambda: source)
    call("clean", bench, dry_run=True)  # type: ignore[arg-type]
    assert usage(tmp_path / "cache").entries == 1
    call("clean", bench)  # type: ignore[arg-type]
    assert usage(tmp_path / "cache").entries == 0
    assert "freed" in capsys.readouterr().out
