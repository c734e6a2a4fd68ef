"""What a read gives back: its own series, failures, ranges and summary, whoever else reads the same object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from sources_kit import START, csv_source, write
from test_sources_cache_ranges import S, plant, times

from tsad.core.errors import SeriesError, SourceError
from tsad.core.reading import ReadFailure, ReadItem, ReadSummary, SeriesRead, SeriesStream, gather
from tsad.core.series import Series
from tsad.sources.base import Source
from tsad.sources.cache import CachedSource, WorkingSet
from tsad.sources.cache.entries import Content

GOOD, BAD = [f"g{k}" for k in range(6)], [f"b{k}" for k in range(4)]
T = TypeVar("T")


def files(folder: Path) -> Path:
    for name in GOOD:
        write(folder / f"{name}.csv")
    for name in BAD:
        write(folder / f"{name}.csv", "timestamp,value\n2020-01-01,1\n2020-01-02,oops\n")
    return folder


def together(work: Callable[[int], T], count: int = 8) -> list[T]:
    """The results of so many threads that begin at once."""
    gate = threading.Barrier(count)

    def begin(k: int) -> T:
        gate.wait()
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_a_read_yields_series_and_failures_and_ends_in_a_summary(tmp_path: Path) -> None:
    source = csv_source(files(tmp_path))
    items = list(source.read(["g0", "b0", "g1"]))
    assert [type(item) for item in items] == [SeriesRead, ReadFailure, SeriesRead, ReadSummary]
    read, failure, _, summary = items
    assert isinstance(read, SeriesRead) and read.point_id == "g0"
    (part,) = read.parts
    assert (part.start, part.level, part.fetched_at > 0) == (START, "source", True)
    assert isinstance(failure, ReadFailure) and isinstance(failure.error, SeriesError) and failure.point_id == "b0"
    assert isinstance(summary, ReadSummary)
    assert (summary.count, list(summary.failures), list(summary.provenance)) == (2, ["b0"], ["g0", "g1"])
    assert (summary.source, summary.cached, summary.outage()) == (source.describe(), False, "")


def test_where_nothing_could_be_read_the_summary_still_comes_before_the_error(tmp_path: Path) -> None:
    stream = SeriesStream(csv_source(files(tmp_path)).read(BAD))
    with pytest.raises(ValueError, match="has not come to it"):
        _ = stream.summary
    with pytest.raises(SourceError, match=r"b0: .*oops"):
        list(stream)
    assert list(stream.summary.failures) == BAD
    with pytest.raises(ValueError, match="ends in a ReadSummary"):
        gather([])


@pytest.mark.parametrize("front", ["source", "cache", "no memory"])
def test_threads_that_read_one_object_each_get_their_own_outcome(tmp_path: Path, front: str) -> None:
    source: Source = csv_source(files(tmp_path / "data"))
    if front != "source":
        source = CachedSource(source, tmp_path / "cache", WorkingSet(10**7 if front == "cache" else 0))

    def work(k: int) -> None:
        for turn in range(15):
            good, bad = GOOD[(k + turn) % 6 :], BAD[: (k + turn) % 5]
            found, summary = gather(source.read([*good, *bad]))
            assert [read.point_id for read in found] == good
            assert list(summary.failures) == bad and list(summary.provenance) == good
            assert summary.count == len(good)
            if front != "source":
                assert summary.hits + summary.fetched == len(good) and summary.damaged == 0

    together(work)


def test_threads_over_one_ranged_cache_each_get_their_range(tmp_path: Path) -> None:
    source = plant([*"abcd", "bad"])
    source.bad = {"bad"}
    cached = CachedSource(source, tmp_path, WorkingSet(10**6))

    def work(k: int) -> None:
        for turn in range(10):
            first = (k * 7 + turn * 11) % 60
            found, summary = gather(cached.read(["a", "bad", "bcd"[k % 3]], first * S, (first + 20) * S))
            assert all(times(read.series) == list(range(first, first + 20)) for read in found)
            assert (len(found), list(summary.failures)) == (2, ["bad"])

    together(work)


def test_one_thread_s_outage_is_not_another_s(tmp_path: Path) -> None:
    source = plant(["a"])
    cached = CachedSource(source, tmp_path)
    gather(cached.read())
    running: list[ReadItem] = []
    items = cached.read()
    running.append(next(items))
    source.up = False
    _, later = gather(cached.read())
    assert "down" in later.unreachable
    running += items
    summary = running[-1]
    assert isinstance(summary, ReadSummary) and summary.unreachable == ""


def test_a_source_that_was_gone_is_not_asked_again_in_a_call_that_says_so(tmp_path: Path) -> None:
    source = plant(["a"])
    cached = CachedSource(source, tmp_path)
    gather(cached.read())
    alone, questions = cached.unasked("plant:1 is down"), source.questions
    (_,), summary = gather(alone.read())
    assert (source.questions, summary.unreachable) == (questions, "plant:1 is down")
    assert alone.extents(["a"]).unreachable == "plant:1 is down"
    assert source.unasked("x") is source


def test_a_working_set_keeps_its_count_whatever_threads_do_with_it() -> None:
    memory = WorkingSet(5 * 160)
    stamps = np.arange(10, dtype=np.int64)

    def work(k: int) -> None:
        for turn in range(300):
            path = Path(str((k * 5 + turn) % 11))
            if memory.get(path) is None:
                memory.put(path, Content(Series(str(path), stamps.copy(), np.zeros((10, 1))), ()))
            if turn % 7 == 0:
                memory.drop(path)

    together(work)
    held = [path for path in map(str, range(11)) if Path(path) in memory]
    assert memory.used == 160 * len(held) <= memory.limit
