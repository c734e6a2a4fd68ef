"""What a task draws of the series around a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsad.core.series import Window
from tsad.core.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class View:
    """The part of a window's series that its task draws.

    Attributes:
        window: the reviewed unit.
        rows: [N] positions in ``window.series`` that are drawn, ascending, context included.
        channels: the drawn ones, in the order in which they are drawn.
    """

    window: Window
    rows: IntArray
    channels: tuple[int, ...]


def view_of(window: Window, max_channels: int) -> View:
    """The window itself, with as many of its channels as fit."""
    return View(window, np.arange(window.start, window.stop), tuple(channels_shown(window, max_channels)))


def channels_shown(window: Window, most: int) -> list[int]:
    """Channels to draw, in their own order: of too many, those that deviate most inside the window.

    Deviation is the largest distance from the series' median in units of its interquartile range.
    """
    values = window.values
    present = [c for c in range(values.shape[1]) if np.isfinite(values[:, c]).any()]
    if len(present) <= most:
        return present
    low, middle, high = np.nanpercentile(window.series.values[:, present], (25, 50, 75), axis=0)
    with np.errstate(invalid="ignore"):
        far = np.nanmax(np.abs(values[:, present] - middle), axis=0)
    spread: FloatArray = high - low
    flat = np.nanstd(window.series.values[:, present], axis=0)
    spread = np.where(spread > 0, spread, np.where(flat > 0, flat, 1.0))
    best = np.argsort(-(far / spread), kind="stable")[:most]
    return sorted(present[c] for c in best)
