"""The features of candidates, each kind against a slow reference that looks at one candidate after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray
from tsad.detectors.evidence.channels import CHANNELS, INDEX, REPLACED
from tsad.detectors.evidence.examined import STAND_INS, Examined, ExaminedChannel, leading_of
from tsad.detectors.evidence.period import Period
from tsad.detectors.proposals.candidates import SOURCES, Candidates, find_candidates
from tsad.detectors.proposals.features import (
    committee,
    likeness,
    memory,
    order,
    recurrence,
    scales,
    score,
    shape,
    spans,
)
from tsad.detectors.proposals.features import context as contexts
from tsad.detectors.proposals.features.context import Context, day_of
from tsad.detectors.proposals.features.table import FEATURES, FIRST_EDITION, PLACE, features_of

LAST_OF_FIRST = 25
SCALES = (1, 4, 30)
Columns = dict[str, FloatArray]


def context_of(total: int = 1500, seed: int = 0, channels: int = 2, day: float = 0.0) -> Context:
    """Random scores, values and logits; candidates of 1 to 60 points, at both edges too."""
    rng = np.random.default_rng(seed)
    scores = rng.random(total) ** 4
    rows = rng.integers(-9000, 9000, (len(CHANNELS), total)).astype(np.int16)
    edges = np.sort(rng.choice(np.arange(2, total - 2), min(60, total // 4) // 2 * 2, replace=False)).reshape(-1, 2)
    runs = np.concatenate(([[0, 2]], edges, [[total - 2, total]]))
    runs = runs[np.r_[True, runs[1:, 0] > runs[:-1, 1]]]
    peaks = np.array([a + int(scores[a:b].argmax()) for a, b in runs])
    made = tuple(
        ExaminedChannel(
            (np.sin(np.arange(total) / 7) + rng.standard_normal(total)).astype(np.float32), Period(44.0 + k, 0.6),
            tuple((s, rng.normal(-3, 2, -(-total // s)).astype(np.float16)) for s in SCALES),
        )
        for k in range(channels)
    )  # fmt: skip
    leading = rng.integers(0, channels, total).astype(np.uint16) if channels > 1 else None
    candidates = Candidates(runs, peaks, rng.integers(0, 3, len(runs)))
    return Context(Examined(scores, rows, None, made, leading), candidates, day)


CONTEXTS = [context_of(), context_of(240, 1, 1), context_of(60, 2, 1), context_of(4000, 3, 3, 700.5)]


def each(context: Context) -> Iterator[tuple[int, int, int, ExaminedChannel]]:
    """Number, first point, end and channel of each candidate."""
    for k, (a, b) in enumerate(context.candidates.runs.tolist()):
        leading = context.examined.leading
        number = 0 if leading is None else int(leading[context.candidates.peaks[k]])
        yield k, a, b, context.examined.channels[number]


def same(found: FloatArray, expected: list[list[float]] | FloatArray, names: tuple[str, ...]) -> None:
    for name, one, other in zip(names, found.T, np.array(expected).T, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("context", CONTEXTS)
def test_score(context: Context) -> None:
    height, total = context.height.astype(float), context.total
    peaks = np.array([height[a:b].max() for _, a, b, _ in each(context)])
    found = dict(zip(score.NAMES, score.score_features(context).T, strict=True))
    for k, a, b, _ in each(context):
        outside = [*height[max(0, a - 64) : max(0, a - 4)], *height[b + 4 : b + 64]] or [height.min()]
        assert found["peak"][k] == height[a:b].max()
        assert found["above_next"][k] == pytest.approx(peaks[k] - max(outside), abs=1e-6)
        assert found["rank"][k] == pytest.approx(np.log1p((peaks > peaks[k] - 0.02).sum() / total * 1e4), abs=0.3)
        assert found["energy"][k] == pytest.approx(np.abs(context.examined.row("energy")[a:b]).max())


def shape_of(x: FloatArray, a: int, b: int) -> list[float]:
    w = int(np.clip(b - a, 16, 128))
    inside, before, after = x[a:b], x[max(0, a - w) : max(0, a - 1)], x[b + 1 : b + w]
    left, right = x[max(0, a - 256) : max(0, a - 2)], x[b + 2 : b + 256]
    wide = np.concatenate((left, right))
    before = before if len(before) else after if len(after) else inside
    after = after if len(after) else before
    steps = np.concatenate([np.abs(np.diff(side)) for side in (left, right)])
    if len(wide) < 8:
        wide, steps = x, np.abs(np.diff(x))
    middle = np.median(wide)
    noise, mad = (steps.mean() if len(steps) else 0) + 0.02, np.median(np.abs(wide - middle)) + 0.03
    up, down = inside.max() - middle, middle - inside.min()
    away = up if up >= down else -down
    span = wide.max() - wide.min()
    beyond = max(inside.max() - wide.max(), wide.min() - inside.min()) / (span + 0.05)
    bump, step = inside.mean() - (np.median(before) + np.median(after)) / 2, np.median(after) - np.median(before)
    rough = np.log((np.abs(np.diff(inside)).mean() + 0.01) / noise) if b - a > 1 else 0.0
    jump = np.abs(np.diff(x[max(0, a - 1) : b + 1])).max(initial=0) / noise
    return [
        np.arcsinh(bump / noise), np.arcsinh(step / noise), np.arcsinh(away / mad), np.arcsinh(abs(away) / mad),
        np.arcsinh(3 * beyond), rough, np.log((np.ptp(inside) + 0.02) / (span + 0.02)), np.log(noise),
        abs(step) / (abs(bump) + 0.1), np.sign(away), np.arcsinh(jump), np.arcsinh(abs(away)),
    ]  # fmt: skip


@pytest.mark.parametrize("context", CONTEXTS)
def test_shape(context: Context) -> None:
    expected = [
        [np.log2((b - a) / c.period.points), *shape_of(c.values.astype(float), a, b)] for _, a, b, c in each(context)
    ]
    same(shape.shape_features(context), expected, shape.NAMES)


@pytest.mark.parametrize("context", CONTEXTS)
def test_scales(context: Context) -> None:
    expected = []
    for _, a, b, channel in each(context):
        row: list[float] = []
        for scale, logits in channel.logits:
            whole = logits.astype(float)
            i, j = a // scale, max(a // scale + 1, -(-b // scale))
            around = [*whole[max(0, i - 48) : max(0, i - 3)], *whole[j + 3 : j + 48], -9.0]
            row += [whole[i:j].max(), whole[i:j].mean(), whole[i:j].max() - max(around)]
        parts = [[1 / (1 + np.exp(-float(x[t // s]))) for s, x in channel.logits] for t in range(a, b)]
        mean = np.clip(np.mean(parts, axis=1), 1e-4, 1 - 1e-4)
        both = [np.log(p / (1 - p)) for p in (mean.max(), mean.mean())]
        expected.append([*row, row[0] - row[6], row[0] - row[3], *both, 1.0])
    same(scales.scale_features(context), expected, scales.NAMES)


def test_a_detector_without_a_network_has_zeros_and_a_flag() -> None:
    context = context_of()
    bare = replace(context.examined, channels=tuple(replace(c, logits=()) for c in context.examined.channels))
    assert not scales.scale_features(replace(context, examined=bare)).any()
    assert np.all(scales.scale_features(context)[:, -1] == 1.0)


@pytest.mark.parametrize("context", CONTEXTS)
def test_order(context: Context) -> None:
    scored, peak, total = score.score_features(context), context.peak, context.total
    middle, expected = context.candidates.runs.mean(axis=1), []
    for k in range(len(peak)):
        others = np.delete(peak, k)
        near = np.abs(np.delete(middle, k)[others >= peak[k] - 1] - middle[k]).min(initial=total)
        orders = [np.log1p((column > column[k] + 1e-9).sum()) for column in
                  (scored[:, score.NAMES.index(name)] for name in order.ORDERED)]  # fmt: skip
        expected.append([
            (peak[k] - np.median(peak)) / (peak.std() + 0.5), peak[k] - peak.max(), peak[k] - others.max(), *orders,
            np.log(len(peak) + 1), np.log1p((peak > 0).sum() / total * 1e4), np.log1p((peak > 1.5).sum() / total * 1e4),
            np.log2(total), np.log2(max(near, 1)),
        ])  # fmt: skip
    same(order.order_features(context, scored), expected, order.NAMES)


@pytest.mark.parametrize("context", CONTEXTS)
def test_recurrence(context: Context) -> None:
    height, total, day = context.height.astype(float), context.total, context.day
    peaks, peak, expected = context.candidates.peaks, context.peak, []
    for k, a, b, channel in each(context):
        half = float(np.clip((b - a) // 2, 3, 64))
        width = min((4, 8, 16, 32, 64), key=lambda w: abs(w - half))
        row: list[float] = []
        for lag in (channel.period.points, day):
            places = [int(np.floor(peaks[k] + m * lag)) for m in (-3, -2, -1, 1, 2, 3)] if lag > 8 else []
            seen = [height[max(0, p - width) : p + width + 1].max() for p in places if 0 <= p < total] or [-2.5]
            row += [float(np.mean(seen)), max(seen), peak[k] - max(seen), float(lag > 8)]
        hours = 0
        for other in range(len(peaks)) if day else ():
            apart = (peaks[k] - peaks[other]) / day
            same_hour = abs((apart + 0.5) % 1 - 0.5) < 1 / 48
            hours += same_hour and abs(apart) > 0.5 and peak[other] > peak[k] - 1
        expected.append([*row, hours / (total / day) if day else 0.0])
    same(recurrence.recurrence_features(context), expected, recurrence.NAMES)


def stretches_of(x: FloatArray, a: int, b: int) -> list[float]:
    total, width = len(x), int(2 ** np.clip(np.round(np.log2(max((b - a) * 1.5, 8))), 3, 9))
    if total < 3 * width:
        return [0.0] * 4
    rate = max(1, width // 16)

    def described(start: int) -> FloatArray:
        return x[start : start + width].reshape(-1, rate).mean(axis=1)

    own = int(np.clip((a + b) // 2 - width // 2, 0, total - width))
    starts = range(0, total - width + 1, max(1, width // 4, total // likeness.STRETCHES))
    table = np.array([described(s) for s in starts])
    near = sorted(np.sqrt(((described(own) - described(s)) ** 2).mean()) for s in starts if abs(s - own) >= width)
    near += [10.0] * (len(table) - len(near))
    size = np.sqrt(((described(own) - np.median(table)) ** 2).mean()) + 0.1
    return [float(np.log2(near[min(n, len(near)) - 1] / size + 0.02)) for n in (1, 3, 10, 31)]


@pytest.mark.parametrize("context", CONTEXTS)
def test_likeness(context: Context) -> None:
    scored = score.score_features(context)
    units = np.array([likeness.UNITS.get(name, likeness.ROW_UNIT) for name in score.NAMES])
    expected = []
    for k, a, b, channel in each(context):
        near = stretches_of(channel.values.astype(float), a, b)
        apart = np.linalg.norm((scored - scored[k]) / units, axis=1)[np.arange(len(scored)) != k]
        counts = [np.log1p((apart < limit).sum()) for limit in (2.0, 3.5)]
        expected.append([*near, near[-1] - near[0], np.log(apart.min() + 0.1), *counts])
    same(likeness.likeness_features(context, scored), expected, likeness.NAMES)


def test_long_series_are_compared_with_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 references among 32 candidates the counts are near those of all, and nobody is like himself."""
    context = context_of(4000, 3, 1, 700.5)
    whole = likeness.likeness_features(context, score.score_features(context))
    monkeypatch.setattr(contexts, "MOST", len(context.candidates) - 2)
    fewer = Context(context.examined, context.candidates, context.day)
    some = likeness.likeness_features(fewer, score.score_features(fewer))
    assert len(fewer.references) == len(context.candidates) - 2
    assert np.abs(some[:, -3:] - whole[:, -3:]).max() < 0.4 and np.all(some[:, -3] >= whole[:, -3] - 1e-9)
    hours = [recurrence.recurrence_features(one)[:, -1] for one in (context, fewer)]
    assert np.abs(hours[0] - hours[1]).max() < 0.5


