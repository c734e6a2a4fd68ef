"""A series with the places where its data quality was found wanting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.plots.canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, empty_figure, fonts, readable
from tsad.plots.series import Lane, _draw_lanes, _draw_line, _label_time, _shade, _x

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CHANNELS = 3
LOOKS = ((VERMILION, ""), (ORANGE, "////"), (PURPLE, "...."), (BLUE, "\\\\\\\\"), (GREEN, "xxxx"), (GREY, "||||"))


def quality_figure(series: Series, marks: Sequence[Interval], channels: Sequence[str] = ()) -> Figure:
    """A series, and below it one row for each label among the marks.

    Args:
        series: [T, C]; gaps in time and missing values interrupt the line.
        marks: stretches, ns UTC, labelled with the finding they belong to.
        channels: those to draw, at most three; the first ones where there are none of these names.
    """
    names = list(dict.fromkeys(mark.label for mark in marks))
    lanes = [
        Lane(name, *LOOKS[k % len(LOOKS)], [mark for mark in marks if mark.label == name])
        for k, name in enumerate(names)
    ]
    wanted = [series.channels.index(name) for name in channels if name in series.channels]
    shown = (wanted or list(range(len(series.channels))))[:MAX_CHANNELS]
    heights = [1.6 if len(shown) == 1 else 1.1] * len(shown) + [0.26 * len(lanes)] * bool(lanes)
    figure = empty_figure(10, 0.7 + sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    x = _x(series.timestamps, series)
    for axes, channel in zip(panels, shown, strict=False):
        _draw_line(axes, x, series.values[:, channel], INK, 0.8)
        axes.set_ylabel(readable(series.channels[channel], 22), fontfamily=fonts(), fontsize=8)
        for lane in lanes:
            _shade(axes, [lane], series)
    if lanes:
        _draw_lanes(panels[-1], lanes, series)
    panels[0].set_xlim(*_x(np.array([series.timestamps[0], series.timestamps[-1] + series.step]), series))
    _label_time(panels[-1], series)
    return figure
