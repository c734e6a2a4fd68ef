"""What the channels of a machine say of each other."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.course import Course
from tsad.detectors.evidence.ranks import PART, Floats

FAR = 6.0  # deviations at which a value is cut: a spike must not bend the regression
RIDGE = 0.05
SAMPLE = 1 << 16  # points that carry the regression


def cross_residuals(scaled: Floats, course: Course | None = None) -> Floats:
    """What the other channels leave unexplained of each channel. [T, C] in deviations -> [T, C].

    Each channel is regressed on all others at once: with P the inverse of their (ridge) covariance, the residual of
    channel c is ``(x P)_c / P_cc`` (Lauritzen 1996, Graphical Models, 5.1.3). Points that fit badly count less in a
    second round. Zeros for a single channel.

    Args:
        course: whose state holds the regression.
    """
    total, count = scaled.shape
    if count < 2 or total < 16:
        return np.zeros_like(scaled)
    course = course or Course()
    turn, centre = course.state.arrays("regression", lambda: _regression(scaled))
    out = np.empty_like(scaled)
    for start in range(0, total, PART):
        part = slice(start, start + PART)
        away = np.clip(scaled[part], -FAR, FAR) - centre
        if course.fixed and len(away) < PART:
            away = np.concatenate((away, np.zeros((PART - len(away), count))))
        out[part] = (away @ turn)[: total - start]
    return out


def _regression(scaled: Floats) -> tuple[FloatArray, FloatArray]:
    sample = np.clip(scaled[:: max(1, len(scaled) // SAMPLE)].astype(np.float64), -FAR, FAR)
    # with all points alike first, then with those that fit
    turn, centre = _residual_maker(sample, np.ones(len(sample)))
    return _residual_maker(sample, _fit(sample - centre, turn))


def _residual_maker(sample: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[C, C] matrix from centred values to residuals, and the centre [C]."""
    share = weight / weight.sum()
    centre = share @ sample
    away = sample - centre
    covariance = (away * share[:, None]).T @ away
    precision = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    return precision / np.diag(precision), centre


def _fit(away: FloatArray, turn: FloatArray) -> FloatArray:
    """How well the channels explain each other at each point, 0..1. [N, C] -> [N]."""
    residual = away @ turn
    usual = np.median(np.abs(residual), axis=0) * 1.4826 + 0.02
    return 1 / (1 + ((residual / usual) ** 2).mean(axis=1) / 4)
