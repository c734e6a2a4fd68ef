"""tsad detect since= until=: history in chunks, resumed after a kill, nothing twice; where series came from is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.times import parse_moment
from tsad.loop import backfill
from tsad.loop.opening import open_loop
from tsad.sources.exchange import read_detection, read_intervals

Make = Callable[..., Workbench]
DAY = 86_400


@pytest.fixture
def plant(bench: Make, tmp_path: Path) -> Workbench:
    """Three points, an hour apart, 20 days; b begins on the 11th and c has text in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, first in (("a", 0), ("b", 240)):
        values = rng.normal(size=480)
        values[300] += 40
        rows = [f"2026-01-{1 + k // 24:02}T{k % 24:02}:00:00Z,{values[k]:.3f}\n" for k in range(first, 480)]
        (folder / f"{name}.csv").write_text("timestamp,value\n" + "".join(rows))
    (folder / "c.csv").write_text("timestamp,value\n2026-01-01T00:00:00Z,1\n2026-01-02T00:00:00Z,oops\n")
    return bench("source=csv", f"source.root={folder}", "detector=robust_zscore", "threshold=fixed", "loop.name=h")


def runs(bench: Workbench) -> list[Any]:
    return open_loop(bench).search("tags.`tsad.step` = 'DETECT'")


def chunks_of(bench: Workbench, run: Any) -> dict[str, dict[str, Any]]:
    client = open_loop(bench).store.client
    found = {}
    for item in client.list_artifacts(run.info.run_id, "chunks"):
        found[item.path] = json.loads(Path(client.download_artifacts(run.info.run_id, item.path)).read_text())["series"]
    return found


