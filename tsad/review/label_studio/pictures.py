"""Pictures that travel with a task as data URIs: the whole series with the window marked, and a thumbnail. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.durations import format_duration
from tsad.core.intervals import clip, runs_of
from tsad.core.overview import SeriesOverview, overview_of
from tsad.core.printing import shortened
from tsad.core.reviews import Choice, Purpose
from tsad.core.types import IntArray
from tsad.plots import svg
from tsad.plots.canvas import BLUE, GREY, INK, ORANGE, VERMILION
from tsad.plots.ticks import ticks
from tsad.review.label_studio.clock import offset_ns
from tsad.review.label_studio.moments import from_to
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import PAUSE, View
from tsad.review.label_studio.words import said, share

WIDTH, LEFT, RIGHT = 1200, 150, 1190  # of the overview, and the columns between which it draws, pixels
CAPTION, AXIS = 20, 18  # rows above and below the panels
PANELS, SMALL_PANEL = {1: 90, 2: 60}, 26  # rows of a channel's panel, by how many channels there are
MARGIN = 3
MOST_TICKS = 10
CHARACTER = 7  # columns, of a digit and what parts it from the next
THUMB_WIDTH, THUMB_HEIGHT, THUMB_CHANNELS = 240, 40, 2  # the list makes it 26 pixels high
LEAST_MARK = 3  # columns: a short window in years of data is seen, too


def pictures_of(choice: Choice, view: View, template: Template, options: LabelStudioOptions) -> dict[str, str]:
    """Keys of a task's data that are pictures: ``thumbnail``, and ``overview`` where the project's template has it."""
    out = {"overview": svg.data_uri(overview_picture(choice, view, options))} if template.overview else {}
    if options.pictures:
        out["thumbnail"] = svg.data_uri(thumbnail(choice, view))
    return out


def overview_picture(choice: Choice, view: View, options: LabelStudioOptions) -> str:
    """The whole series (where it is not at hand, what surrounds the window) as SVG, a panel per drawn channel.

    The window is marked, the middle 90% of the values are shaded, lines are broken where values are missing, and times
    are of 24 hours in the project's offset.
    """
    whole = choice.overview or overview_of(view.window.series)
    channels = view.channels
    rows = PANELS.get(len(channels), SMALL_PANEL)
    floor = CAPTION + rows * len(channels)
    parts = [svg.box(0, 0, WIDTH, floor + AXIS, "white"), svg.text(4, 14, _caption(choice, whole, options), INK)]
    parts.append(_mark(_columns(whole, view.window.span, LEFT, RIGHT), (CAPTION, floor), ORANGE))
    for k, channel in enumerate(channels):
        band = (CAPTION + k * rows, CAPTION + (k + 1) * rows)
        parts += [_usual(whole, channel, band), _line(whole, channel, (LEFT, RIGHT), band, fine=len(channels) < 3)]
        name = f"{k + 1} {whole.channels[channel]}" if len(channels) > 1 else whole.channels[channel]
        parts += _legend(name, whole.extent(channel), band)
    marks = ticks(int(whole.edges[0]), int(whole.edges[-1]), whole.time_kind, offset_ns(options.utc_offset), MOST_TICKS)
    free = 0
    for x, tick in zip(_columns(whole, [m.at for m in marks], LEFT, RIGHT), marks, strict=True):
        parts.append(svg.box(int(x), floor, 1, 4, GREY))
        if x >= free:  # the date may stand where the next mark is
            parts.append(svg.text(int(x) + 3, floor + 14, tick.text, INK))
            free = int(x) + 3 + CHARACTER * len(tick.text)
    return svg.drawing(WIDTH, floor + AXIS, parts)


def thumbnail(choice: Choice, view: View) -> str:
    """The window as SVG with what is proposed for it; of a blind one nothing is proposed."""
    window, channels = view.window, view.channels[:THUMB_CHANNELS]
    little = overview_of(window.series.slice(window.start, window.stop), THUMB_WIDTH)
    parts = [svg.box(0, 0, THUMB_WIDTH, THUMB_HEIGHT, "white")]
    shown = () if choice.purpose is Purpose.GOLD else clip(choice.proposal or (), *window.span)
    for item in shown:
        parts.append(_mark(_columns(little, (item.start, item.end), 0, THUMB_WIDTH), (0, THUMB_HEIGHT), VERMILION))
    for k, channel in enumerate(channels):
        band = (k * THUMB_HEIGHT // len(channels), (k + 1) * THUMB_HEIGHT // len(channels))
        parts.append(_line(little, channel, (0, THUMB_WIDTH), band))
    return svg.drawing(THUMB_WIDTH, THUMB_HEIGHT, parts)


def _caption(choice: Choice, whole: SeriesOverview, options: LabelStudioOptions) -> str:
    """What the overview shows, in the language people read."""
    language, counts = options.language, whole.time_kind == "index"
    span = int(whole.edges[0]), int(whole.edges[-1]) - whole.step
    zone = said("index", language) if counts else f"UTC{options.utc_offset}"
    parts = [
        said("whole" if choice.overview else "around", language),
        f"{from_to(*span, whole.time_kind, offset_ns(options.utc_offset))} ({zone})",
        said("points", language, whole.points),
        *([] if counts else [said("step", language, format_duration(whole.step))]),
        *([said("missing", language, share(whole.missing))] if whole.missing > 0 else []),
        said("window", language), said("usual", language),
    ]  # fmt: skip
    return " \N{MIDDLE DOT} ".join(parts)


def _columns(whole: SeriesOverview, stamps: Sequence[int] | IntArray, left: int, right: int) -> IntArray:
    """Where moments lie between two columns of the drawing. [N] ns UTC -> [N]."""
    first, last = int(whole.edges[0]), int(whole.edges[-1])
    part = (np.asarray(stamps, np.int64) - first) / (last - first)
    return np.rint(left + part.clip(0, 1) * (right - left)).astype(np.int64)


def _mark(columns: IntArray, band: tuple[int, int], colour: str) -> str:
    """A stretch of time, see-through, and wide enough to be seen."""
    begin, end = (int(c) for c in columns)
    width = max(LEAST_MARK, end - begin)
    return svg.box(begin, band[0], width, band[1] - band[0], colour, 0.45)


def _usual(whole: SeriesOverview, channel: int, band: tuple[int, int]) -> str:
    """The middle 90% of a channel's values, shaded."""
    extent = whole.extent(channel)
    if extent is None:
        return ""
    bottom, top = svg.rows_of(whole.usual[:, channel], extent, (band[0] + MARGIN, band[1] - MARGIN))
    return svg.box(LEFT, int(top), RIGHT - LEFT, max(1, int(bottom - top)), BLUE, 0.12)


def _line(
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
        _columns(whole, starts, *across), svg.rows_of(high, extent, rows), svg.rows_of(low, extent, rows), inside
    )
    return svg.path(path, BLUE)


def _legend(name: str, extent: tuple[float, float] | None, band: tuple[int, int]) -> list[str]:
    """A channel's name at its panel and, where there is room, the values between which it moves."""
    middle, name = (band[0] + band[1]) // 2, shortened(name, 20)
    if extent is None or band[1] - band[0] <= SMALL_PANEL:
        return [svg.text(LEFT - 8, middle + 4, name, INK, "end")]
    reach = f"{extent[0]:.4g} \N{HORIZONTAL ELLIPSIS} {extent[1]:.4g}"
    return [svg.text(LEFT - 8, middle - 2, name, INK, "end"), svg.text(LEFT - 8, middle + 12, reach, GREY, "end")]
