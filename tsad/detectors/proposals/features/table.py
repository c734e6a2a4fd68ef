"""All features of a candidate, by name: figures that mean the same in every series and for every detector."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.proposals.candidates import Candidates
from tsad.detectors.proposals.features import committee, likeness, memory, order, recurrence, scales, score, shape
from tsad.detectors.proposals.features.context import Context

FIRST_EDITION = score.NAMES  # what the first edition's weights and saved verdicts are of, in their order
FEATURES = (*FIRST_EDITION, *shape.NAMES, *scales.NAMES, *order.NAMES, *recurrence.NAMES, *likeness.NAMES, *score.LATER,
            *memory.NAMES, *committee.NAMES)  # fmt: skip
PLACE = {name: column for column, name in enumerate(FEATURES)}


def features_of(examined: Examined, candidates: Candidates, day: float = 0.0) -> FloatArray:
    """[K, len(FEATURES)] float64, in the order of :data:`FEATURES`.

    Args:
        day: points per day; 0 = unknown.
    """
    if len(candidates) == 0:
        return np.zeros((0, len(FEATURES)))
    context = Context(examined, candidates, day)
    scored = score.score_features(context)
    return np.concatenate((
        scored, shape.shape_features(context), scales.scale_features(context), order.order_features(context, scored),
        recurrence.recurrence_features(context), likeness.likeness_features(context, scored),
        score.rows_inside(context, score.LATER), memory.memory_features(context),
        committee.committee_features(context),
    ), axis=1)  # fmt: skip
