"""sources.cache before ranged sources: gaps are fetched alone, and the cache answers when the source is gone."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reading_kit import failures_of, series_of

from tsad.core.errors import CacheError, NoRowsError, OfflineError, SeriesError, SourceError, SourceUnavailableError
from tsad.core.reading import Extents, ReadFailure, gather, provenance_json
from tsad.core.reviews import Labelling
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.sources.base import Source
from tsad.sources.cache import CachedSource, WorkingSet, forget, listing, load, shrink, usage
from tsad.sources.cache.ranges import fetches, gaps, merged
from tsad.sources.validate import RawSeries, Rules, validate

S = 10**9
spans = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda p: (p[0], p[0] + p[1]))


class Plant(Source):
    """A ranged source in memory that can grow, break, and says what it was asked for."""

    name = "plant"
    ranged = True
    rules = Rules(min_points=1)

    def __init__(self, data: dict[str, dict[int, float]]) -> None:
        self.data, self.up, self.dies_after = data, True, 10**9
        self.asked: list[tuple[tuple[str, ...], int, int]] = []
        self.questions = 0
        self.bad: set[str] = set()
        self.said: dict[str, Labelling] | None = None

    def answer(self) -> None:
        self.questions += 1
        if not self.up:
            raise SourceUnavailableError("plant:1 is down", "Start it.")

    def points(self) -> list[str]:
        self.answer()
        return sorted(self.data)

    def extents(self, point_ids: Sequence[str]) -> Extents:
        self.answer()
        return Extents({p: (min(self.data[p]) * S, max(self.data[p]) * S + 1) for p in point_ids if self.data[p]})

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        self.answer()
        assert start is not None and end is not None
        self.asked.append((tuple(point_ids), start, end))
        for count, point_id in enumerate(point_ids):
            if count >= self.dies_after:
                self.up = False
            if not self.up:
                raise SourceUnavailableError("plant:1 went away", "Start it.")
            if point_id in self.bad:
                yield ReadFailure(point_id, SeriesError(f"{point_id} holds text"))
                continue
            rows = sorted(t for t in self.data[point_id] if start <= t * S < end)
            if rows:
                values = [self.data[point_id][t] for t in rows]
                yield validate(RawSeries(point_id, np.array(rows) * S, values, source="plant:1"), piece=True)

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        if self.said is None:
            return None
        self.answer()
        return {p: self.said[p] for p in point_ids if p in self.said}

    def digest(self, point_id: str | None = None) -> str:
        return "x"

    def describe(self) -> str:
        return "plant:1"


def plant(points: Sequence[str] = ("a",), length: int = 100) -> Plant:
    return Plant({p: {t: float(t) for t in range(length)} for p in points})


def times(series: Series) -> list[int]:
    return [int(t // S) for t in series.timestamps]


def test_a_covered_range_asks_nothing_and_a_gap_is_fetched_alone(tmp_path: Path) -> None:
    source = plant()
    (one,) = series_of(CachedSource(source, tmp_path), ["a"], 20 * S, 40 * S)
    assert times(one) == list(range(20, 40))
    questions = source.questions
    again = CachedSource(source, tmp_path)
    ((read,), met) = gather(again.read(["a"], 25 * S, 35 * S))
    assert times(read.series) == list(range(25, 35))
    assert (len(source.asked), source.questions, met.hits) == (1, questions + 1, 1)  # the list of points alone
    (one,) = series_of(CachedSource(source, tmp_path), ["a"], 10 * S, 50 * S)
    assert times(one) == list(range(10, 50))
    assert source.asked[1:] == [(("a",), 10 * S, 20 * S), (("a",), 40 * S, 50 * S)]
    (one,) = series_of(CachedSource(source, tmp_path), ["a"])
    assert times(one) == list(range(100))
    source.data["a"] |= dict.fromkeys(range(100, 120), -1.0)
    (one,) = series_of(CachedSource(source, tmp_path), ["a"])
    assert times(one) == list(range(120)) and one.values[110, 0] == -1
    assert source.asked[-1] == (("a",), 99 * S + 1, 119 * S + 1)


def test_many_points_of_which_nothing_is_there_are_one_fetch_and_so_are_their_tails(tmp_path: Path) -> None:
    names = [f"p{k:02}" for k in range(30)]
    source = Plant({p: dict.fromkeys(range(k, 200 + k % 7), 1.0) for k, p in enumerate(names)})
    assert [s.point_id for s in series_of(CachedSource(source, tmp_path))] == names
    assert len(source.asked) == 1
    for rows in source.data.values():
        rows |= dict.fromkeys(range(210, 260), 2.0)
    assert [len(s) for s in series_of(CachedSource(source, tmp_path))] == [len(source.data[p]) for p in names]
    assert len(source.asked) == 2
    assert source.asked[1][0] == tuple(names)


def test_a_hole_is_remembered_and_a_bad_point_fails_by_name(tmp_path: Path) -> None:
    source = Plant({"a": {0: 1.0, 1: 1.0, 90: 1.0}, "bad": {0: 1.0, 5: 1.0}, "c": {3: 1.0, 4: 2.0}})
    source.bad = {"bad"}
    cached = CachedSource(source, tmp_path)
    with pytest.raises(SourceError, match="no series could be read"):
        list(series_of(cached, None, 10 * S, 80 * S))
    failures = failures_of(cached, None, 10 * S, 80 * S)
    assert {p: type(e) for p, e in failures.items()} == dict.fromkeys(["a", "bad", "c"], NoRowsError)
    count = len(source.asked)
    with pytest.raises(SourceError, match="no value in the range"):
        list(series_of(CachedSource(source, tmp_path), ["a"], 10 * S, 80 * S))
    assert len(source.asked) == count, "the hole of a is known"
    whole = CachedSource(source, tmp_path)
    assert {s.point_id: times(s) for s in series_of(whole)} == {"a": [0, 1, 90], "c": [3, 4]}
    assert "holds text" in str(failures_of(whole)["bad"])


@pytest.mark.parametrize("dies_after", [0, 1])
def test_a_source_that_dies_is_answered_for_by_the_cache_which_says_so(
    tmp_path: Path, dies_after: int, caplog: pytest.LogCaptureFixture
) -> None:
    source = plant(["a", "b", "c"])
    list(series_of(CachedSource(source, tmp_path), ["a", "c"], 0, 50 * S))
    source.dies_after = dies_after
    cached = CachedSource(source, tmp_path)
    reads, met = gather(cached.read())
    got = {read.point_id: times(read.series) for read in reads}
    full, old = list(range(100)), list(range(50))
    # b, of which nothing was there, is fetched first; a and c, whose tails were missing, come together after it
    assert got == ({"a": full, "b": full, "c": old} if dies_after else {"a": old, "c": old})
    assert "went away. The cache answers in its place" in caplog.text
    assert "went away" in met.unreachable
    if not dies_after:
        assert isinstance(met.failures["b"], OfflineError)
    assert {p.level for p in met.provenance["c"]} == {"cache"}
    said = provenance_json(met.provenance, now=time.time() + 60)["c"][0]
    assert (said["start"], said["end"], said["from"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:50Z", "cache")
    assert 60 <= said["age_seconds"] < 120


def test_offline_only_never_asks_and_refuse_is_an_error(tmp_path: Path) -> None:
    source = plant(["a", "b"])
    with pytest.raises(OfflineError, match="knows nothing of plant:1"):
        list(series_of(CachedSource(source, tmp_path, offline="only")))
    list(series_of(CachedSource(source, tmp_path), ["a"]))
    questions = source.questions
    only = CachedSource(source, tmp_path, offline="only")
    assert [s.point_id for s in series_of(only)] == ["a"]
    assert "tsad ingest" in str(failures_of(only)["b"])
    assert source.questions == questions
    source.up = False
    with pytest.raises(SourceUnavailableError, match="is down"):
        list(series_of(CachedSource(source, tmp_path, offline="refuse")))
    assert [s.point_id for s in series_of(CachedSource(source, tmp_path), ["a"])] == ["a"]
    source.up = True
    assert len(list(series_of(CachedSource(source, tmp_path)))) == 2, "and when it is back it is asked again"


def test_labels_beside_the_series_are_asked_each_time_and_kept_for_an_outage(tmp_path: Path) -> None:
    source = plant(["a", "b"])
    source.said = {"a": Labelling((Interval(5 * S, 9 * S),), (Interval(20 * S, 30 * S),))}
    (a, b) = series_of(CachedSource(source, tmp_path))
    assert (a.labels, a.disputed, b.labels) == ((Interval(5 * S, 9 * S),), (Interval(20 * S, 30 * S),), None)
    source.said = {"a": Labelling(()), "b": Labelling((Interval(50 * S, 60 * S),))}
    (a, b) = series_of(CachedSource(source, tmp_path))
    assert (a.labels, a.disputed, b.labels) == ((), (), (Interval(50 * S, 60 * S),))
    source.up = False
    (b,) = series_of(CachedSource(source, tmp_path), ["b"], 55 * S, 70 * S)
    assert b.labels == (Interval(55 * S, 60 * S),)
    source.said = {"b": Labelling((Interval(500 * S, 600 * S),))}
    source.up = True
    cached = CachedSource(source, tmp_path)
    assert [s.point_id for s in series_of(cached)] == ["a"]
    assert "lies outside the series" in str(failures_of(cached)["b"])


def test_late_values_are_fetched_again(tmp_path: Path) -> None:
    now = int(time.time())
    source = Plant({"a": {now - t: 1.0 for t in range(0, 1000, 10)}})
    list(series_of(CachedSource(source, tmp_path, late_seconds=300)))
    source.data["a"][now - 125] = 7.0
    source.data["a"][now - 605] = 7.0
    (old,) = series_of(CachedSource(source, tmp_path))
    assert 7.0 not in old.values, "without late_seconds what is cached is final"
    (new,) = series_of(CachedSource(source, tmp_path, late_seconds=300))
    assert (new.values == 7.0).sum() == 1
    assert source.asked[-1][1] >= (now - 400) * S


@pytest.mark.parametrize("kind", ["truncated", "gone"])
def test_a_damaged_or_missing_piece_is_fetched_again(tmp_path: Path, kind: str) -> None:
    source = plant()
    for start in (0, 30, 60):
        list(series_of(CachedSource(source, tmp_path), ["a"], start * S, (start + 30) * S))
    victim = sorted(tmp_path.rglob("*.parquet"))[1]
    if kind == "truncated":
        victim.write_bytes(victim.read_bytes()[:-50])
        cached = CachedSource(source, tmp_path)
        ((read,), met) = gather(cached.read(["a"], 0, 90 * S))
        one = read.series
        assert (met.damaged, one.notes["cache"]) == (1, "entry was damaged: read again")
    else:
        victim.unlink()
        (one,) = series_of(CachedSource(source, tmp_path), ["a"], 0, 90 * S)
    assert times(one) == list(range(90))
    assert len(source.asked) == 4
    source.up = False
    (one,) = series_of(CachedSource(source, tmp_path), ["a"], 0, 90 * S)
    assert times(one) == list(range(90)) and "cache" not in one.notes


def test_a_damaged_piece_in_an_outage_costs_its_range_alone(tmp_path: Path) -> None:
    source = plant()
    for start in (0, 30, 60):
        list(series_of(CachedSource(source, tmp_path), ["a"], start * S, (start + 30) * S))
    sorted(tmp_path.rglob("*_30000000000_*.parquet"))[0].write_bytes(b"half")
    source.up = False
    (one,) = series_of(CachedSource(source, tmp_path), ["a"])
    assert times(one) == [*range(30), *range(60, 90)]


def test_a_read_only_cache_still_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    source = plant(["a", "b"])
    cached = CachedSource(source, tmp_path / "file" / "cache")
    assert [len(s) for s in series_of(cached)] == [100, 100]
    assert caplog.text.count("without the cache") == 1
    assert [len(s) for s in series_of(CachedSource(source, tmp_path, enabled=False), ["a"], 10 * S, 20 * S)] == [10]


def test_the_working_set_answers_before_the_disk_and_keeps_to_its_limit(tmp_path: Path) -> None:
    source, memory = plant(["a", "b", "c"]), WorkingSet(2 * 1600)
    list(series_of(CachedSource(source, tmp_path, memory=memory)))
    cached = CachedSource(source, tmp_path, memory=memory)
    reads, _ = gather(cached.read(["c", "b", "a"]))
    levels = {read.point_id: read.parts[0].level for read in reads}
    assert levels == {"c": "memory", "b": "memory", "a": "cache"}
    assert memory.used <= memory.limit
    (content,) = [memory.get(e.paths[0]) for e in listing(tmp_path) if e.point_id == "a"]
    assert content is not None
    with pytest.raises(ValueError, match="read-only"):
        content.series.values[0] = 1.0  # several readers share it


def test_many_small_pieces_become_one_file(tmp_path: Path) -> None:
    source = plant(length=200)
    for start in range(0, 200, 10):
        list(series_of(CachedSource(source, tmp_path), ["a"], start * S, (start + 10) * S))
    assert usage(tmp_path).entries <= 9
    cached = CachedSource(source, tmp_path)
    ((read,), _) = gather(cached.read())
    assert times(read.series) == list(range(200))
    assert len(source.asked) == 20
    assert len(read.parts) == 20, "each range still knows when it was fetched"


def test_listing_forgetting_and_shrinking(tmp_path: Path) -> None:
    source = plant(["a", "b"])
    list(series_of(CachedSource(source, tmp_path), ["a"], 10 * S, 20 * S))
    list(series_of(CachedSource(source, tmp_path), ["a"], 20 * S, 30 * S))
    list(series_of(CachedSource(source, tmp_path), ["b"]))
    a, b = listing(tmp_path)
    assert (a.source, a.point_id, a.start, a.end, a.points) == ("plant:1", "a", 10 * S, 29 * S + 1, 20)
    assert (b.point_id, b.points, b.channels, b.labels) == ("b", 100, 1, None)
    assert a.bytes == sum(p.stat().st_size for p in a.paths) and time.time() - a.fetched_at < 100
    assert forget([a]).entries == 2
    assert [k.point_id for k in listing(tmp_path)] == ["b"]
    list(series_of(CachedSource(source, tmp_path), ["a"]))
    (old,) = next(k for k in listing(tmp_path) if k.point_id == "b").paths
    os.utime(old, (1, 1))
    assert shrink(tmp_path, usage(tmp_path).bytes - 1).entries == 1
    assert [k.point_id for k in listing(tmp_path)] == ["a"]
    limited = CachedSource(source, tmp_path, max_bytes=1)
    assert len(list(series_of(limited))) == 2
    assert usage(tmp_path).entries == 0, "a limit that nothing fits in leaves nothing"


def test_an_unknown_way_to_be_offline_is_refused(tmp_path: Path) -> None:
    from tsad.core.errors import ConfigError

    with pytest.raises(ConfigError, match="allow, refuse"):
        CachedSource(plant(), tmp_path, offline="maybe")
    with pytest.raises(CacheError):
        (tmp_path / "x").write_text("")
        CachedSource(plant(), tmp_path / "x" / "y").require_writable()


@given(want=spans, have=st.lists(spans, max_size=5))
def test_gaps_and_cover_make_up_the_range(want: tuple[int, int], have: list[tuple[int, int]]) -> None:
    covered = {t for a, b in have for t in range(a, b)}
    assert {t for a, b in gaps(want, have) for t in range(a, b)} == set(range(*want)) - covered
    joined = merged(have)
    assert {t for a, b in joined for t in range(a, b)} == covered
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(joined))


@example({"a": ((0, 3), [(0, 1)]), "b": ((0, 4), [(1, 2)])})
@example({"a": ((0, 5), [(1, 2)]), "b": ((0, 5), [(4, 5)]), "c": ((3, 5), [(4, 5)])})
@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(spans, st.lists(spans, max_size=3)), min_size=1))
def test_batches_bring_every_gap(plan: dict[str, tuple[tuple[int, int], list[tuple[int, int]]]]) -> None:
    wants = {p: want for p, (want, _) in plan.items()}
    missing = {p: gaps(want, have) for p, (want, have) in plan.items()}
    wants = {p: w for p, w in wants.items() if missing[p]}
    found = fetches(wants, missing)
    for point, spans_ in missing.items():
        brought = sorted(span for span, names in found if point in names)
        for gap in spans_:  # in one fetch, or in two where one for others brings its beginning
            assert not gaps(gap, brought)
        assert all(b <= c for (_, b), (c, _) in itertools.pairwise(brought)), "no instant comes twice"
    for _, names in found:
        assert names == [p for p in wants if p in set(names)]


step = st.tuples(
    st.sampled_from(["read", "read", "read", "grow", "down", "up", "vanish"]), st.sampled_from(["a", "b", None]),
    st.none() | st.integers(0, 60), st.none() | st.integers(1, 40),
)  # fmt: skip


@given(st.lists(step, min_size=1, max_size=12))
@example([  # a joint fetch brought the beginning of another gap
    ("read", "a", None, None), ("grow", "a", None, None), ("read", "a", None, 30), ("read", "b", 31, None),
    ("vanish", "a", None, None), ("read", None, None, None),
])  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_happens_series_are_true_and_no_instant_is_fetched_twice(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | None, int | None, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    source = Plant({p: {t: float(t * 7 % 13) for t in range(k, 30, k + 1)} for k, p in enumerate("ab")})
    fetched: dict[str, set[int]] = {"a": set(), "b": set()}
    known = False
    for what, point, start, length in steps:
        if what in ("down", "up"):
            source.up = what == "up"
        elif what == "grow":
            for rows in source.data.values():
                top = max(rows)
                rows |= {t: float(t) for t in range(top + 1, top + 6)}
        elif what == "vanish" and (files := sorted(folder.rglob("*.parquet"))):
            files[0].unlink()
            fetched = {"a": set(), "b": set()}
        elif what == "read":
            first = None if start is None else start * S
            stop = None if length is None else ((start or 0) + length) * S
            before = len(source.asked)
            cached = CachedSource(source, folder)
            try:
                got = {s.point_id: s for s in series_of(cached, [point] if point else None, first, stop)}
            except OfflineError:
                assert not source.up and not known
                continue
            except SourceError:
                got = {}
            known = known or source.up
            for name in [point] if point else ["a", "b"]:
                inside = {t for t in source.data[name] if (start or 0) <= t and (stop is None or t * S < stop)}
                if source.up:
                    assert set(times(got[name]) if name in got else ()) == inside
                for t in times(got[name]) if name in got else ():
                    assert t in inside
                    assert got[name].values[times(got[name]).index(t), 0] == source.data[name][t]
            for names, a, b in source.asked[before:]:
                for name in names:
                    new = {t for t in source.data[name] if a <= t * S < b}
                    if len(names) == 1:
                        assert not new & fetched[name], "fetched twice"
                    fetched[name] |= new


def test_source_json_is_written_for_people_to_find_their_way(tmp_path: Path) -> None:
    list(series_of(CachedSource(plant(), tmp_path)))
    (place,) = tmp_path.iterdir()
    assert json.loads((place / "source.json").read_text()) == {"source": "plant:1", "points": ["a"]}


WORKER = """
import random, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_sources_cache_ranges import S, plant
from tsad.sources.cache import CachedSource, clean
print("ready", flush=True)
for k in range(5000):
    start = random.randrange(80)
    list(CachedSource(plant("abc"), Path({folder!r})).read(None, start * S, (start + 15) * S))
    if k % 20 == 19:
        clean(Path({folder!r}))
