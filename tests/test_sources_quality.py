"""Data quality: what is wrong with a series is found and placed, what is merely usual for it is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reading_kit import fetched
from sources_kit import DATA, csv_source

from tsad.config import Settings
from tsad.core.errors import ConfigError
from tsad.core.options import QualityOptions
from tsad.core.options.quality import WARNINGS
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.sources import quality as module
from tsad.sources.quality import Quality, assess, refusing
from tsad.sources.quality_findings import Finding
from tsad.sources.validate import RawSeries, validate

S = 10**9
MIN = 60 * S
START = 1_577_836_800 * S  # 2020-01-01T00:00:00Z
NOW = START + 3650 * 86_400 * S


@pytest.fixture
def quality(options: Callable[..., Settings]) -> Callable[..., QualityOptions]:
    return lambda *overrides: options(*overrides).quality


@pytest.fixture
def look(quality: Callable[..., QualityOptions]) -> Callable[..., Quality]:
    """``look(series, "quality.refuse=[stuck]")``: assessed with the options that ship, and these overrides."""
    return lambda series, *overrides: assess(series, quality(*overrides), NOW)


Look = Callable[..., Quality]


def made(values: Any, minutes: Any = None, **more: Any) -> Series:
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    at = np.arange(len(table)) if minutes is None else np.asarray(minutes)
    names = tuple(f"c{k}" for k in range(table.shape[1]))
    return Series("p", START + np.round(at * MIN).astype(np.int64), table, names, **more)


def noise(points: int = 3000, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(50, 5, size=points)


def only(found: Quality) -> Finding:
    (finding,) = found.findings
    return finding


def names(found: Quality) -> list[str]:
    return [f.name for f in found.findings]


# --- time --------------------------------------------------------------------------------------------------


def test_a_regular_series_has_no_findings(look: Look) -> None:
    found = look(made(noise()))
    assert found.findings == () and found.step == MIN and found.jitter == 0 and found.missing_share == 0
    assert (found.start, found.end) == (START, START + 3000 * MIN)


def test_gaps_are_counted_placed_and_weighed_against_the_grid(look: Look) -> None:
    minutes = np.delete(np.arange(3000), [*range(100, 110), *range(2000, 2500)])
    found = look(made(noise(2490), minutes))
    gap = only(found)
    assert (gap.name, gap.severity, gap.count) == ("gaps", "warn", 2)
    assert found.gaps == 2 and found.longest_gap == 501 * MIN and found.gap_share == pytest.approx(510 / 3000)
    assert [(i.start - START) // MIN for i in gap.where] == [99, 1999]
    assert [(i.end - START) // MIN for i in gap.where] == [110, 2500]
    assert all(i.label == "gaps" for i in gap.where)
    assert only(look(made(noise(2490), minutes), "quality.missing_share=0.2")).severity == "note"


def test_jitter_is_no_gap_and_events_have_no_grid(look: Look) -> None:
    rng = np.random.default_rng(1)
    found = look(made(noise(), np.arange(3000) + rng.uniform(-0.2, 0.2, 3000)))
    assert only(found).name == "irregular" and only(found).severity == "warn" and 0.05 < found.jitter < 0.2
    events = look(made(noise(), np.cumsum(rng.exponential(1.0, 3000) + 0.01)))
    assert names(events) == ["irregular"] and events.gaps == 0


def test_what_the_door_mended_is_told(look: Look) -> None:
    stamps = np.array([0, 1, 1, 2, 5, 4, 3, 6]) * MIN + START
    found = look(validate(RawSeries("p", stamps, np.arange(8.0))))
    assert {(f.name, f.severity, f.count) for f in found.findings} == {
        ("duplicates", "warn", 1), ("backward", "warn", 2),
    }  # fmt: skip
    few = made(noise(), notes={"duplicates_averaged": 3})
    assert (only(look(few)).name, only(look(few)).severity) == ("duplicates", "note")


def test_daylight_saving_leaves_a_hole_on_the_night_it_begins(look: Look) -> None:
    summer = 1_616_896_800  # Sunday 2021-03-28T02:00 as a local time in Berlin
    seconds = np.concatenate((np.arange(summer - 86_400, summer, 300), np.arange(summer + 3600, summer + 90_000, 300)))
    series = Series("p", seconds * S, noise(len(seconds))[:, None])
    clock = next(f for f in look(series).findings if f.name == "clock")
    assert clock.severity == "warn" and "2021-03-28T01:55:00Z" in clock.what and "source.time_zone" in clock.what
    week_later = Series("p", (seconds + 7 * 86_400) * S, series.values)
    clock = next(f for f in look(week_later).findings if f.name == "clock")
    assert clock.severity == "note" and "exactly 1 h skipped" in clock.what
    longer = np.delete(np.arange(3000), range(500, 545))  # 45 minutes are no clock
    assert "clock" not in names(look(made(noise(2955), longer)))


def test_an_hour_that_comes_twice(look: Look) -> None:
    minutes = np.concatenate((np.arange(0, 180, 5), np.arange(120, 600, 5)))
    found = look(validate(RawSeries("p", START + minutes * MIN, noise(len(minutes)))))
    clock = next(f for f in found.findings if f.name == "clock")
    assert clock.severity == "warn" and "1 hour came twice" in clock.what


def test_points_in_the_future(look: Look) -> None:
    ahead = made(noise(100), np.arange(100) + (NOW - START) // MIN + 1441 - 50)  # 50 of them more than a day ahead
    assert only(look(ahead)).name == "future" and only(look(ahead)).count == 50
    assert look(ahead, "quality.future=2d").findings == ()
    assert look(made(noise(100), np.arange(100) + (NOW - START) // MIN)).findings == ()
    index = Series("p", np.arange(100) * 2 * 10**16, noise(100)[:, None], time_kind="index")
    assert "future" not in names(look(index))


# --- values ------------------------------------------------------------------------------------------------


def test_missing_values_and_their_longest_run(look: Look) -> None:
    values = np.stack((noise(), noise()), axis=1)
    values[100:900, 1] = np.nan
    values[5, 0] = np.nan
    found = look(made(values))
    gone = only(found)
    assert (gone.name, gone.severity, gone.count) == ("nan", "warn", 801)
    assert found.longest_nan == 800 and found.nan_share == pytest.approx(801 / 6000) == found.missing_share
    assert Interval(START + 100 * MIN, START + 900 * MIN, "nan") in gone.where


def test_a_frozen_sensor_is_found(look: Look) -> None:
    values = np.stack((noise(), noise(3000, 1)), axis=1)
    values[1000:1200, 1] = values[1000, 1]
    stuck = only(look(made(values)))
    assert (stuck.name, stuck.severity, stuck.count) == ("stuck", "warn", 1)
    assert "longest 200 points" in stuck.what and "(c1)" in stuck.what
    assert stuck.where == (Interval(START + 1000 * MIN, START + 1200 * MIN, "stuck"),)
    coarse = np.round(noise(), 0)  # whole degrees: short repeats are usual
    coarse[1000:1200] = 51
    assert names(look(made(coarse))) == ["stuck"]


def usual_rests() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    t = np.arange(20_000)
    day = np.sin(2 * np.pi * t / 1440)
    return {
        "on and off": (rng.random(20_000) < 0.002).cumsum() % 2,
        "set points": np.repeat(rng.normal(size=40), 500),
        "counter of a shop closed at night": np.where(day > 0, np.floor(rng.poisson(20, 20_000) * day.clip(0)), 0.0),
        "slow and coarse": np.round(20 + 5 * day, 0),
        "slow, coarse and noisy": np.round(20 + 5 * day + rng.normal(0, 0.2, 20_000), 1),
        "rare events": np.where(rng.random(20_000) < 0.001, rng.normal(10, 2, 20_000), 0.0),
        "rising counter": np.floor(np.cumsum(rng.random(20_000) < 0.3)),
        "square wave": np.where(t % 288 < 144, 20.0, 80.0),
        "saturated": np.minimum(day, 0.8),
        "random walk": np.cumsum(rng.normal(size=20_000)),
        "bursts": rng.lognormal(0, 2, 20_000),
        "levels": np.repeat(rng.lognormal(0, 2, 20), 1000) + rng.normal(size=20_000),
        "growing": 10 * 1.0003 ** t + rng.normal(size=20_000),
    }


@pytest.mark.parametrize("kind", usual_rests())
def test_what_is_usual_for_a_channel_is_no_finding(look: Look, kind: str) -> None:
    assert look(made(usual_rests()[kind])).findings == ()


def test_channels_that_never_change(look: Look) -> None:
    flat = only(look(made(np.full(100, 7.0))))
    assert (flat.name, flat.severity, flat.what) == ("constant", "warn", "always 7")
    some = np.stack((noise(100), np.full(100, 7.0), np.full(100, np.nan)), axis=1)
    found = {f.name: f for f in look(made(some)).findings}
    assert found["constant"].severity == "note"
    assert found["constant"].what == "2 of 3 channels never change, 1 of them hold nothing (c1, c2)"


def test_a_code_for_missing_values(look: Look) -> None:
    values = noise()
    values[[10, 500, 501]] = -9999
    code = only(look(made(values)))
    assert code.name == "range" and code.count == 3 and "-9999 3 times" in code.what
    assert "range" not in names(look(made(np.random.default_rng(0).integers(0, 1000, 5000))))


@pytest.mark.parametrize(
    ("convert", "how"),
    [
        (lambda v: v * 1000, "x 1000"), (lambda v: v / 1000, "1/1000"), (lambda v: v * 3.6, "x 3.6"),
        (lambda v: v * 100, "x 100"), (lambda v: v * 1.8 + 32, "C to F"), (lambda v: (v - 32) / 1.8, "F to C"),
        (lambda v: v + 273.15, "C to K"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("daily", [0.0, 8.0])
def test_a_change_of_unit_is_found_where_it_happens(
    look: Look, convert: Callable[[Any], Any], how: str, daily: float
) -> None:
    values = noise(8000) + daily * np.sin(np.arange(8000) / 1440 * 2 * np.pi)
    values[5000:] = convert(values[5000:])
    found = only(look(made(values)))
    assert (found.name, found.severity) == ("units", "warn") and f"by {how} " in found.what
    assert found.where[0].start == START + 5000 * MIN


@pytest.mark.parametrize("factor", [1.5, 2.0, 8.0, 3.0])
def test_another_level_is_no_other_unit(look: Look, factor: float) -> None:
    values = noise(8000)
    values[5000:] *= factor
    assert look(made(values)).findings == ()
    shifted = noise(8000)
    shifted[5000:] += 50 * 999  # the level of x 1000, but not its spread
    assert look(made(shifted)).findings == ()


def test_labels_over_most_of_a_series(look: Look) -> None:
    end = START + 3000 * MIN
    assert only(look(made(noise(), labels=(Interval(START, end - 100 * MIN),)))).name == "labels"
    assert look(made(noise(), labels=(Interval(START, START + 100 * MIN),))).findings == ()


# --- refusals ----------------------------------------------------------------------------------------------


def test_nothing_is_refused_unless_asked_for(look: Look, quality: Callable[..., QualityOptions]) -> None:
    assert not refusing(quality())
    values = np.full(3000, np.nan)
    values[:2] = 1.0
    assert look(made(values)).refusal() is None


def test_a_refusal_names_point_reason_and_remedy(look: Look, quality: Callable[..., QualityOptions]) -> None:
    values = noise()
    values[1000:2800] = np.nan
    found = look(made(values), "quality.refuse_missing_share=0.5")
    error = found.refusal()
    assert error is not None and refusing(quality("quality.refuse_missing_share=0.5"))
    assert "'p' is refused" in error.found and "60.0% of the values are missing" in error.found
    assert "quality.refuse_missing_share=0.5" in error.found and "quality.refuse" in error.remedy
    assert look(made(values), "quality.refuse_missing_share=0.7").refusal() is None
    assert found.findings[0].severity == "refuse", "worst first"


def test_a_warning_refuses_where_its_name_is_listed(look: Look) -> None:
    flat = made(np.full(100, 7.0))
    assert look(flat, "quality.refuse=[stuck]").refusal() is None
    error = look(flat, "quality.refuse=[stuck,constant]").refusal()
    assert error is not None and "constant: always 7" in error.found
    part = made(np.stack((noise(100), np.full(100, 7.0)), axis=1))
    assert look(part, "quality.refuse=[constant]").refusal() is None, "a note refuses nothing"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("quality.refuse=[stick]", "quality.refuse holds 'stick'. Did you mean stuck?"),
        ("quality.unit_factors=[0.5]", "quality.unit_factors holds 0.5"),
        ("quality.future=tomorrow", "quality.future is 'tomorrow'"),
        ("quality.refuse_missing_share=50", "quality.refuse_missing_share is 50"),
        ("quality.gap_steps=1", "quality.gap_steps is 1"),
    ],
)
def test_impossible_thresholds_are_refused(options: Callable[..., Settings], override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        options(override)
    assert said in str(error.value)


def test_every_warning_can_refuse_and_is_explained() -> None:
    assert module.__doc__ is not None
    for name in WARNINGS:
        assert name in module.__doc__


# --- whatever comes ----------------------------------------------------------------------------------------


VALUES = st.floats(-1e9, 1e9) | st.just(np.nan)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 60), st.integers(1, 3)), elements=VALUES),
    st.lists(st.integers(1, 10**12), min_size=60, max_size=60),
    st.sampled_from(["time", "index"]),
)  # fmt: skip
def test_any_series_can_be_assessed(values: Any, steps: list[int], kind: Any) -> None:
    stamps = START + np.cumsum(steps[: len(values)])
    series = Series("p", stamps, values, tuple(f"c{k}" for k in range(values.shape[1])), kind)
    found = assess(series, SHIPPED, NOW)
    assert 0 <= found.missing_share <= 1 and found.missing_share >= found.nan_share - 1e-9
    json.dumps(found.as_json())
    for finding in found.findings:
        assert finding.what and finding.count > 0
        assert all(series.timestamps[0] <= i.start for i in finding.where)


SHIPPED = QualityOptions(
    gap_steps=1.5, missing_share=0.1, irregular_share=0.1, mended_share=0.01, stuck_points=30, stuck_factor=10.0,
    unit_factors=[3.6, 60, 100, 1000, 3600, 1_000_000], unit_tolerance=0.05, future="1d", label_share=0.5, refuse=[],
    refuse_missing_share=1.0,
)  # fmt: skip


def test_these_are_the_options_that_ship(quality: Callable[..., QualityOptions]) -> None:
    assert quality() == SHIPPED


@pytest.mark.skipif(not (DATA / "MSCMD").is_dir(), reason="public sets are not here")
def test_public_sets_have_few_warnings_and_real_ones() -> None:
    warned = {}
    for group, folder in (("mscmd", "MSCMD"), ("aiops", "AIOPS_KPI")):
        source = csv_source(DATA / folder, group)
        for series in fetched(source, source.points(), None, None):
            warned[series.point_id] = [f.name for f in assess(series, SHIPPED).of("warn")]
    assert {p: w for p, w in warned.items() if w} == {"api-01": ["clock"]}, "local time of the USA, taken as UTC"
