"""Reviewed candidates to a calibrated probability per candidate: default weights, corrected by what people said.

The log odds are those of the default weights plus a Gaussian process with an additive kernel: intercept, linear
correction, an intercept per series, and a memory of what was said of similar candidates. In weight space, with random
Fourier features for the memory (Rahimi and Recht 2007), so a refit is linear in the number of reviews; the posterior is
Laplace's approximation (Rasmussen and Williams 2006, 3.4), and the scales are not tuned but averaged by their evidence.
Candidates of one window are more alike than the model knows, and few verdicts would be believed too much: the log odds
are drawn towards those of the default weights as if these were 40 verdicts. What a candidate looks like decides its
probability, not how its window was chosen, so no weighting is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tsad.core.errors import WeightsError
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.detectors.proposals.features.table import FEATURES, FIRST_EDITION, PLACE

# Prior deviations of the intercept, the linear correction, the intercept of a series and the memory.
INTERCEPTS, SLOPES, SERIES, MEMORIES = (0.3, 1.0, 2.5), (0.25, 0.7, 1.5), (0.0, 0.7), (0.0, 0.6, 1.4)
WAVES = 96  # random Fourier features of the memory
LENGTH_SCALE = 0.45  # of the memory, times the square root of the number of features
NEGLIGIBLE = 0.01  # a setting of this share of the evidence is left out
RIDGE, FIRST_RIDGE = 60.0, 20.0  # of the default weights of all features, and of those of the first edition
PRIOR = 40.0  # verdicts: no development set falls after 12 windows
FAR = 4.0  # standardised features are cut here: one odd figure must not decide


@dataclass(frozen=True, eq=False)
class Defaults:
    """Weights before any review: of the intercept and the standardised features, with mean and scale of these.

    Attributes:
        names: the features that count, in the order of the weights and of saved verdicts.
    """

    weights: FloatArray
    middle: FloatArray
    scale: FloatArray
    names: tuple[str, ...] = FEATURES

    @cached_property
    def columns(self) -> IntArray:
        """Where its features are among ``FEATURES``."""
        return np.array([PLACE[name] for name in self.names], np.int64)

    @cached_property
    def remembered(self) -> IntArray:
        """Which of its features the memory compares: those of the first edition."""
        return np.flatnonzero([name in FIRST_EDITION for name in self.names])

    def own(self, features: FloatArray) -> FloatArray:
        """Its features out of all: [N, len(FEATURES)] -> [N, F]."""
        return features[:, self.columns]

    def standardise(self, features: FloatArray) -> FloatArray:
        """[N, F] -> [N, F] within -4..4."""
        return np.clip((features - self.middle) / self.scale, -FAR, FAR)

    def log_odds(self, standard: FloatArray) -> FloatArray:
        """[N, F] standardised -> [N]."""
        return self.weights[0] + standard @ self.weights[1:]


@dataclass(eq=False)
class Calibrator:
    """Probability that a person confirms a candidate.

    Attributes:
        defaults: weights before any review.
        prior: verdicts that the default weights count as beside the correction; 0 = none, as in the first edition.
        names: series that were reviewed, in the order of their intercepts.
        verdicts: reviewed candidates.
        settings: (share of the evidence, deviations [D], mean weights [D], covariance [D, D]) per setting of scales.
    """

    defaults: Defaults
    prior: float = PRIOR
    names: tuple[str, ...] = ()
    verdicts: int = 0
    settings: list[tuple[float, FloatArray, FloatArray, FloatArray]] = field(default_factory=list)

    def fit(self, features: FloatArray, series: Sequence[str], confirmed: BoolArray) -> Calibrator:
        """The same defaults corrected by reviewed candidates: [N, F], N names, [N]; about a second for a thousand."""
        fitted = Calibrator(self.defaults, self.prior)
        if len(confirmed) == 0:
            return fitted
        fitted.names, fitted.verdicts = tuple(sorted(set(series))), len(confirmed)
        standard = self.defaults.standardise(features)
        base = fitted._base(standard, series)
        offset = self.defaults.log_odds(standard)
        truth = np.asarray(confirmed, float)
        found = []
        for scales in itertools.product(INTERCEPTS, SLOPES, SERIES, MEMORIES):
            deviations = fitted._deviations(scales)
            used = deviations > 0
            mean, covariance, evidence = _laplace(base[:, used] * deviations[used], offset, truth)
            found.append((evidence, used, deviations, mean, covariance))
        best = max(one[0] for one in found)
        shares = np.exp([one[0] - best for one in found])
        shares /= shares.sum()
        kept = [(share, one) for share, one in zip(shares, found, strict=True) if share > NEGLIGIBLE]
        whole = sum(share for share, _ in kept)
        fitted.settings = [
            (float(share / whole), deviations * used, mean, covariance)
            for share, (_, used, deviations, mean, covariance) in kept
        ]
        return fitted

    def probability(self, features: FloatArray, series: Sequence[str]) -> FloatArray:
        """[N, F] and N names -> [N] in 0..1."""
        standard = self.defaults.standardise(features)
        offset = self.defaults.log_odds(standard)
        if not self.settings or len(standard) == 0:
            return sigmoid(offset)
        base = self._base(standard, series)
        out = np.zeros(len(offset))
        for share, deviations, mean, covariance in self.settings:
            used = deviations > 0
            columns = base[:, used] * deviations[used]
            variance = np.maximum(((columns @ covariance) * columns).sum(axis=1), 0.0)
            out += share * sigmoid((offset + columns @ mean) / np.sqrt(1 + np.pi / 8 * variance))
        return sigmoid(mixed(logit(out), offset, trust(self.verdicts, self.prior))) if self.prior else out

    def slopes(self) -> FloatArray:
        """What each feature counts in the log odds per deviation of it, before and after reviews. [F].

        The linear part alone: what the memory of single candidates adds is not in it.
        """
        count = len(self.defaults.middle)
        learned = np.zeros(count)
        for share, deviations, mean, _ in self.settings:
            used = deviations > 0
            whole = np.zeros(len(deviations))
            whole[used] = mean * deviations[used]
            learned += share * whole[1 : 1 + count]
        return np.asarray(self.defaults.weights[1:] + trust(self.verdicts, self.prior) * learned)

    def _base(self, standard: FloatArray, series: Sequence[str]) -> FloatArray:
        """[N, 1 + F + S + 2 W]: intercept, features, series, waves."""
        place = {name: k for k, name in enumerate(self.names)}
        marks = np.zeros((len(standard), len(self.names)))
        for row, name in enumerate(series):
            if name in place:
                marks[row, place[name]] = 1.0
        remembered = standard[:, self.defaults.remembered]
        angles = remembered @ _frequencies(remembered.shape[1])
        waves = np.concatenate((np.cos(angles), np.sin(angles)), axis=1) / np.sqrt(WAVES)
        return np.concatenate((np.ones((len(standard), 1)), standard, marks, waves), axis=1)

    def _deviations(self, scales: tuple[float, float, float, float]) -> FloatArray:
        intercept, slope, per_series, memory = scales
        count = len(self.defaults.middle)
        sizes = (1, count, len(self.names), 2 * WAVES)
        return np.repeat((intercept, slope / np.sqrt(count) * 2, per_series, memory), sizes)


def trust(verdicts: int, prior: float) -> float:
    """Weight of what so many verdicts say, 0..1, beside a prior that counts as ``prior`` of them."""
    return verdicts / (verdicts + prior) if verdicts else 0.0


def mixed(learned: FloatArray, usual: FloatArray, weight: float) -> FloatArray:
    """``weight`` of the learned log odds, the rest of the usual ones. [N], [N] -> [N]."""
    return weight * learned + (1 - weight) * usual


def logit(p: FloatArray) -> FloatArray:
    """Probabilities, held off 0 and 1 by 1e-9, as log odds. Any shape."""
    held = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(held / (1 - held)))


def _frequencies(count: int) -> FloatArray:
    rng = np.random.default_rng(0)  # the same for every calibrator: a saved one must read its features again
    return rng.standard_normal((count, WAVES)) / (LENGTH_SCALE * np.sqrt(count))


def _laplace(columns: FloatArray, offset: FloatArray, truth: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Posterior mean [D], covariance [D, D] and log evidence of a logistic model with standard normal weights."""
    if columns.shape[1] > len(columns):
        return _laplace_dual(columns, offset, truth)
    weights: FloatArray = np.zeros(columns.shape[1])
    for _ in range(25):
        p = sigmoid(offset + columns @ weights)
        curvature = np.maximum(p * (1 - p), 1e-9)
        hessian = (columns * curvature[:, None]).T @ columns + np.eye(len(weights))
        step = np.linalg.solve(hessian, columns.T @ (truth - p) - weights)
        weights = weights + step
        if np.abs(step).max() < 1e-4:
            break
    z = offset + columns @ weights
    fit = -np.logaddexp(0, np.where(truth > 0.5, -z, z)).sum() - 0.5 * weights @ weights
    return weights, np.linalg.inv(hessian), float(fit - 0.5 * np.linalg.slogdet(hessian)[1])