"""


def test_two_processes_share_ranges_and_kill_9_leaves_nothing_half(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    code = WORKER.format(root=str(tests.parent), tests=str(tests), folder=str(tmp_path))
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert busy.stdout is not None
    try:
        assert busy.stdout.readline() == "ready\n"
        for k in range(40):
            first = k * 7 % 70
            for one in series_of(CachedSource(plant("abc"), tmp_path), None, first * S, (first + 30) * S):
                assert times(one) == list(range(first, first + 30))
    finally:
        busy.kill()
        busy.communicate(timeout=10)
    assert busy.returncode == -9
    source = plant("abc")
    assert [times(one) for one in series_of(CachedSource(source, tmp_path))] == [list(range(100))] * 3
    for path in tmp_path.rglob("*.parquet"):
        load(path)


def test_a_file_that_vanishes_while_the_folder_is_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = plant(["a", "b"])
    list(series_of(CachedSource(source, tmp_path)))
    real = os.scandir

    def vanishing(folder: Path) -> list[os.DirEntry[str]]:
        items = list(real(folder))
        next(Path(item.path) for item in items if item.name.endswith(".parquet")).unlink()
        monkeypatch.setattr(os, "scandir", real)
        return items

    monkeypatch.setattr(os, "scandir", vanishing)
    source.up = False
    cached = CachedSource(source, tmp_path)
    found, met = gather(cached.read())
    assert (len(found), len(met.failures)) == (1, 1)
