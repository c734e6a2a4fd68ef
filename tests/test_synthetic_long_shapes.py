"""The fifth development set: reproducible, one labelled cycle each, and nothing that its height would give away."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from reading_kit import series_of
from sources_kit import CONF

from tsad.core.errors import ConfigError
from tsad.core.intervals import intervals_to_mask
from tsad.core.series import Series
from tsad.sources.long_shapes import LongShapesSource
from tsad.synthetic.generator import make_batch
from tsad.synthetic.long_shapes import EDITS, FORMS, long_shapes


@pytest.fixture(scope="module")
def shapes() -> list[Series]:
    return long_shapes(0, 30, 4000, 12_000)


def test_same_seed_same_series_and_other_seed_others(shapes: list[Series]) -> None:
    again, other = long_shapes(0, 30, 4000, 12_000), long_shapes(1, 30, 4000, 12_000)
    assert [s.digest for s in shapes] == [s.digest for s in again]
    assert [s.labels for s in shapes] == [s.labels for s in again]
    assert not {s.digest for s in shapes} & {s.digest for s in other}


def test_a_larger_set_begins_with_the_smaller_one(shapes: list[Series]) -> None:
    assert [s.digest for s in long_shapes(0, 10, 4000, 12_000)] == [s.digest for s in shapes[:10]]


def test_each_series_has_one_cycle_labelled_after_a_normal_beginning(shapes: list[Series]) -> None:
    assert {s.point_id.split("_")[1] for s in shapes} == set(FORMS)
    for edit in EDITS:
        assert 7 <= sum(s.point_id.endswith(edit) for s in shapes) <= 8
    for series in shapes:
        assert 4000 <= len(series) <= 12_000 and series.time_kind == "index" and np.isfinite(series.values).all()
        (label,) = series.labels or ()
        inside = np.flatnonzero(intervals_to_mask([label], series.timestamps))
        assert 20 <= len(inside) <= 700 and series.point_id.endswith(label.label)
        assert len(series) / 8 < inside[0] and inside[-1] < len(series) * 0.99


def test_height_does_not_give_the_odd_cycle_away(shapes: list[Series]) -> None:
    higher = 0
    for series in shapes:
        values = series.values[:, 0]
        inside = intervals_to_mask(series.labels or (), series.timestamps)
        higher += values[inside].max() > values[~inside].max() or values[inside].min() < values[~inside].min()
    assert higher <= 8


def test_no_series_of_training_is_drawn_from_the_same_numbers() -> None:
    """Seeds of the set carry a number of their own before them, those of training do not."""
    series = long_shapes(0, 1, 4000, 4000)[0].values[:, 0]
    made = make_batch(np.random.default_rng((0, 0)), 4, 4000)
    for row in made.clean:
        assert abs(np.corrcoef(row[: len(series)], series[: len(row)])[0, 1]) < 0.9


@pytest.mark.parametrize("wrong", [(0, 4000, 5000), (1, 100, 5000), (1, 6000, 5000)])
def test_impossible_sets_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="long_shapes needs series >= 1"):
        long_shapes(0, *wrong)


def test_the_source_reads_them_with_labels() -> None:
    options = {k: v for k, v in yaml.safe_load((CONF / "long_shapes.yaml").read_text()).items() if k != "_target_"}
    assert options == {"seed": 0, "series": 30, "shortest": 20_000, "longest": 100_000}
    source = LongShapesSource(**options | {"series": 2, "shortest": 4000, "longest": 6000})
    read = list(series_of(source))
    assert [s.point_id for s in read] == source.points() == ["01_heart_bent", "02_pulse_cut"]
    assert all(s.labels and len(s.labels) == 1 for s in read) and "seed=0" in source.describe()
    with pytest.raises(ConfigError, match=r"source=long_shapes: .*shortest"):
        LongShapesSource(**options | {"shortest": 9000, "longest": 8000}).points()