def _laplace_dual(columns: FloatArray, offset: FloatArray, truth: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """The same with matrices of the size of the reviews (Rasmussen and Williams 2006, algorithm 3.1)."""
    kernel = columns @ columns.T
    f: FloatArray = np.zeros(len(offset))
    for _ in range(40):
        p = sigmoid(offset + f)
        root = np.sqrt(np.maximum(p * (1 - p), 1e-9))
        inner = np.eye(len(f)) + root[:, None] * kernel * root
        b = root**2 * f + truth - p
        a = b - root * np.linalg.solve(inner, root * (kernel @ b))
        step = kernel @ a - f
        f = f + np.clip(step, -3, 3)
        if np.abs(step).max() < 1e-4:
            break
    weights = columns.T @ a
    scaled = root[:, None] * columns
    covariance = np.eye(columns.shape[1]) - scaled.T @ np.linalg.solve(inner, scaled)
    z = offset + f
    fit = -np.logaddexp(0, np.where(truth > 0.5, -z, z)).sum() - 0.5 * weights @ weights
    return weights, covariance, float(fit - 0.5 * np.linalg.slogdet(inner)[1])


def sigmoid(z: FloatArray) -> FloatArray:
    """Log odds as probabilities. Any shape."""
    return 1 / (1 + np.exp(-np.clip(z, -40, 40)))


def fit_defaults(
    groups: Sequence[tuple[FloatArray, BoolArray]], names: Sequence[str] = FEATURES, ridge: float = RIDGE,
    total: float = 900.0,
) -> Defaults:  # fmt: skip
    """Default weights by ridge logistic regression; every group of (features, confirmed) counts the same.

    Args:
        names: the features that count; the groups hold all of ``FEATURES``.
        ridge: on the standardised weights, the intercept left out.
        total: what all candidates weigh together.
    """
    rows = np.concatenate([features for features, _ in groups])[:, [PLACE[name] for name in names]]
    truth = np.concatenate([confirmed for _, confirmed in groups]).astype(float)
    weight = np.concatenate([np.full(len(t), total / len(groups) / len(t)) for _, t in groups])
    middle, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    columns = np.c_[np.ones(len(rows)), np.clip((rows - middle) / scale, -FAR, FAR)]
    penalty = np.diag(np.r_[1e-3, np.full(rows.shape[1], ridge)])
    weights = np.zeros(columns.shape[1])
    for _ in range(60):
        p = sigmoid(columns @ weights)
        hessian = (columns * (weight * p * (1 - p) + 1e-9)[:, None]).T @ columns + penalty
        step = np.linalg.solve(hessian, columns.T @ (weight * (truth - p)) - penalty @ weights)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return Defaults(weights, middle, scale, tuple(names))


def averaged(first: Defaults, every: Defaults) -> Defaults:
    """The mean log odds of two sets of weights fitted to the same rows; the first has some of the features."""
    weights = every.weights / 2
    weights[0] += first.weights[0] / 2
    weights[1 + np.array([every.names.index(name) for name in first.names])] += first.weights[1:] / 2
    return Defaults(weights, every.middle, every.scale, every.names)


def to_json(defaults: Defaults) -> dict[str, Any]:
    """JSON-able default weights, by name of the feature."""
    return {
        "intercept": float(defaults.weights[0]),
        "features": {
            name: {"weight": float(w), "mean": float(m), "scale": float(s)}
            for name, w, m, s in zip(defaults.names, defaults.weights[1:], defaults.middle, defaults.scale, strict=True)
        },
    }


def from_json(stated: Mapping[str, Any], names: Sequence[str] = ()) -> Defaults:
    """Default weights as :func:`to_json` wrote them.

    Args:
        names: the order of the features; none = that of ``FEATURES``.

    Raises:
        WeightsError: weights of a feature that this tsad does not know.
    """
    named = stated["features"]
    if strange := sorted({*named} - {*FEATURES}):
        raise WeightsError(
            f"the calibrator's weights name features that this tsad does not compute: {', '.join(strange)}",
            "Use the tsad that made them, or train a new version.",
        )
    order = tuple(names) or tuple(name for name in FEATURES if name in named)
    table = np.array([[named[f]["weight"], named[f]["mean"], named[f]["scale"]] for f in order])
    return Defaults(np.r_[stated["intercept"], table[:, 0]], table[:, 1], table[:, 2], order)