def test_history_comes_in_chunks_and_nothing_is_scored_twice(
    plant: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key: dict[str, Any] = {"version": "none", "chunk": "5d", "output": str(tmp_path / "out")}
    call("detect", plant, since="2026-01-03", until="2026-01-16", **key)
    assert "432 points in 3 chunks" in capsys.readouterr().out  # 13 days of a, 5 of b
    (run,) = runs(plant)
    assert run.info.status == "FINISHED"
    said = chunks_of(plant, run)
    assert {p for one in said.values() for p in one} == {"a", "b"}
    ranges = sorted(tuple(one["a"]["range"]) for one in said.values() if "a" in one)
    start, end = (parse_moment(t, "x") for t in ("2026-01-03", "2026-01-16"))
    assert (ranges[0][0], ranges[-1][1]) == (start, end)
    assert all(a[1] == b[0] for a, b in pairwise(ranges)), "no instant twice, none left out"
    spike = parse_moment("2026-01-13T12:00:00", "x")
    proposed = [i["start"] for one in said.values() for i in one["a"]["intervals"]]
    assert "2026-01-13T12:00:00Z" in proposed
    files = sorted((tmp_path / "out" / "scores").glob("a_*.csv"))
    stamps = np.concatenate([read_detection(path)[1] for path in files])
    assert len(stamps) == 13 * 24 and (np.diff(np.sort(stamps)) == 3600 * 10**9).all() and spike in stamps

    call("detect", plant, since="2026-01-01", **key)
    assert "288 points in 5 chunks" in capsys.readouterr().out  # 2 + 5 days of a, 5 of b
    second = chunks_of(plant, runs(plant)[-1])
    new = sorted(tuple(one["a"]["range"]) for one in second.values() if "a" in one)
    assert new[0][0] == parse_moment("2026-01-01", "x") and new[-1][1] > end
    assert not any(a < end and start < b for a, b in new)
    assert sum(b - a for a, b in new) + end - start == parse_moment("2026-01-20T23", "x") + 1 - new[0][0]
    call("detect", plant, since="2026-01-03", until="2026-01-16", again=True, **key)
    assert len(chunks_of(plant, runs(plant)[-1])) == len(said)


def test_a_run_that_dies_goes_on_with_what_is_left(plant: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, real = [], backfill.hand_out

    def dies(series: Any, *rest: Any) -> None:
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append((series.point_id, int(series.timestamps[0])))
        real(series, *rest)

    monkeypatch.setattr(backfill, "hand_out", dies)
    with pytest.raises(KeyboardInterrupt):
        call("detect", plant, version="none", since="2026-01-01", chunk="5d")
    died = chunks_of(plant, runs(plant)[0])
    assert runs(plant)[0].info.status == "KILLED"
    monkeypatch.setattr(backfill, "hand_out", real)
    call("detect", plant, version="none", since="2026-01-01", chunk="5d")
    rest = chunks_of(plant, runs(plant)[1])
    assert not set(died) & set(rest), "a batch that was finished is not scored again"
    whole = plant.named("reference")
    call("detect", whole, version="none", since="2026-01-01", chunk="5d")
    assert {**died, **rest} == chunks_of(whole, runs(whole)[0])
    assert died and len(kept) == 3


def test_another_version_or_option_scores_for_itself(plant: Workbench, bench: Make) -> None:
    call("detect", plant, version="none", since="2026-01-01", until="2026-01-06", chunk="5d")
    other = bench(*plant.overrides, "detector=isolation_forest")
    call("detect", other, version="none", since="2026-01-01", until="2026-01-06", chunk="5d")
    one, two = (chunks_of(plant, run) for run in runs(plant))
    assert len(one) == len(two) == 2


def test_history_is_made_shorter_by_distance_alone(plant: Workbench, bench: Make) -> None:
    shorter = bench(*plant.overrides, "downsample=mean", "downsample.every=4h", "downsample.count=null")
    call("detect", shorter, version="none", since="2026-01-01", until="2026-01-11", chunk="5d")
    (run,) = runs(plant)
    said = chunks_of(plant, run).values()
    assert sum(one["a"]["points"] for one in said) == 60
    with pytest.raises(ConfigError, match=r"downsample\.count"):
        call("detect", bench(*plant.overrides, "downsample=m4"), version="none", since="2026-01-01")


def test_intervals_of_shorter_series_go_out_in_the_time_of_the_source(
    bench: Make, plant: Workbench, tmp_path: Path
) -> None:
    found = {}
    for name, keys in (("whole", ()), ("short", ("downsample=mean", "downsample.every=4h", "downsample.count=null"))):
        call("detect", bench(*plant.overrides, *keys), version="none", points=["a"], output=str(tmp_path / name))
        (path,) = (tmp_path / name / "intervals").glob("a_*.csv")
        found[name] = read_intervals(path)[1]
    whole, short = found["whole"], found["short"]
    spike = parse_moment("2026-01-13T12:00:00", "x")
    (long,) = [i for i in short if i.start <= spike < i.end]
    assert any(i.start == spike for i in whole)
    assert (long.end - long.start) % (4 * 3600 * 10**9) == 0 and long.start % (4 * 3600 * 10**9) == 0


def test_what_cannot_be_meant_is_refused(plant: Workbench) -> None:
    with pytest.raises(ConfigError, match="is not before"):
        call("detect", plant, version="none", since="2026-02-01", until="2026-01-01")
    with pytest.raises(ConfigError, match="since is 'soon'"):
        call("detect", plant, version="none", since="soon")
    with pytest.raises(ConfigError, match="chunk is"):
        call("detect", plant, version="none", since="2026-01-01", chunk="often")


def test_moments() -> None:
    assert parse_moment("1970-01-02", "x") == DAY * 10**9
    assert parse_moment("1970-01-01T08:00:00.5+08:00", "x") == 5 * 10**8
    assert parse_moment(12, "x") == parse_moment("12", "x", "index") == 12 * 10**9
    for text, kind in (("2026-01-01", "index"), ("x", None)):
        with pytest.raises(ConfigError, match="x is"):
            parse_moment(text, "x", kind)  # type: ignore[arg-type]


def test_a_run_says_where_its_series_came_from_and_that_the_source_was_gone(
    plant: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("detect", plant, version="none")
    (tmp_path / "data").rename(tmp_path / "unmounted")
    call("detect", plant, version="none")
    out = " ".join(capsys.readouterr().out.split())
    assert "could not be reached: 2 series from the cache, the oldest fetched at 20" in out
    first, second = runs(plant)
    client = open_loop(plant).store.client
    said = [
        json.loads(Path(client.download_artifacts(r.info.run_id, "provenance.json")).read_text())["series"]["a"]
        for r in (first, second)
    ]
    assert [one[0]["from"] for one in said] == ["source", "memory"]
    assert "no file or folder" in second.data.tags["tsad.source_unreachable"]
    assert second.data.metrics["series_from_cache"] == 2
