"""A series in little as SVG: lines that break where values are missing, marks, the usual range, an axis of time. Pure.

All columns and rows are whole pixels of the drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.overview import SeriesOverview, overview_of
from tsad.core.printing import shortened
from tsad.core.series import Series
from tsad.core.types import IntArray, Interval
from tsad.plots import svg
from tsad.plots.canvas import BLUE, GREY, INK, VERMILION
from tsad.plots.ticks import ticks

WIDTH, LEFT, RIGHT = 1200, 150, 1190  # of a drawing with an axis, and the columns between which it draws, pixels
CAPTION, AXIS = 20, 18  # rows above and below the panels
PANELS, SMALL_PANEL = {1: 90, 2: 60}, 26  # rows of a channel's panel, by how many channels there are
MARGIN = 3
MOST_TICKS = 10
CHARACTER = 7  # columns, of a digit and what parts it from the next
LEAST_MARK = 3  # columns: a short window in years of data is seen, too
PAUSE = 3.0  # sampling intervals without a point that are a gap
MOST_PANELS = 8


def series_picture(series: Series, marks: Iterable[Interval], offset: int = 0) -> str:
    """A whole series as SVG, a panel for each of its first channels, with stretches of time marked.

    Args:
        marks: what is marked. offset: by how many ns people's clocks are ahead of UTC.
    """
    whole = overview_of(series)
    channels = tuple(range(min(MOST_PANELS, len(series.channels))))
    floor = CAPTION + panel_rows(len(channels)) * len(channels)
    more = len(series.channels) - len(channels)
    caption = f"{series.point_id} \N{MIDDLE DOT} {whole.points:,} points"
    caption += f" \N{MIDDLE DOT} {more} more channels are not drawn" if more else ""
    parts = [svg.box(0, 0, WIDTH, floor + AXIS, "white"), svg.text(4, 14, shortened(caption, 150), INK)]
    for item in marks:
        parts.append(mark(columns(whole, (item.start, item.end), LEFT, RIGHT), (CAPTION, floor), VERMILION))
    parts += [*panels(whole, channels), *axis(whole, floor, offset)]
    return svg.drawing(WIDTH, floor + AXIS, parts)


def panel_rows(channels: int) -> int:
    """Rows of a channel's panel, by how many channels there are."""
    return PANELS.get(channels, SMALL_PANEL)


def panels(whole: SeriesOverview, channels: Sequence[int]) -> list[str]:
    """A panel per channel: its usual range shaded, its line, its name."""
    rows, parts = panel_rows(len(channels)), []
    for k, channel in enumerate(channels):
        band = (CAPTION + k * rows, CAPTION + (k + 1) * rows)
        parts += [usual(whole, channel, band), line(whole, channel, (LEFT, RIGHT), band, fine=len(channels) < 3)]
        name = f"{k + 1} {whole.channels[channel]}" if len(channels) > 1 else whole.channels[channel]
        parts += legend(name, whole.extent(channel), band)
    return parts


def axis(whole: SeriesOverview, floor: int, offset: int) -> list[str]:
    """Marks of time below row ``floor``, as many of them with words as there is room for."""
    parts, free = [], 0
    marks = ticks(int(whole.edges[0]), int(whole.edges[-1]), whole.time_kind, offset, MOST_TICKS)
    for x, tick in zip(columns(whole, [m.at for m in marks], LEFT, RIGHT), marks, strict=True):
        parts.append(svg.box(int(x), floor, 1, 4, GREY))
        if x >= free:  # the date may stand where the next mark is
            parts.append(svg.text(int(x) + 3, floor + 14, tick.text, INK))
            free = int(x) + 3 + CHARACTER * len(tick.text)
    return parts


def columns(whole: SeriesOverview, stamps: Sequence[int] | IntArray, left: int, right: int) -> IntArray:
    """Where moments lie between two columns of the drawing. [N] ns UTC -> [N]."""
    first, last = int(whole.edges[0]), int(whole.edges[-1])
    part = (np.asarray(stamps, np.int64) - first) / (last - first)
    return np.rint(left + part.clip(0, 1) * (right - left)).astype(np.int64)


def mark(columns: IntArray, band: tuple[int, int], colour: str) -> str:
    """A stretch of time, see-through, and wide enough to be seen."""
    begin, end = (int(c) for c in columns)
    width = max(LEAST_MARK, end - begin)
    return svg.box(begin, band[0], width, band[1] - band[0], colour, 0.45)


def usual(whole: SeriesOverview, channel: int, band: tuple[int, int]) -> str:
    """The middle 90% of a channel's values, shaded."""
    extent = whole.extent(channel)
    if extent is None:
        return ""
    bottom, top = svg.rows_of(whole.usual[:, channel], extent, (band[0] + MARGIN, band[1] - MARGIN))
    return svg.box(LEFT, int(top), RIGHT - LEFT, max(1, int(bottom - top)), BLUE, 0.12)


def line(
    whole: SeriesOverview, channel: int, across: tuple[int, int], band: tuple[int, int], fine: bool = True
) -> str:
    """A channel's values; ``fine=False`` takes two stretches of time together, for where many lines are drawn."""
    extent = whole.extent(channel)
    if extent is None:
        return ""
    low, high, starts = whole.low[:, channel], whole.high[:, channel], whole.edges[:-1]
    if not fine and len(low) > 1:
        even = np.arange(0, len(low), 2)
        low, high, starts = np.fmin.reduceat(low, even), np.fmax.reduceat(high, even), starts[even]
    known = np.isfinite(low)
    broken = np.zeros(len(low), bool)
    for first, stop in runs_of(~known):
        until = int(starts[stop]) if stop < len(starts) else int(whole.edges[-1])
        broken[first:stop] = until - int(starts[first]) >= PAUSE * whole.step
    index = np.arange(len(low))
    low, high = (np.interp(index, index[known], values[known]) for values in (low, high))
    inside = known | ~broken
    inside[: int(np.argmax(known))] = inside[len(known) - int(np.argmax(known[::-1])) :] = False
    rows = (band[0] + MARGIN, band[1] - MARGIN)
    path = svg.trace(
        columns(whole, starts, *across), svg.rows_of(high, extent, rows), svg.rows_of(low, extent, rows), inside
    )
    return svg.path(path, BLUE)


def legend(name: str, extent: tuple[float, float] | None, band: tuple[int, int]) -> list[str]:
    """A channel's name at its panel and, where there is room, the values between which it moves."""
    middle, name = (band[0] + band[1]) // 2, shortened(name, 20)
    if extent is None or band[1] - band[0] <= SMALL_PANEL:
        return [svg.text(LEFT - 8, middle + 4, name, INK, "end")]
    reach = f"{extent[0]:.4g} \N{HORIZONTAL ELLIPSIS} {extent[1]:.4g}"
    return [svg.text(LEFT - 8, middle - 2, name, INK, "end"), svg.text(LEFT - 8, middle + 12, reach, GREY, "end")]
