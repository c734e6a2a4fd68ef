"""Pictures that travel with a task as data URIs: the whole series with the window marked, and a thumbnail. Pure."""

from __future__ import annotations

from tsad.core.durations import format_duration
from tsad.core.intervals import clip
from tsad.core.overview import SeriesOverview, overview_of
from tsad.core.reviews import Choice, Purpose
from tsad.plots import svg
from tsad.plots.canvas import INK, ORANGE, VERMILION
from tsad.plots.little import AXIS, CAPTION, LEFT, RIGHT, WIDTH, axis, columns, line, mark, panel_rows, panels
from tsad.review.label_studio.clock import offset_ns
from tsad.review.label_studio.moments import from_to
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import View
from tsad.review.label_studio.words import said, share

THUMB_WIDTH, THUMB_HEIGHT, THUMB_CHANNELS = 240, 40, 2  # the list makes it 26 pixels high


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
    floor = CAPTION + panel_rows(len(channels)) * len(channels)
    parts = [svg.box(0, 0, WIDTH, floor + AXIS, "white"), svg.text(4, 14, _caption(choice, whole, options), INK)]
    parts.append(mark(columns(whole, view.window.span, LEFT, RIGHT), (CAPTION, floor), ORANGE))
    parts += [*panels(whole, channels), *axis(whole, floor, offset_ns(options.utc_offset))]
    return svg.drawing(WIDTH, floor + AXIS, parts)


def thumbnail(choice: Choice, view: View) -> str:
    """The window as SVG with what is proposed for it; of a blind one nothing is proposed."""
    window, channels = view.window, view.channels[:THUMB_CHANNELS]
    little = overview_of(window.series.slice(window.start, window.stop), THUMB_WIDTH)
    parts = [svg.box(0, 0, THUMB_WIDTH, THUMB_HEIGHT, "white")]
    shown = () if choice.purpose is Purpose.GOLD else clip(choice.proposal or (), *window.span)
    for item in shown:
        parts.append(mark(columns(little, (item.start, item.end), 0, THUMB_WIDTH), (0, THUMB_HEIGHT), VERMILION))
    for k, channel in enumerate(channels):
        band = (k * THUMB_HEIGHT // len(channels), (k + 1) * THUMB_HEIGHT // len(channels))
        parts.append(line(little, channel, (0, THUMB_WIDTH), band))
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