def test_work_grows_with_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the entries of the tables of distances, not by the clock."""
    entries = [0]
    plain = likeness._distances

    def counted(own: FloatArray, table: FloatArray, overlapping: FloatArray) -> FloatArray:
        entries[0] += overlapping.size
        return plain(own, table, overlapping)

    monkeypatch.setattr(likeness, "_distances", counted)
    sizes = []
    for total in (50_000, 200_000):
        entries[0], rng = 0, np.random.default_rng(0)
        values = rng.standard_normal(total).astype(np.float32)
        channel = ExaminedChannel(values, Period(64.0, 0.0))
        examined = Examined(rng.random(total), np.zeros((len(CHANNELS), total), np.int16), None, (channel,))
        features_of(examined, find_candidates(examined))
        sizes.append(entries[0])
    assert 2 < sizes[1] / sizes[0] < 4.5


def test_names_are_in_order_and_the_first_edition_comes_first() -> None:
    assert len(set(FEATURES)) == len(FEATURES) and FEATURES[:LAST_OF_FIRST] == FIRST_EDITION
    assert FIRST_EDITION[0] == "peak" and FIRST_EDITION[-1] == "spread"
    context = context_of()
    table = features_of(context.examined, context.candidates)
    assert table.shape == (len(context.candidates), len(FEATURES)) and np.isfinite(table).all()
    parts = itertools.chain(score.NAMES, shape.NAMES, scales.NAMES, order.NAMES, recurrence.NAMES, likeness.NAMES)
    assert (*parts, *score.LATER, *memory.NAMES, *committee.NAMES) == FEATURES
    lone = Candidates(*(part[:1] for part in (context.candidates.runs, context.candidates.peaks,
                                              context.candidates.sources)))  # fmt: skip
    assert np.isfinite(features_of(context.examined, lone)).all()
    nothing = replace(context.examined, channels=(), leading=None)
    assert np.isfinite(features_of(nothing, context.candidates)).all()


def test_later_rows_of_evidence_become_features(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of()
    inside = score.rows_inside(context, ("short_residual", "shape"))
    for k, a, b, _ in each(context):
        assert inside[k, 0] == pytest.approx(np.abs(context.examined.row("short_residual")[a:b]).max())
    assert score.rows_inside(context, ()).shape == (len(context.candidates), 0)


def test_rows_that_are_left_out_are_stood_for() -> None:
    context = context_of()
    rows = context.examined.rows.copy()
    rows[[INDEX[name] for name in REPLACED]] = 0
    fewer = Examined(context.examined.scores, rows, None, context.examined.channels, context.examined.leading)
    assert fewer.replaced and not context.examined.replaced
    assert np.array_equal(fewer.row("neighbour"), context.examined.row("cycle"))
    assert np.array_equal(fewer.row("energy"), context.examined.row("energy"))
    assert set(STAND_INS) == set(REPLACED) and not set(STAND_INS.values()) & set(REPLACED)
    table = features_of(fewer, context.candidates)
    whole = features_of(context.examined, context.candidates)
    names = {"neighbour": "cycle", "short_neighbour_rarity": "brief_neighbour_rarity"}
    assert all(np.array_equal(table[:, PLACE[a]], whole[:, PLACE[b]]) for a, b in names.items())
    found = find_candidates(fewer)
    assert {"neighbour", "short_neighbour"} <= {SOURCES[k] for k in found.sources}


def test_the_leading_channel_is_the_highest() -> None:
    heights = np.random.default_rng(0).random((4, 50))
    leading = leading_of(iter(heights))
    assert leading is not None and np.array_equal(leading, heights.argmax(axis=0))
    assert leading_of([heights[0]]) is None and leading_of([]) is None


def test_a_day_in_points() -> None:
    def made(step: int, total: int) -> Series:
        return Series("s", np.arange(total, dtype=np.int64) * step * NS_PER_SECOND, np.zeros((total, 1)))

    assert day_of(made(300, 2000)) == 288 and day_of(made(300, 500)) == 0.0, "not two days long"
    assert day_of(made(86_400, 2000)) == 0.0 and day_of(made(300, 1)) == 0.0
    assert day_of(replace(made(300, 2000), time_kind="index")) == 0.0


def test_spans() -> None:
    row = np.array([3.0, 1.0, 4.0, 1.0, 5.0], np.float32)
    runs: IntArray = np.array([[0, 2], [1, 5], [4, 5]])
    assert spans.over(row, np.maximum, runs).tolist() == [3, 5, 5]
    wild = np.array([[-5, 1], [3, 9], [2, 2], [7, 9], [-4, -2]])
    assert spans.over_or(row, np.add, wild, -1.0).tolist() == [3, 6, -1, -1, -1]
    middle, count = spans.medians(spans.gather(row, wild, 6))
    assert count.tolist() == [1, 2, 0, 0, 0] and middle[:2].tolist() == [3.0, 3.0] and np.isnan(middle[2:]).all()
