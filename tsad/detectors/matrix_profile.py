"""Matrix profile: distance of each sub-sequence's shape to the nearest other one, by stumpy."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np

from tsad.core.errors import MissingPackageError
from tsad.core.option_model import Options
from tsad.core.types import FloatArray, Needs
from tsad.detectors.subsequences import SubsequenceDetector, to_points
from tsad.files.locate import install_extra

BLOCK = 20_000  # points compared with each other: time grows with its square


class MatrixProfile(SubsequenceDetector):
    """z-normalised distance of each sub-sequence to its nearest neighbour in a block of at most 20,000 points.

    A longer series is cut into blocks of that length, the last one reaching back; of two blocks that hold a
    sub-sequence the nearer neighbour counts. The distance, root mean square per point, goes to the points: the mean
    over the sub-sequences that cover each. A constant sub-sequence is as far from any other as two without
    correlation are (stumpy's rule). Source: Yeh et al. 2016, Matrix Profile I; stumpy's ``stump`` does the work.

    Args:
        window: points of a sub-sequence; 0 = the channel's period.
        half: robust deviations that score 0.5.

    Raises:
        DetectorError: an impossible option.
        MissingPackageError: stumpy is not installed.
    """

    name = "matrix_profile"

    def __init__(self, options: Options | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        if importlib.util.find_spec("stumpy") is None:
            raise MissingPackageError("detector matrix_profile needs stumpy", f"Run: {install_extra('peers')}")

    @classmethod
    def needs(cls, options: Options | None = None) -> Needs:
        return Needs(packages=("stumpy",))

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        width = min(window, BLOCK // 4)
        profile = np.full(len(values) - width + 1, np.inf)
        last = max(0, len(values) - BLOCK)
        for start in sorted({*range(0, last, BLOCK - width + 1), last}):
            block = _profile(values[start : start + BLOCK], width)
            part = profile[start : start + len(block)]
            np.minimum(part, block, out=part)
        profile[~np.isfinite(profile)] = 0.0  # too short for a neighbour that does not overlap
        return to_points(profile, width) / np.sqrt(width)


def _profile(values: FloatArray, width: int) -> FloatArray:
    """stumpy's matrix profile of one block. [T] -> [T - width + 1]."""
    import stumpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a window is long for a short series
        return stumpy.stump(np.ascontiguousarray(values), m=width)[:, 0].astype(np.float64)

