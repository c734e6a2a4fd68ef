"""A series with what was said of it, and the scores with their threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray, Interval
from tsad.plots.canvas import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILION, empty_figure, fonts, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CHANNELS = 6
BUCKETS = 2000  # drawn pieces of a line; a figure is about 1,000 pixels wide
NS_PER_DAY = 86_400 * NS_PER_SECOND


class Lane(NamedTuple):
    """How one kind of interval is drawn."""

    name: str
    colour: str
    hatch: str
    intervals: Sequence[Interval]

    def look(self) -> dict[str, Any]:
        edge = "white" if self.hatch else self.colour
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": edge, "linewidth": 0.3}


class ScoreCurve(NamedTuple):
    """What the panel of the scores shows.

    Attributes:
        scores: [T], 0..1.
        threshold: drawn as a line; ``None`` = none.
    """

    scores: FloatArray
    threshold: float | None = None


def series_figure(
    series: Series, truth: Sequence[Interval] = (), preannotation: Sequence[Interval] = (),
    annotation: Sequence[Interval] = (), curve: ScoreCurve | None = None, title: str = "",
) -> Figure:  # fmt: skip
    """A series, one row for each kind of interval given, and the scores with their threshold.

    At most six channels are drawn: of more, those whose mean moves most inside the intervals, in standard deviations.
    Long series are drawn by the lowest and highest value of each of 2,000 pieces, so that no spike is lost.

    Args:
        series: [T, C]; gaps in time and missing values interrupt the line.
        curve: scores and their threshold; ``None`` = no panel for them.

    Raises:
        ValueError: scores of another length than the series.
    """
    if curve is not None and len(curve.scores) != len(series):
        raise ValueError(f"{len(curve.scores)} scores do not fit {series.point_id} of {len(series)} points")
    lanes = [
        Lane("truth", BLUE, "", truth),
        Lane("pre-annotation", ORANGE, "////", preannotation),
        Lane("annotation", GREEN, "....", annotation),
    ]
    return _figure(series, [lane for lane in lanes if lane.intervals], curve, title)


def versions_figure(
    series: Series, truth: Sequence[Interval], proposed: Mapping[str, Sequence[Interval]], title: str = ""
) -> Figure:
    """A series with the truth and what each of up to three versions proposes, a row each, empty rows too.

    Args:
        proposed: intervals by the version's name.
    """
    looks = ((ORANGE, "////"), (VERMILION, "...."), (PURPLE, "xxxx"))
    lanes = [Lane("truth", BLUE, "", truth)]
    lanes += [Lane(name, *look, of) for (name, of), look in zip(proposed.items(), looks, strict=False)]
    return _figure(series, lanes, None, title)


def _figure(series: Series, lanes: Sequence[Lane], curve: ScoreCurve | None, title: str) -> Figure:
    shown = _channels_to_show(series, [i for lane in lanes for i in lane.intervals])
    heights = [2.2 if len(shown) == 1 else 1.3] * len(shown) + [0.3 * len(lanes)] * bool(lanes)
    heights += [1.1] * (curve is not None)
    figure = empty_figure(12, 1.3 + sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    x = _x(series.timestamps, series)
    for axes, channel in zip(panels, shown, strict=False):
        _draw_line(axes, x, series.values[:, channel], INK, 0.9)
        axes.set_ylabel(readable(series.channels[channel], 22), fontfamily=fonts(), fontsize=9)
        _shade(axes, lanes, series)
    if lanes:
        _draw_lanes(panels[len(shown)], lanes, series)
    if curve is not None:
        _draw_scores(panels[-1], x, np.asarray(curve.scores, np.float64), curve.threshold)
    panels[0].set_xlim(*_x(np.array([series.timestamps[0], series.timestamps[-1] + series.step]), series))
    _label_time(panels[-1], series)
    _head(figure, panels[0], series, len(shown), lanes, title)
    return figure


def decimate(x: FloatArray, y: FloatArray, buckets: int = BUCKETS) -> tuple[FloatArray, FloatArray]:
    """The line to draw: lowest and highest value per bucket, NaN where values are missing or time has a gap.

    x, y [T] -> two arrays [N], N <= 2 x buckets + 3 x interruptions; T <= 2 x buckets points stay as they are.
    """
    known = np.flatnonzero(np.isfinite(y))
    x, y, steps = x[known], y[known], np.diff(known)
    if len(x) == 0:
        return x, y
    usual = float(np.median(np.diff(x))) if len(x) > 1 else 0.0
    torn = np.concatenate(([False], (steps > 1) | (np.diff(x) > 10 * usual)))
    if len(x) > 2 * buckets:
        number = np.arange(len(x)) * buckets // len(x)
        first = np.flatnonzero(np.concatenate(([True], torn[1:] | (np.diff(number) > 0))))
        last = np.append(first[1:], len(x)) - 1
        x = np.stack((x[first], x[last]), axis=1).ravel()
        y = np.stack((np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)), axis=1).ravel()
        tears = 2 * np.flatnonzero(torn[first])
    else:
        tears = np.flatnonzero(torn)
    return np.insert(x, tears, np.nan), np.insert(y, tears, np.nan)


def _draw_line(axes: Axes, x: FloatArray, y: FloatArray, colour: str, width: float) -> tuple[FloatArray, FloatArray]:
    x, y = decimate(x, y)
    axes.plot(x, y, color=colour, linewidth=width)
    gone = np.isnan(np.concatenate(([np.nan], y, [np.nan])))
    alone = ~gone[1:-1] & gone[:-2] & gone[2:]  # a point between two missing ones draws no line
    axes.plot(x[alone], y[alone], linestyle="none", marker=".", markersize=3, color=colour)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return x, y


def _x(stamps: IntArray, series: Series) -> FloatArray:
    """ns as matplotlib's days since 1970, or as the index."""
    return np.asarray(stamps, np.float64) / (NS_PER_SECOND if series.time_kind == "index" else NS_PER_DAY)


