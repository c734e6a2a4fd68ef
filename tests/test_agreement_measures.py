"""agreement.measures: figures against published and hand-counted ones, by kind, person and pair."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.agreement.measures import Agreement, agreement_of, fleiss_kappa, krippendorff_alpha
from tsad.core.errors import MissingPackageError
from tsad.core.types import Interval


def marks(*spans: tuple[int, int], kind: str = "Anomaly") -> tuple[Interval, ...]:
    return tuple(Interval(a, b, kind) for a, b in spans)


# Fleiss 1971, as tabulated in https://en.wikipedia.org/wiki/Fleiss%27_kappa: 10 subjects, 14 raters, 5 categories.
TABLE = (
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip


def test_kappa_is_the_published_one() -> None:
    ratings = [[category for category, n in enumerate(row) for _ in range(n)] for row in TABLE]
    assert fleiss_kappa(ratings) == pytest.approx(0.2099, abs=5e-5)


def test_alpha_of_two_people_is_the_published_one() -> None:
    # Krippendorff 2011, Computing Krippendorff's alpha-reliability, example A: binary, two observers, ten units.
    first, second = (0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0)
    assert krippendorff_alpha(list(zip(first, second, strict=True))) == pytest.approx(0.095, abs=5e-4)


def test_figures_by_hand() -> None:
    judgements = {
        "w1": {"a": marks((0, 10)), "b": marks((5, 15)), "c": marks((0, 10))},
        "w2": {"a": marks(), "b": marks((0, 4), kind="spike")},
        "w3": {"a": marks(), "b": marks()},
        "w4": {"a": marks((0, 99))},
    }
    found = agreement_of(judgements)
    assert found.overall.windows == 3, "w4 was judged by one person alone"
    assert found.overall.interval_f1 == pytest.approx(6 / 7)  # three matched pairs of w1, one interval alone in w2
    assert found.overall.iou == pytest.approx((5 + 10 + 5) / (15 + 10 + 15 + 4))
    # P_i = 1, 0, 1; abnormal 4 of 7, normal 3 of 7
    chance = (16 + 9) / 49
    assert found.overall.kappa == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert -1 <= found.overall.alpha <= 1
    assert set(found.kinds) == {"Anomaly", "spike"} and found.kinds["spike"].interval_f1 == 0.0
    assert found.kinds["Anomaly"].interval_f1 == 1.0
    pairs = {(p.first, p.second): p for p in found.pairs}
    assert {k: p.windows for k, p in pairs.items()} == {("a", "b"): 3, ("a", "c"): 1, ("b", "c"): 1}
    assert pairs["a", "c"].iou == 1.0 and pairs["b", "c"].iou == pytest.approx(1 / 3)
    assert found.people["c"].interval_f1 == 1.0 and found.people["c"].iou == pytest.approx((10 + 5) / (10 + 15))
    assert found.people["a"].windows == 4, "with b three times and with c once"
    assert Agreement.from_json(found.to_json()) == found


def test_nothing_shared_has_no_figures() -> None:
    alone = agreement_of({"w": {"a": marks((0, 1))}}).overall
    assert alone.windows == 0 and all(math.isnan(v) for v in (alone.interval_f1, alone.iou, alone.kappa, alone.alpha))
    same = agreement_of({"w": {"a": marks((0, 2)), "b": marks((0, 2))}}).overall
    assert (same.interval_f1, same.iou) == (1.0, 1.0) and math.isnan(same.kappa) and math.isnan(same.alpha)


def test_without_nltk_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("nltk"):
            raise ImportError("No module named 'nltk'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert math.isnan(krippendorff_alpha([])), "nobody shares a window: nothing is missed"
    with pytest.raises(MissingPackageError, match=r"nltk.*\[studio\].*pip install nltk"):
        krippendorff_alpha([(0, 1)])


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=4), min_size=1, max_size=12))
def test_chance_corrected_figures_stay_in_bounds_and_reward_agreement(ratings: list[list[bool]]) -> None:
    kappa, alpha = fleiss_kappa(ratings), krippendorff_alpha(ratings)
    assert math.isnan(kappa) == math.isnan(alpha) == (len({r for unit in ratings for r in unit}) < 2)
    if not math.isnan(kappa):
        assert kappa <= 1 + 1e-12 and alpha <= 1 + 1e-12
        alike = [[unit[0]] * len(unit) for unit in ratings]
        if len({unit[0] for unit in ratings}) == 2:
            assert fleiss_kappa(alike) == pytest.approx(1.0) and krippendorff_alpha(alike) == pytest.approx(1.0)
    assert np.isfinite(kappa) or math.isnan(kappa)
