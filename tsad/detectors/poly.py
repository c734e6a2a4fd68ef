"""POLY: how far a stretch lies from the polynomial that its neighbourhood predicts for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.subsequences import SubsequenceDetector, SubsequenceOptions

SIDES = 5  # blocks on either side of a block that its polynomial is fitted to
SPAN = 2 * SIDES + 1  # blocks of a neighbourhood
CELLS = 1 << 21  # numbers in the neighbourhoods predicted at once: bounds memory


class PolyOptions(SubsequenceOptions):
    """Keyword arguments of :class:`Poly`."""

    degree: int = Field(ge=0, le=10)
    smooth: float = Field(ge=0)


class Poly(SubsequenceDetector):
    """The residual to a polynomial fitted around each block of ``window`` points, the block itself left out.

    A block at the edge of the series keeps a neighbourhood of full length, all or most of it on one side. Residuals are
    divided by their standard deviation under white noise, sqrt(1 + leverage) (deleted residuals: Belsley, Kuh and
    Welsch 1980, Regression Diagnostics), so that extrapolation at the edges raises no alarm; then comes their root mean
    square over ``smooth`` blocks. After TSB-AD's POLY, which takes a spectral distance in place of the latter.

    Args:
        window: points of a block; 0 = the channel's period.
        degree: of the polynomial.
        smooth: blocks whose residuals are taken together around each point; 0 = each residual by itself.
        half: robust deviations that score 0.5.

    Raises:
        DetectorError: an impossible option.
    """

    name = "poly"
    options_model = PolyOptions
    settings: PolyOptions

    def deviation(self, values: FloatArray, window: int) -> FloatArray:
        from scipy.ndimage import uniform_filter1d

        width = max(2, min(window, len(values) // SPAN))
        if len(values) < SPAN * width:
            return np.zeros(len(values))
        squares = np.square(self._residuals(values, width))
        around = round(self.settings.smooth * width)
        return np.sqrt(np.maximum(uniform_filter1d(squares, around) if around > 1 else squares, 0.0))

    def _residuals(self, values: FloatArray, width: int) -> FloatArray:
        """Standardised deleted residuals, [T]; blocks are counted from the start, the last one reaches back."""
        starts: IntArray = np.arange(0, len(values) - width + 1, width)
        if starts[-1] + width < len(values):
            starts = np.append(starts, len(values) - width)
        first = np.clip(starts - SIDES * width, 0, len(values) - SPAN * width)
        out = np.empty(len(values))
        around = np.lib.stride_tricks.sliding_window_view(values, SPAN * width)
        for place, members in _by_place(starts - first):
            fit, predict, spread = self._predictor(width, place)
            step = max(1, CELLS // (SPAN * width))
            for k in range(0, len(members), step):
                some = members[k : k + step]
                rows = around[first[some]]
                inside = rows[:, place : place + width]
                out[starts[some, None] + np.arange(width)] = (inside - rows @ fit @ predict) / spread
        return out

    def _predictor(self, width: int, place: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What predicts the block at ``place`` of a neighbourhood, without the block's own points.

        Returns:
            Neighbourhood to coefficients [SPAN * width, degree + 1], coefficients to block [degree + 1, width], and
            sqrt(1 + leverage) of each of its points [width].
        """
        basis = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, SPAN * width), self.settings.degree)
        kept = np.ones(SPAN * width, bool)
        kept[place : place + width] = False
        solve = np.linalg.pinv(basis[kept])
        fit = np.zeros_like(basis)
        fit[kept] = solve.T
        inside = basis[~kept]
        leverage = np.einsum("wd,de,we->w", inside, solve @ solve.T, inside)
        return fit, inside.T, np.sqrt(1.0 + leverage)


def _by_place(places: IntArray) -> Iterator[tuple[int, IntArray]]:
    """(place, positions of the blocks that have it): one for the inner blocks and a few for the edges."""
    for place in np.unique(places):
        yield int(place), np.flatnonzero(places == place)
