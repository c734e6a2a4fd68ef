"""What every detector offers, and the few lines they share."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tsad.core.bases import DetectorBase
from tsad.core.errors import DetectorError
from tsad.core.moved import recorded
from tsad.core.options import ThresholdOptions
from tsad.core.series import Series
from tsad.core.types import BoolArray, Detection, FloatArray, Origin
from tsad.detectors.thresholds import to_intervals

if TYPE_CHECKING:
    from tsad.detectors.evidence.examined import Examined


class Detector(DetectorBase, ABC):
    """Gives each point of a series a score in 0..1, higher = more abnormal.

    A detector is made from typed keyword arguments, keeps no state between calls and scores each series by
    itself: a call with several series equals as many calls with one.
    """

    name: ClassVar[str]
    trainable: ClassVar[bool] = False  # whether it implements core.protocols.Trainable

    @abstractmethod
    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        """Scores of each series, [T] float64 in 0..1; missing points and constant series score 0.

        Raises:
            DetectorError: the detector cannot score what it was given.
        """

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        """Scores and evidence of each series, one at a time: what proposals are made from."""
        from tsad.detectors.evidence.examined import Examined, series_rows

        for one in series:
            yield Examined(self.score([one])[0], series_rows(one))

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The keyword arguments that rebuild this detector, as JSON-able values."""

    def describe(self) -> dict[str, Any]:
        """``_target_`` and keyword arguments: what a registered version keeps to rebuild the detector."""
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **self.options()}

    @property
    def config_hash(self) -> str:
        """First 12 hex digits of the SHA-256 of :meth:`describe`; a class that has moved keeps its hash."""
        described = self.describe()
        described["_target_"] = recorded(described["_target_"])
        text = json.dumps(described, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def base_reference(self) -> dict[str, str]:
        """``id``, ``path`` and ``sha256`` of the base weights; empty where there are none."""
        return {}

    def with_adapter(self, folder: Path | None) -> Detector:
        """The same detector under a LoRA adapter; ``None`` gives the unadapted base.

        Raises:
            DetectorError: this detector has no network that could take one.
        """
        if folder is None:
            return self
        raise DetectorError(f"Detector {self.name} takes no adapter (asked for {folder})", "Use detector=patch.")

    def detect(
        self, series: Sequence[Series], threshold: float, options: ThresholdOptions, origin: Origin
    ) -> list[Detection]:
        """Scores and proposed intervals of each series, in the order given."""
        return [
            Detection(one.point_id, scores, to_intervals(scores, one.timestamps, threshold, options), origin, threshold)
            for one, scores in zip(series, self.score(series), strict=True)
        ]


def fill_missing(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Missing values of one channel filled by straight lines, edges held. [T] -> filled [T], observed [T].

    A channel without any value comes back as zeros.
    """
    observed = np.isfinite(values)
    if observed.all():
        return values, observed
    if not observed.any():
        return np.zeros(len(values)), observed
    at = np.flatnonzero(observed)
    return np.interp(np.arange(len(values)), at, values[at]), observed


def tame(values: FloatArray) -> FloatArray:
    """Values in a unit where their squares neither overflow nor vanish; scores do not depend on the unit. Any shape."""
    low, high = extent(values)
    peak = max(abs(low), abs(high))
    return values / peak if peak > 1e100 or 0.0 < peak < 1e-100 else values


def squash(deviation: FloatArray, half: float) -> FloatArray:
    """Deviations 0.. to scores 0..1, monotonic: ``d / (d + half)``, so ``half`` scores 0.5. Any shape."""
    return 1.0 - half / (deviation + half)  # written so that an infinite deviation scores 1


def is_constant(values: FloatArray) -> bool:
    """Whether a channel has no value, or one value only up to rounding. values [T], NaN where missing."""
    low, high = extent(values)
    return high - low <= 1e-12 * max(abs(low), abs(high))


def extent(values: FloatArray) -> tuple[float, float]:
    """Lowest and highest value, without a copy of the values; (0, 0) where all are missing. Any shape."""
    if values.size == 0:
        return 0.0, 0.0
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return (float(low), float(high)) if np.isfinite(low) else (0.0, 0.0)


def combine_channels(channels: Sequence[FloatArray], count: int) -> FloatArray:
    """One score for the machine: the mean of the highest ``count // 8`` (at least one) channel scores, point by point.

    Below 16 channels that is the highest; the highest of many is always high somewhere.

    Args:
        channels: [T] each, those that vary; the others of ``count`` score 0.
        count: how many channels the series has.
    """
    top = max(1, count // 8)
    if len(channels) == 1:
        return channels[0] / top
    stacked = np.stack(channels)
    if len(stacked) > top:
        stacked = np.partition(stacked, len(stacked) - top, axis=0)[-top:]
    return stacked.sum(axis=0) / top
