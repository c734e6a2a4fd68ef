"""``tsad similar``: the nearest stretches over all series of a loop, listed with what people have said, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, EmbeddingError, LoopError, RegistryError
from tsad.core.overview import overview_of
from tsad.core.reviews import Choice, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Detection, Interval, Origin, Proposal
from tsad.core.windows import cut, excerpts
from tsad.embeddings.stretches import Usual, stretches_of
from tsad.loop.alike import Spot, considered, judged_spots
from tsad.loop.common import load_series
from tsad.loop.datasets import latest_training
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.review_cluster import Likeness, cluster_of
from tsad.loop.similar import SIMILAR, Similar, similar_rows
from tsad.loop.units import review_units, unit_called, units_of
from tsad.plots.alike import look_alikes_figure
from tsad.sources.cache import states_folder
from tsad.tracking.artifacts import list_artifacts

Make = Callable[..., Workbench]
SECOND = 10**9
PROPOSING = Origin("d", "d:1")


def plain(name: str = "P", total: int = 400) -> Series:
    return Series(name, np.arange(total, dtype=np.int64) * SECOND, np.random.default_rng(0).normal(size=(total, 1)))


def span(start: int, stop: int, score: float = 0.5) -> Interval:
    return Interval(start * SECOND, stop * SECOND, score=score)


def test_what_is_compared() -> None:
    one = plain()
    candidates = (span(90, 110), span(300, 301), span(250, 251))
    spots = considered([Detection("P", None, candidates[:1], PROPOSING, 0.5, candidates)], cut(one, 100))
    views = [(s.window.start, s.view.start, s.view.stop) for s in spots]
    assert views == [(0, 70, 130), (300, 284, 317), (200, 234, 267)]
    assert len(considered([Detection("P", None, (span(90, 110),), PROPOSING, 0.5)], cut(one, 100))) == 1
    windows = [Spot(window, window) for window in (*cut(one, 100), *cut(plain("Q"), 100))]
    assert [spots[0].meets(window) for window in windows] == [True, True, *[False] * 6]
    window = cut(one, 100)[1]
    choice = Choice(window, 0.5, "mix", proposals=(Proposal((span(110, 115, 0.2), span(150, 160, 0.9)), PROPOSING),))
    reviewed = ReviewedWindow(choice, (), ReviewState.CORRECTED, (span(112, 113), span(190, 192)))
    starts = sorted(s.span[0] // SECOND for s in judged_spots([reviewed]))
    assert starts == [112, 150, 190], "confirmed, drawn and rejected"


def proposing(series: Series, window: int, *spans: tuple[int, int]) -> Choice:
    """One of the windows of 200 points, with proposals at these positions of it."""
    own = cut(series, 200)[window]
    shown = tuple(span(own.start + a, own.start + b) for a, b in spans)
    return Choice(own, 0.5, "mix", proposals=(Proposal(shown, PROPOSING),), overview=overview_of(series))


def reviews_with(one: Workbench, choices: Sequence[Choice]) -> Any:
    reviewed = [ReviewedWindow(c, (), ReviewState.PENDING, ()) for c in choices]
    return SimpleNamespace(own=one, reviewed=reviewed, current=reviewed)


def test_an_answer_goes_where_all_that_is_proposed_looks_like_what_was_answered(bench: Make) -> None:
    values = np.random.default_rng(0).normal(scale=0.05, size=1000)
    for window in range(5):
        values[window * 200 + 50] += 9  # a spike in each
    values[330:370] += 6  # a step beside it in the second
    values[930] += 9  # and a second spike in the last
    one = Series("P", np.arange(1000, dtype=np.int64) * SECOND, values[:, None])
    spike, step = (50, 51), (130, 170)
    choices = [proposing(one, 0, spike), proposing(one, 1, spike, step), proposing(one, 2, spike), proposing(one, 3),
               proposing(one, 4, spike, (130, 131))]  # fmt: skip
    ids = [c.window.window_id for c in choices]
    reviews = reviews_with(bench(), choices)
    cluster = cluster_of(reviews, Likeness(ids[0], 0.7))
    assert set(cluster.windows) == {ids[0], ids[2], ids[4]} and cluster.mixed == (ids[1],)
    both = cluster_of(reviews, Likeness(ids[1], 0.7))
    assert set(both.windows) == {ids[0], ids[1], ids[2], ids[4]} and both.mixed == (), "each looks like a part of it"
    named = cluster_of(reviews, Likeness("P@1970-01-01T00:05:40Z", 0.7))
    assert named.windows == (ids[1],) and named.mixed == (), "the step that was named, not the spike beside it"
    assert cluster_of(reviews, Likeness(ids[3], 2.0)).windows == (ids[3],), "without a proposal: whole windows"


def test_which_channel_is_compared_does_not_depend_on_the_excerpt(bench: Make) -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(scale=(0.001, 0.05), size=(2000, 2))
    table[1000:, 0] += np.sin(np.arange(1000) / 3) * 5  # a channel that swings, but not where the windows lie
    for at, turn in ((250, 1), (650, -1)):
        table[at] += (turn, 3)  # what stands out: the spike of the other; of the excerpts alone that of the first
    whole = Series("P", np.arange(2000, dtype=np.int64) * SECOND, table, ("a", "b"))
    choices = [proposing(whole, 1, (50, 51)), proposing(whole, 3, (50, 51))]
    kept = [replace(c, window=w) for c, w in zip(choices, excerpts([c.window for c in choices], 20), strict=True)]
    assert all(len(c.window.series) < 300 for c in kept)
    ids = {c.window.window_id for c in choices}
    assert set(cluster_of(reviews_with(bench(), kept), Likeness(min(ids), 0.7)).windows) == ids
    usual, seen = Usual.of(whole), Usual.seen_in(overview_of(whole))
    assert np.allclose(usual.level, seen.level, atol=0.2) and 0.8 < (seen.spread / usual.spread).min() < 2
    (own,), (mistaken,) = stretches_of([kept[0].window], {"P": seen}), stretches_of([kept[0].window])
    assert np.array_equal(own, choices[0].window.values[:, 1])
    assert np.array_equal(mistaken, choices[0].window.values[:, 0])


def bursts(folder: Path) -> Path:
    """Two series with spikes and with steps, a label on each."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("A", "B")):
        rng = np.random.default_rng(number)
        values, truth = rng.normal(scale=0.2, size=1600), np.zeros(1600, int)
        for place, at in enumerate(range(120, 1500, 160)):
            size = 3 if place % 2 == 0 else 40
            values[at : at + size] += 8
            truth[at : at + size] = 1
        rows = "\n".join(f"{k},{v:.4f},{y}" for k, (v, y) in enumerate(zip(values, truth, strict=True)))
        (folder / f"{name}.csv").write_text(f"timestamp,value,label\n{rows}\n", "utf-8")
    return folder


