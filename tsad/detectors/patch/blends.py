"""How much the evidence counts in the score beside the network: named sums, of which the weights' config chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import Evidence
from tsad.detectors.evidence.ranks import PART

MANY = 16  # channels from which on the highest of many rows is always high somewhere


@dataclass(frozen=True)
class Blend:
    """Rows of evidence added to the log odds of a channel.

    Attributes:
        weights: by name of the row.
        highest: weight of the highest of the rows in ``among``.
        usual: what they add up to at an unusual, but normal point.
        network: weight of the network's own log odds.
    """

    weights: Mapping[str, float]
    usual: float
    highest: float = 0.0
    among: tuple[str, ...] = ()
    network: float = 1.0

    def told(self, evidence: Evidence) -> np.ndarray:
        """What the evidence adds to the log odds of each point, [T] float32."""
        told = np.full(len(evidence.values), -self.usual, np.float32)
        for name, weight in self.weights.items():
            told += np.float32(weight) * evidence.row(name)
        if self.highest:
            rows = [evidence.row(name) for name in self.among]
            told += np.float32(self.highest) * np.maximum.reduce(rows)
        return told


FIRST = Blend({"short_neighbour": 2.0, "neighbour": 1.2, "energy": 1.0}, 2.5)  # chosen on the development sets
HIGHEST = Blend({"short_neighbour": 2.0, "energy": 1.0}, 3.0, 2.0,
                ("short_neighbour", "middle_neighbour", "neighbour"))  # fmt: skip
# of the second edition: chosen on the mean of the development sets and long_shapes among 51 (model card)
FEATURES = Blend({"short_features": 1.5, "long_features": 0.5, "longest_features": 0.5, "brief_neighbour": 1.0,
                  "cycle": 1.0, "two_cycles": 0.5}, 3.0, network=0.5)  # fmt: skip
BALANCED = replace(FEATURES, network=0.67)  # of the third edition, whose network tells more: chosen there among 5
BLENDS = {"sum": FIRST, "highest": HIGHEST, "features": FEATURES, "balanced": BALANCED}


def blend_for(name: str, channels: int) -> Blend:
    """The blend that the weights name; from 16 channels on the plain sum in place of the highest of several rows."""
    return FIRST if channels >= MANY and BLENDS[name].highest else BLENDS[name]


def blend_in(scores: FloatArray, evidence: Evidence, amount: float, blend: Blend = FIRST) -> None:
    """Raise or lower the log odds of each score by what the evidence says, in place. scores [T] in 0..1."""
    from scipy.special import expit, logit

    for start in range(0, len(scores), PART):  # the series may have millions of points
        part = scores[start : start + PART]
        np.clip(part, 1e-6, 1 - 1e-6, out=part)
        logit(part, out=part)
        part *= 1 + min(amount, 1.0) * (blend.network - 1)
        part += amount * blend.told(evidence.part(start, start + PART))
        expit(part, out=part)
