"""The range of values that a project draws, where its series have one scale: quiet noise then looks quiet. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.overview import SeriesOverview, overview_of
from tsad.core.reviews import Choice

Range = tuple[float, float]

LEAST_SHARE = 0.25  # of the common range that every series spans itself, or they have no scale in common
MOST_BANDS = 8.0  # usual bands that a range may hold: a glitch far outside would flatten everything else
MARGIN = 0.02  # of the range, above and below


def common_ranges(choices: Sequence[Choice], channels: int) -> tuple[Range | None, ...]:
    """What each of the channels is drawn over in every task; ``None`` = each task finds its own range.

    Args:
        choices: of series that all have these channels, in this order.
    """
    overviews = _overviews(choices)
    return tuple(_common(overviews, channel) for channel in range(channels))


def extents(choices: Sequence[Choice], channels: int) -> tuple[Range | None, ...]:
    """Lowest and highest value of each channel in all series, as far as they are at hand. [C]."""
    overviews = _overviews(choices)
    spans = [[s for o in overviews if (s := o.extent(c)) is not None] for c in range(channels)]
    return tuple((min(a for a, _ in own), max(b for _, b in own)) if own else None for own in spans)


def _overviews(choices: Sequence[Choice]) -> list[SeriesOverview]:
    unique = {id(c.overview or c.window.series): c for c in choices}
    return [c.overview or overview_of(c.window.series) for c in unique.values()]


def _common(overviews: Sequence[SeriesOverview], channel: int) -> Range | None:
    spans = [s for o in overviews if (s := o.extent(channel)) is not None]
    if not spans:
        return None
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    if high <= low or any(b - a < LEAST_SHARE * (high - low) for a, b in spans):
        return None
    bands = np.array([o.usual[:, channel] for o in overviews])
    usual = float(np.nanmax(bands[:, 1]) - np.nanmin(bands[:, 0]))
    if high - low > MOST_BANDS * usual:
        return None
    margin = MARGIN * (high - low)
    return low - margin, high + margin
