"""Stretches of series side by side: one that was asked about, and those that look like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Interval
from tsad.plots.canvas import BLUE, INK, ORANGE, empty_figure, fonts, readable
from tsad.plots.series import decimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
BUCKETS = 400  # drawn pieces of a line; a panel is about 350 pixels wide


def look_alikes_figure(panels: Sequence[tuple[Series, Sequence[Interval], str]]) -> Figure:
    """A panel per stretch, the one that was asked about first, in blue; what is considered abnormal is shaded.

    Each panel has a range of its own: shapes are compared, not sizes. Of several channels the one that moves most.

    Args:
        panels: the points, intervals in them, and a few words.
    """
    rows = max(1, -(-len(panels) // COLUMNS))
    figure = empty_figure(11, 0.5 + 1.9 * rows)
    every = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for number, (axes, panel) in enumerate(zip(every, panels, strict=False)):
        series, intervals, words = panel
        values = series.values[:, _moving(series)]
        axes.plot(*decimate(np.arange(len(series), dtype=np.float64), values, BUCKETS), linewidth=1.0,
                  color=INK if number else BLUE)  # fmt: skip
        for start, stop in intervals_to_runs(intervals, series.timestamps):
            axes.axvspan(start - 0.5, stop - 0.5, color=ORANGE, alpha=0.25, linewidth=0)
        at = format_time(int(series.timestamps[0]), series.time_kind)
        axes.set_title(f"{words}\n{readable(series.point_id, 30)} {at}", fontsize=8, fontfamily=fonts())
        axes.set_xlim(0, max(1, len(series) - 1))
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle("What looks like it: distance, and what people have said", x=0.01, ha="left", fontsize=11)
    return figure


def _moving(series: Series) -> int:
    """The channel with the largest move against its own usual size there."""
    values = np.nan_to_num(series.values)
    spread = values.std(axis=0)
    moved = np.abs(values - np.median(values, axis=0)).max(axis=0)
    return int((moved / np.where(spread > 0, spread, np.inf)).argmax())
