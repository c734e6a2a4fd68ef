"""What the detectors have in common that compare sub-sequences: stretches of one length, one at every point."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.detectors.evidence.period import find_period
from tsad.detectors.numeric import combine_channels, fill_missing, is_constant, squash, tame

Subsequences = npt.NDArray[np.float32]

SHORTEST = 4  # points of a sub-sequence; a series of fewer than four such scores 0
FLOOR = 0.01  # standard deviations of the channel: differences below this are nobody's anomaly
FLAT = 0.05  # of the channel's deviation: a flatter sub-sequence is not blown up to deviation 1
CELLS = 1 << 21  # numbers in the sub-sequences made at once: 8 MB


class SubsequenceOptions(Options):
    """Keyword arguments that all of them take."""

    window: int = Field(ge=0)
    half: float = Field(gt=0)

    @field_validator("window")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if 0 < value < SHORTEST:
            raise ValueError(f"should be 0 (the period) or at least {SHORTEST}")
        return value


class SubsequenceDetector(Detector):
    """Scores each channel by itself: how far points lie from what is usual there, in robust deviations d.

    The score is ``d / (d + half)``, d counted from the channel's median; of several channels see
    ``numeric.combine_channels``. Missing values are filled by straight lines and score 0.

    Args:
        window: points of a sub-sequence; 0 = the channel's own period (``evidence.period``). Never more than a
            quarter of the series.
        half: robust deviations that score 0.5.

    Raises:
        DetectorError: a window below 4 points, or ``half`` not above 0.
    """

    options_model: ClassVar[type[Options]] = SubsequenceOptions
    settings: SubsequenceOptions

    @abstractmethod
    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        """How unusual each point is, 0 or more, in no particular unit. [T] -> [T].

        Args:
            values: one channel, nothing missing, mean 0 and deviation 1.
            window: points of a sub-sequence, 4 to T // 4.
        """

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [self._score(one) for one in series]

    def _score(self, series: Series) -> FloatArray:
        if len(series) < 4 * SHORTEST:
            return np.zeros(len(series))
        channels = [self._channel(values) for values in series.values.T if not is_constant(values)]
        return combine_channels(channels, series.values.shape[1]) if channels else np.zeros(len(series))

    def _channel(self, values: FloatArray) -> FloatArray:
        filled, observed = fill_missing(tame(values))
        centred = filled - filled.mean()  # before the division: a large offset must not eat the variation
        standard = centred / centred.std()
        window = min(self.settings.window or round(find_period(standard.astype(np.float32)).points), len(standard) // 4)
        scores = squash(robust_excess(self.deviation(standard, window)), self.settings.half)
        scores[~observed] = 0.0
        return scores


def robust_excess(deviation: FloatArray) -> FloatArray:
    """How far each value lies above the median, in robust standard deviations; 0 below it. [T] -> [T]."""
    distance = deviation - np.median(deviation)
    spread = 1.4826 * float(np.median(np.abs(distance))) or float(np.mean(np.abs(distance)))
    return np.maximum(distance, 0.0) / max(spread, FLOOR)


def condense(values: FloatArray, window: int, most: int) -> tuple[FloatArray, int, int]:
    """Neighbouring points averaged, so that a sub-sequence has at most ``most`` values.

    A sub-sequence's score goes to all its points anyway, so little sharpness is lost.

    Returns:
        values [ceil(T / factor)], points of a sub-sequence in them, and the factor.
    """
    factor = -(-window // most)
    if factor == 1:
        return values, window, 1
    padded = np.concatenate((values, np.full(-len(values) % factor, values[-1])))
    return padded.reshape(-1, factor).mean(axis=1), max(SHORTEST, window // factor), factor


def subsequences(values: FloatArray, window: int, starts: npt.NDArray[np.int64], *, shape: bool) -> Subsequences:
    """The sub-sequences that begin at ``starts``, [N, window] float32.

    Args:
        shape: each brought to mean 0 and deviation 1, so that only the shape counts; a flat one stays small.
    """
    rows = np.lib.stride_tricks.sliding_window_view(values, window)[starts].astype(np.float32)
    if shape:
        rows -= rows.mean(axis=1, keepdims=True)
        rows /= np.maximum(rows.std(axis=1, keepdims=True), np.float32(FLAT))
    return rows


def batches(values: FloatArray, window: int, *, shape: bool, width: int = 0) -> Iterator[Subsequences]:
    """All T - window + 1 sub-sequences in order, some at a time, so that memory does not grow with T.

    Args:
        width: numbers that the caller makes of each sub-sequence, where these are more than its own.
    """
    total, size = len(values) - window + 1, max(1, CELLS // max(window, width))
    for first in range(0, total, size):
        yield subsequences(values, window, np.arange(first, min(first + size, total)), shape=shape)


def evenly(total: int, count: int) -> npt.NDArray[np.int64]:
    """At most ``count`` positions of 0..total-1, evenly spaced; all of them where there are no more."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def to_points(distances: FloatArray, window: int) -> FloatArray:
    """Mean over the sub-sequences that cover each point. [T - window + 1] -> [T]."""
    total = len(distances) + window - 1
    sums = np.concatenate(([0.0], np.cumsum(distances)))
    at = np.arange(total)
    first, last = np.maximum(at - window + 1, 0), np.minimum(at + 1, len(distances))
    return np.maximum(sums[last] - sums[first], 0.0) / (last - first)
