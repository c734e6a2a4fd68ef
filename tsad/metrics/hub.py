"""The same metrics as modules of Hugging Face ``evaluate``, for those who work with that library.

    from tsad.metrics import hub
    vus = hub.load("vus_pr")
    vus.add(predictions=scores, references=labels)  # one series each
    vus.compute()

Nothing is fetched: the modules are made here, and what is added stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.interval import composite_counts, composite_of, interval_counts
from tsad.metrics.point import PRF, pa_point_counts, point_counts, precision_recall_f1
from tsad.metrics.ranking import auc_pr, vus_pr

if TYPE_CHECKING:
    import evaluate

Arrays = Sequence[npt.ArrayLike]


@dataclass(frozen=True)
class Recipe:
    """What a module says of itself, the type of its predictions, and the function behind it."""

    description: str
    predictions: str  # "bool" masks or "float64" scores
    compute: Callable[..., dict[str, float]]
    citation: str


def _as_dict(result: PRF) -> dict[str, float]:
    return {"precision": result.precision, "recall": result.recall, "f1": result.f1}


def _total(rows: Sequence[Sequence[float]]) -> list[float]:
    return np.sum(np.array(rows, np.float64), axis=0).tolist()


def _point(truths: Arrays, predictions: Arrays) -> dict[str, float]:
    counts = [point_counts(t, p) for t, p in zip(truths, predictions, strict=True)]
    return _as_dict(precision_recall_f1(*_total(counts)))


def _pa_point(truths: Arrays, predictions: Arrays) -> dict[str, float]:
    counts = [pa_point_counts(t, p) for t, p in zip(truths, predictions, strict=True)]
    return {f"pa_{name}": value for name, value in _as_dict(precision_recall_f1(*_total(counts))).items()}


def _interval(truths: Arrays, predictions: Arrays, iou: float = 0.0) -> dict[str, float]:
    counts = [interval_counts(runs_of(t), runs_of(p), iou) for t, p in zip(truths, predictions, strict=True)]
    return _as_dict(precision_recall_f1(*_total(counts)))


def _composite(truths: Arrays, predictions: Arrays) -> dict[str, float]:
    counts = [
        composite_counts(runs_of(t), runs_of(p), np.size(np.asarray(t)))
        for t, p in zip(truths, predictions, strict=True)
    ]
    return _as_dict(composite_of(*_total(counts)))


def _affiliation(truths: Arrays, predictions: Arrays) -> dict[str, float]:
    pairs = [(np.asarray(t, bool), np.asarray(p, bool)) for t, p in zip(truths, predictions, strict=True)]
    parts = [affiliation_prf(runs_of(t), runs_of(p), len(t)) for t, p in pairs if t.any()]
    return {name: _mean([getattr(part, name) for part in parts]) for name in PRF._fields}


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _auc_pr(truths: Arrays, predictions: Arrays) -> dict[str, float]:
    return {"auc_pr": _mean([auc_pr(t, s) for t, s in zip(truths, predictions, strict=True)])}


def _vus_pr(truths: Arrays, predictions: Arrays, max_buffer: int = 100, thresholds: int = 250) -> dict[str, float]:
    return {"vus_pr": _mean([vus_pr(t, s, max_buffer, thresholds) for t, s in zip(truths, predictions, strict=True)])}


RECIPES = {
    "point": Recipe("Point-wise precision, recall and F1 over all points.", "bool", _point, ""),
    "pa_point": Recipe(
        "Point-adjusted precision, recall and F1; flatters.", "bool", _pa_point, "Xu et al. 2018, arXiv 1802.03903"
    ),
    "interval": Recipe(
        "Precision, recall and F1 of intervals matched one to one by overlap, or by IoU >= iou.", "bool", _interval, ""
    ),
    "composite": Recipe(
        "Point-wise precision, event-wise recall and their F1.", "bool", _composite,
        "Garg et al. 2021, arXiv 2109.11428",
    ),
    "affiliation": Recipe(
        "Affiliation precision, recall and F1, mean over series that hold an anomaly.", "bool", _affiliation,
        "Huet et al. 2022, arXiv 2206.13167",
    ),
    "auc_pr": Recipe("Average precision, mean over series that hold an anomaly.", "float64", _auc_pr, ""),
    "vus_pr": Recipe(
        "Volume under the PR surface, mean over series that hold an anomaly.", "float64", _vus_pr,
        "Paparrizos et al. 2022, PVLDB 15(11)",
    ),
}


def load(name: str, cache_dir: str | None = None) -> evaluate.Metric:
    """A metric as an ``evaluate`` module; one example = one series, references are masks [T] bool.

    Args:
        name: one of RECIPES.
        cache_dir: where ``evaluate`` makes its (empty) folder; default its own cache.

    Raises:
        ValueError: unknown name.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no metric {name!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    import datasets
    import evaluate

    class TsadMetric(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            features = datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value(recipe.predictions)),
                    "references": datasets.Sequence(datasets.Value("bool")),
                }
            )
            usage = "predictions and references: one sequence per series, of equal length."
            return evaluate.MetricInfo(
                description=recipe.description, citation=recipe.citation, inputs_description=usage, features=features
            )

        def _compute(self, predictions: Arrays, references: Arrays, **options: Any) -> dict[str, float]:
            return recipe.compute(references, predictions, **options)

    return TsadMetric(config_name=name, keep_in_memory=True, cache_dir=cache_dir)
