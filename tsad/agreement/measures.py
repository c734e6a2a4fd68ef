"""How far people agree on the windows that two or more of them judged: on intervals, on time, beyond chance."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.errors import MissingPackageError
from tsad.core.intervals import merge, merge_runs
from tsad.core.results import Result
from tsad.core.types import IntArray, Interval
from tsad.files.locate import install_extra
from tsad.metrics.interval import interval_counts

Marks = tuple[Interval, ...]
Judgements = Mapping[str, Mapping[str, Marks]]  # window -> person -> what she marks; nothing = she says normal
Unit = Sequence[Marks]  # what two or more people say of one window


@dataclass(frozen=True, eq=False)
class AgreementFigures(Result):
    """How far people agree; NaN where there is nothing to count.

    Attributes:
        windows: judged by two or more people; the figures are of these.
        interval_f1: of all pairs of people, intervals that overlap matched one to one, window by window.
        iou: time that both of a pair mark over time that either does, summed over all pairs and windows.
        kappa: Fleiss' kappa (1971, Psychological Bulletin 76, p. 378) of windows called normal or abnormal; the windows
            may have different numbers of people. 0 = as by chance, 1 = always alike; NaN where all say the same of all.
        alpha: Krippendorff's alpha (2004, Content Analysis, 11.3), nominal, of the same.
    """

    windows: int
    interval_f1: float
    iou: float
    kappa: float
    alpha: float


@dataclass(frozen=True, eq=False)
class PairAgreement(Result):
    """Two people over the windows that both judged; figures as in :class:`AgreementFigures`."""

    first: str
    second: str
    windows: int
    interval_f1: float
    iou: float


@dataclass(frozen=True, eq=False)
class Agreement(Result):
    """Agreement of a project's people.

    Attributes:
        overall: of all of them. kinds: of intervals of one kind alone, by its name.
        people: of each person with everybody who judged the same windows, by id.
        pairs: of any two of them that share a window.
    """

    overall: AgreementFigures
    kinds: Mapping[str, AgreementFigures]
    people: Mapping[str, AgreementFigures]
    pairs: tuple[PairAgreement, ...]


def agreement_of(judgements: Judgements) -> Agreement:
    """How far people agree, in all, by kind, by person and pair by pair.

    Raises:
        MissingPackageError: nltk, which Label Studio brings along, is not there though two people share a window.
    """
    shared = {window: said for window, said in judgements.items() if len(said) > 1}
    units = [tuple(said.values()) for said in shared.values()]
    kinds = sorted({i.label for unit in units for marks in unit for i in marks})
    people = sorted({person for said in shared.values() for person in said})
    return Agreement(
        overall=_figures(units),
        kinds={kind: _figures([tuple(_of_kind(marks, kind) for marks in unit) for unit in units]) for kind in kinds},
        people={person: _figures(_with_others(shared, person)) for person in people},
        pairs=tuple(_pairs(shared, people)),
    )


def _of_kind(marks: Marks, kind: str) -> Marks:
    return tuple(i for i in marks if i.label == kind)


def _with_others(shared: Judgements, person: str) -> list[Unit]:
    """What she and each other person say of a window, pair by pair."""
    own = [said for said in shared.values() if person in said]
    return [(said[person], marks) for said in own for other, marks in said.items() if other != person]


def _pairs(shared: Judgements, people: Sequence[str]) -> Iterable[PairAgreement]:
    for first, second in itertools.combinations(people, 2):
        units = [(said[first], said[second]) for said in shared.values() if first in said and second in said]
        if units:
            yield PairAgreement(first, second, len(units), *_overlap(units))


def _figures(units: Sequence[Unit]) -> AgreementFigures:
    ratings = [[bool(marks) for marks in unit] for unit in units]
    return AgreementFigures(len(units), *_overlap(units), fleiss_kappa(ratings), krippendorff_alpha(ratings))


def _overlap(units: Sequence[Unit]) -> tuple[float, float]:
    """Interval F1 and IoU in time over all pairs of all units."""
    matched = marked = shared = union = 0
    for unit in units:
        for a, b in itertools.combinations([_runs(marks) for marks in unit], 2):
            counts = interval_counts(a, b)
            matched, marked = matched + 2 * int(counts.tp), marked + len(a) + len(b)
            both = _length(merge_runs(np.concatenate((a, b))))
            shared, union = shared + _length(a) + _length(b) - both, union + both
    return (matched / marked if marked else np.nan), (shared / union if union else np.nan)


def _runs(marks: Marks) -> IntArray:
    """Intervals as disjoint runs of ns, [K, 2]."""
    return np.array([(i.start, i.end) for i in merge(marks)], np.int64).reshape(-1, 2)


def _length(runs: IntArray) -> int:
    return int((runs[:, 1] - runs[:, 0]).sum())


def fleiss_kappa(ratings: Sequence[Sequence[object]]) -> float:
    """Agreement beyond chance of two or more ratings of each unit; NaN without units or with a single category.

    Fleiss 1971, equations 1 to 7; where units have different numbers of ratings, the mean of P_i is over units.
    """
    counted = [Counter(unit) for unit in ratings]
    total: Counter[object] = sum(counted, Counter())
    if len(total) < 2:
        return float("nan")
    alike = [sum(n * (n - 1) for n in of.values()) / (of.total() * (of.total() - 1)) for of in counted]
    chance = sum((n / total.total()) ** 2 for n in total.values())
    return float((np.mean(alike) - chance) / (1 - chance))


def krippendorff_alpha(ratings: Sequence[Sequence[object]]) -> float:
    """1 - observed over expected disagreement of nominal ratings; NaN without units or with a single category.

    Raises:
        MissingPackageError: nltk is not installed.
    """
    if len({rating for unit in ratings for rating in unit}) < 2:
        return float("nan")
    try:
        from nltk.metrics.agreement import AnnotationTask
    except ImportError as error:
        raise MissingPackageError(
            f"Krippendorff's alpha needs nltk ({error})",
            f"Run: {install_extra('studio')}, or pip install nltk.",
        ) from error
    return float(AnnotationTask([(k, n, r) for n, unit in enumerate(ratings) for k, r in enumerate(unit)]).alpha())