def _bars(lane: Lane, series: Series, least: float) -> list[tuple[float, float]]:
    """(left, width) of each interval inside the series, at least ``least`` of the whole wide so as to be seen."""
    begin, end = int(series.timestamps[0]), int(series.timestamps[-1]) + series.step
    inside = clip(lane.intervals, begin, end)
    at = _x(np.array([(i.start, i.end) for i in inside], np.int64).reshape(-1, 2), series)
    width = np.maximum(at[:, 1] - at[:, 0], least * float(np.diff(_x(np.array([begin, end]), series))[0]))
    return list(zip(at[:, 0].tolist(), width.tolist(), strict=True))


def _shade(axes: Axes, lanes: Sequence[Lane], series: Series) -> None:
    """Behind the line: the truth, else what people say, else what a model proposes."""
    said = [lane for lane in lanes if lane.name != "pre-annotation"] or list(lanes)
    look: dict[str, Any] = {"alpha": 0.18, "linewidth": 0, "zorder": 0}
    for lane in said[:1]:
        bars, place = _bars(lane, series, 0.001), axes.get_xaxis_transform()
        axes.broken_barh(bars, (0, 1), facecolor=lane.colour, transform=place, **look)


def _draw_lanes(axes: Axes, lanes: Sequence[Lane], series: Series) -> None:
    for row, lane in enumerate(lanes):
        axes.broken_barh(_bars(lane, series, 0.003), (row - 0.36, 0.72), **lane.look())
    axes.set_yticks(range(len(lanes)), [lane.name for lane in lanes], fontsize=8)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def _draw_scores(axes: Axes, x: FloatArray, scores: FloatArray, threshold: float | None) -> None:
    x, y = _draw_line(axes, x, scores, PURPLE, 0.8)
    if threshold is not None:
        axes.axhline(threshold, color=VERMILION, linestyle="--", linewidth=1.2)
        at = axes.get_yaxis_transform()
        axes.text(1.003, threshold, f"threshold\n{threshold:.3g}", transform=at, va="center", fontsize=8, color=INK)
        axes.fill_between(x, threshold, y, where=y >= threshold, color=VERMILION, alpha=0.35, linewidth=0)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("score (0..1)", fontsize=9)


def _label_time(axes: Axes, series: Series) -> None:
    if series.time_kind == "index":
        axes.set_xlabel("index", fontsize=9)
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=5, maxticks=12, tz="UTC")
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))
    axes.set_xlabel("time (UTC)", fontsize=9)


def _head(figure: Figure, top: Axes, series: Series, shown: int, lanes: Sequence[Lane], title: str) -> None:
    """Title on the left, legend on the right above the first panel."""
    from matplotlib.patches import Patch

    heading = title if series.point_id in title else " · ".join(t for t in (series.point_id, title) if t)
    total = len(series.channels)
    if shown < total:
        heading += f" ({shown} of {total} channels)"
    figure.suptitle(readable(heading, 110), x=0.01, ha="left", fontsize=11, fontfamily=fonts())
    if lanes:
        patches = [Patch(label=f"{lane.name} ({len(lane.intervals)})", **lane.look()) for lane in lanes]
        top.legend(handles=patches, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)


def _channels_to_show(series: Series, marks: Sequence[Interval]) -> list[int]:
    total = series.values.shape[1]
    if total <= MAX_CHANNELS:
        return list(range(total))
    inside = intervals_to_mask(marks, series.timestamps)
    if not inside.any() or inside.all():
        return list(range(MAX_CHANNELS))
    values = np.nan_to_num(series.values - np.nan_to_num(_mean(series.values)))
    moved = np.abs(_mean(values[inside]) - _mean(values[~inside])) / np.maximum(values.std(axis=0), 1e-12)
    return sorted(np.argsort(-moved, kind="stable")[:MAX_CHANNELS].tolist())


def _mean(values: FloatArray) -> FloatArray:
    """Mean per column without its NaN, NaN where there is nothing else. [T, C] -> [C]."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
