"""The learning curve's yardstick: a logistic regression over the evidence of the points of the reviewed windows."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from tsad.core.options.threshold import kept_threshold
from tsad.core.proposing import to_runs
from tsad.core.types import FloatArray
from tsad.detectors.rules.base import KnownScores, ThresholdRule
from tsad.steps.curve_protocol import Said, Split, answers, by_threshold

ROUNDS = 200  # of the optimiser, at most


def by_linear(split: Split, count: int, noise: float, rule: ThresholdRule) -> Said:
    """Points whose probability under a logistic regression on the first ``count`` windows reaches a threshold.

    What is regressed on is the size of each row of evidence, standardised over the set; the threshold is what the rule
    asks for on the same windows. Until both answers have been given it is the detector's score as it stands.
    """
    line = split.line
    reviewed, said = answers(split, count, noise)
    if not said.any() or not (reviewed & ~said).any():
        return by_threshold(split, count, noise, rule)
    windows = split.windows[:count]
    started = time.process_time()
    probability = _fitted(line.evidence, reviewed, said)
    scores, truths = [probability[a:b] for a, b in windows], [said[a:b] for a, b in windows]
    threshold = rule.choose(KnownScores(scores=scores, truths=truths, weights=np.ones(len(windows))))
    seconds = time.process_time() - started
    runs = to_runs(probability, threshold, kept_threshold(dict(rule.settings)))
    return Said(np.zeros(0), runs, probability, seconds, None, np.zeros(0, bool))


def _fitted(figures: npt.NDArray[np.float32], reviewed: np.ndarray, said: np.ndarray) -> FloatArray:
    """Probability of each point of the line, 0 between its series. [N, E], [N], [N] -> [N]."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=ROUNDS).fit(figures[reviewed], said[reviewed])
    probability = np.asarray(model.predict_proba(figures)[:, 1], np.float64)
    probability[~figures.any(axis=1)] = 0.0
    return probability