def words(tmp_path: Path) -> tuple[str, ...]:
    return (
        "source=csv", f"source.root={tmp_path / 'set'}", "detector=robust_zscore", "review=simulated",
        "loop.name=alike", "windows.length=160", "sampling.windows=6", "loop.iterations=1", "tracking.plots=0",
        "gold.resamples=100",
        "gold=time", "tracking.system_metrics=false",
    )  # fmt: skip


@pytest.mark.usefixtures("stocked")
def test_the_nearest_stretches_are_listed_drawn_and_kept(
    bench: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    bursts(tmp_path / "set")
    one = bench(*words(tmp_path))
    with pytest.raises(RegistryError, match="has no version or alias 'champion'"):
        call("similar", one, of="A@121")
    iterate(one)
    capsys.readouterr()
    alike: Similar = call("similar", one, of="A@121", nearest=6)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "what looks like it" in text and alike.run in text
    assert len(alike.nearest) == 6 and alike.model_version.startswith("tsad-alike-robust_zscore:")
    assert len({row.window for row in alike.nearest}) == 6, "each window once"
    starts = [(int(row.start) - 120) // 160 for row in alike.nearest[:5]]
    assert all(k % 2 == 0 for k in starts), "spikes look like a spike, not like a step"
    assert {row.point_id for row in alike.nearest} == {"A", "B"}
    assert {row.judgement for row in alike.nearest} <= {"", "abnormal", "normal"} and alike.nearest[0].distance < 0.6
    loop = open_loop(one)
    (record,) = loop.finished_runs(SIMILAR)
    assert Similar.from_json(record.result) == alike == Similar.from_json(json.loads(json.dumps(alike.to_json())))
    assert {a.path for a in list_artifacts(loop.store, record.run_id)} >= {"look_alikes.png", "look_alikes.json"}
    again = call("similar", one, of="A@122", nearest=6)
    assert again.nearest == alike.nearest and again.kept == alike.compared + 1, "no embedding is computed twice"
    assert list(states_folder(one.home).glob("embedding_*"))
    window = cut(load_series(one)[0], 160)[0]
    whole = call("similar", one, of=window.window_id, nearest=99)
    assert whole.compared == len(whole.nearest) == 19 and whole.model_version == ""
    assert whole.nearest[0].probability is None
    printed = similar_rows(whole)[0]["window"]
    assert len(printed) == 8
    for name in (printed, whole.nearest[0].window):  # what the table prints is taken as it is
        assert call("similar", one, of=name).start == whole.nearest[0].start
    with pytest.raises(LoopError, match=f"no window of the source has the id {'0' * 16}"):
        call("similar", one, of="0" * 16)
    with pytest.raises(LoopError, match="considers nothing at A@1"):
        call("similar", one, of="A@1")
    with pytest.raises(EmbeddingError, match="embedding=shape"):
        call("similar", one, of="A@121", embedding="base")
    with pytest.raises(ConfigError, match="nearest"):
        call("similar", one, of="A@121", nearest=0)


@pytest.mark.usefixtures("stocked")
def test_windows_cut_from_a_remainder_are_windows_too(bench: Make, tmp_path: Path) -> None:
    bursts(tmp_path / "set")
    iterate(bench(*words(tmp_path)))
    longer = bench(*(w.replace("length=160", "length=300") for w in words(tmp_path)))
    loop, series = open_loop(longer), load_series(longer)
    reviewed = {r.window.window_id for r in latest_training(loop).windows}
    units = review_units(longer, loop, series)
    assert reviewed <= {w.window_id for w in units}, "what people have answered is a window as they saw it"
    assert sum(map(len, units)) == sum(map(len, series))
    rest = [w for w in units if w.window_id not in {v.window_id for s in series for v in cut(s, 300)} | reviewed]
    assert rest, "what lies beside them is a window of its own"
    for window in (rest[0], next(w for w in units if w.window_id in reviewed)):
        alike = call("similar", longer, of=window.window_id)
        assert (alike.point_id, int(alike.start)) == (window.point_id, window.start)
        assert alike.compared == len(units) - 1


def test_units_are_what_was_asked_and_the_cut_of_the_rest() -> None:
    one = plain()
    asked = [(110 * SECOND, 150 * SECOND), (140 * SECOND, 170 * SECOND), (900 * SECOND, 990 * SECOND)]
    spans = [(w.start, w.stop) for w in units_of(one, 100, asked)]
    assert spans == [(0, 110), (110, 150), (150, 250), (250, 350), (350, 400)]
    assert [w.start for w in units_of(one, 100, [])] == [0, 100, 200, 300]
    windows = [w for k in range(90) for w in cut(plain(f"P{k}"), 100)]
    assert unit_called(windows, windows[7].window_id) is windows[7]
    twice = next(w.window_id[:1] for w in windows)
    with pytest.raises(LoopError, match=rf"windows begin with {twice} \([0-9a-f]{{16}}, .*Give more digits"):
        unit_called(windows, twice)


def test_panels_are_drawn_for_what_there_is() -> None:
    wide = Series("水", np.arange(50, dtype=np.int64), np.column_stack((np.zeros(50), np.arange(50.0))), ("a", "b"))
    hollow = Series("gone", np.arange(9, dtype=np.int64) * SECOND, np.full((9, 1), np.nan))
    others = [(plain(), (span(3, 9),), "0.1"), (hollow, (), ""), (plain(), (), "")]
    figure = look_alikes_figure([(wide, (), "asked about"), *others])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 4 and len(figure.axes) == 6
    assert shown[0].lines[0].get_ydata().max() == 49 and len(shown[1].patches) == 1
    figure.canvas.draw()


def test_the_benchmark_counts_neighbours_that_share_neither_time_nor_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import similar as benchmark

    one = plain(total=2000)
    views = [Window(one, a, a + 20) for a in range(0, 2000, 100)]
    kinds = np.array(["spike", "step"] * 5 + [""] * 10)
    event = np.concatenate((np.repeat(np.arange(5), 2), np.full(10, -1)))
    owner = np.zeros(20, np.int64)
    known = benchmark.Candidates(views, kinds, owner, np.array([v.start + 10 for v in views]), event)
    assert known.others(0).sum() == 18 and not known.others(0)[:2].any(), "not itself, not of its own event"
    away = np.where(kinds[None, :] == kinds[:, None], 0.1, 1.0)
    by_verdict = benchmark.precision(known, away[[10, 11]], np.array([10, 11]), named=False)
    assert by_verdict == pytest.approx([1.0, 0.9, 0.5 * (0.4 + 0.6), 9 / 19])
    by_kind = benchmark.precision(known, away[:1], np.array([0]), named=True)
    assert by_kind[0] == 0.8 and by_kind[3] == pytest.approx(4 / 18)
    assert [name for name, _, _ in benchmark.drawn(known)] == ["confirmed", "rejected", "spike", "step"]
    monkeypatch.setenv("TSAD_HOME", str(tmp_path / "home"))
    benchmark.main(["--sets", str(bursts(tmp_path / "set")), "--detector", "robust_zscore"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[2] == "confirmed" and "kept at a second look" in lines[-1]
