"""Machines: coupled while all is well, abnormal where labelled, and breaks that no channel shows by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.core.intervals import runs_of
from tsad.synthetic.anomalies import KINDS, MISSING
from tsad.synthetic.coupled import (
    CORRELATION_BREAK,
    MACHINE_KINDS,
    MachineBatch,
    break_correlation,
    make_machine,
)
from tsad.synthetic.scene import Scene

BREAK = MACHINE_KINDS.index(CORRELATION_BREAK)


@pytest.fixture(scope="module")
def machines() -> list[MachineBatch]:
    return [make_machine(np.random.default_rng((5, seed)), 2 + seed % 5, 1024) for seed in range(120)]


def breaks(machine: MachineBatch) -> list[tuple[int, int, int]]:
    """(start, stop, channel) of each correlation break."""
    return [
        (int(start), int(stop), int(np.flatnonzero(machine.channel_labels[start:stop].any(axis=0))[0]))
        for start, stop in runs_of(machine.kinds == BREAK)
    ]


def test_codes_continue_those_of_single_series() -> None:
    assert MACHINE_KINDS[: len(KINDS)] == KINDS and len(set(MACHINE_KINDS)) == len(KINDS) + 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), channels=st.integers(2, 7), length=st.integers(64, 500))
def test_any_size_is_typed_consistent_and_reproducible(seed: int, channels: int, length: int) -> None:
    made, again = (make_machine(np.random.default_rng(seed), channels, length) for _ in range(2))
    assert made.values.shape == made.clean.shape == made.channel_labels.shape == (length, channels)
    assert made.labels.shape == made.kinds.shape == (length,) and made.coupled.shape == (channels,)
    assert (made.values.dtype, made.clean.dtype, made.kinds.dtype) == (np.float32, np.float32, np.int8)
    assert np.array_equal(made.labels, made.kinds > 0)
    assert np.array_equal(made.labels, made.channel_labels.any(axis=1))
    assert np.isfinite(made.clean).all()
    lost = np.isnan(made.values)
    assert np.array_equal(lost.any(axis=1), made.kinds == KINDS.index(MISSING)) and made.channel_labels[lost].all()
    assert np.isfinite(made.values[~lost]).all()
    for name in ("values", "labels", "channel_labels", "kinds", "clean", "coupled"):
        assert np.array_equal(getattr(made, name), getattr(again, name), equal_nan=name == "values")


@pytest.mark.parametrize(("channels", "length"), [(1, 500), (3, 63)])
def test_impossible_machines_are_refused(channels: int, length: int) -> None:
    with pytest.raises(ValueError, match="channels >= 2 and length >= 64"):
        make_machine(np.random.default_rng(0), channels, length)


def test_breaks_and_the_kinds_of_single_series_occur_in_one_channel_and_in_several(
    machines: list[MachineBatch],
) -> None:
    seen = set(np.unique(np.concatenate([m.kinds for m in machines])).tolist())
    assert {0, BREAK, KINDS.index(MISSING)} <= seen and len(seen) > 15
    sizes = [
        int(m.channel_labels[a:b].any(axis=0).sum()) for m in machines for a, b in runs_of(m.labels)
    ]
    assert sizes.count(1) > len(sizes) / 2 and max(sizes) > 2
    assert 0.03 < np.mean([m.labels.mean() for m in machines]) < 0.2
    assert 0.05 < np.mean([not m.labels.any() for m in machines]) < 0.5


def test_coupled_channels_move_together_and_the_others_by_themselves(machines: list[MachineBatch]) -> None:
    together, apart = [], []
    for m in machines:
        close = np.abs(np.corrcoef(m.clean.T))
        np.fill_diagonal(close, 0)
        assert m.coupled.sum() >= 2 and (~m.coupled).sum() <= 2
        together += list(close[m.coupled][:, m.coupled].max(axis=1))
        apart += list(close[~m.coupled].max(axis=1))
    assert np.median(together) > 0.6 > 0.5 > np.median(apart)


def test_values_are_the_clean_twin_outside_labels(machines: list[MachineBatch]) -> None:
    away = np.concatenate([
        (np.abs(m.values - m.clean) / (m.clean.std(axis=0) + 1e-9))[~m.channel_labels] for m in machines
    ])  # fmt: skip
    assert np.quantile(away, 0.999) < 0.3 and np.median(away) == 0


def test_a_break_shows_between_channels_and_not_in_the_channel(machines: list[MachineBatch]) -> None:
    surprise = []
    for m in machines:
        for start, stop, c in breaks(m):
            channel, own = m.values[:, c], m.clean[:, c]
            spread = own.std()
            assert own.min() - spread < np.nanmin(channel[start:stop])
            assert np.nanmax(channel[start:stop]) < own.max() + spread
            usual = np.abs(np.diff(own)).max()
            assert np.abs(np.diff(channel[start:stop])).max() < 2 * usual + 0.2 * spread
            others = np.column_stack((m.clean[:, m.coupled & (np.arange(len(m.coupled)) != c)], np.ones(len(own))))
            weights = np.linalg.lstsq(others.astype(np.float64), own.astype(np.float64), rcond=None)[0]
            left = own - others @ weights
            now = m.values[:, c] - others @ weights
            surprise.append(np.sqrt(np.nanmean(now[start:stop] ** 2) / np.mean(left**2)))
    assert len(surprise) > 15 and np.median(surprise) > 2


def test_a_break_that_nobody_could_see_is_not_made() -> None:
    rng = np.random.default_rng(0)
    loud = Scene(0.1 * np.sin(np.arange(400) / 20), rng.standard_normal(400), np.zeros(400), 0.0,
                 np.empty(0, np.int64))
    assert not any(break_correlation(rng, loud, 100, 160) for _ in range(20)) and not loud.kinds.any()
    quiet = Scene(np.sin(np.arange(400) / 20), 0.02 * rng.standard_normal(400), np.zeros(400), 0.0,
                  np.empty(0, np.int64))
    before = quiet.values.copy()
    assert any(break_correlation(rng, quiet, 100, 220) for _ in range(20))
    assert (quiet.values != before)[100:220].any() and np.array_equal(quiet.values[220:], before[220:])
    assert set(quiet.kinds[100:220]) <= {0, BREAK} and not quiet.kinds[:100].any()
