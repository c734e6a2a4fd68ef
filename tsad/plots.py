"""Figures from types: a series with what was said of it, iterations side by side, training curves, kinds.

Every function returns a :class:`matplotlib.figure.Figure` on the Agg canvas; nothing touches pyplot or a display.
Colours are those of Okabe and Ito, and every kind of interval also has its own row and hatching, so that nothing
rests on colour alone. All times are UTC.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.types import NS_PER_SECOND, FloatArray, IntArray, Interval, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CHANNELS = 6
BUCKETS = 2000  # drawn pieces of a line; a figure is about 1,000 pixels wide
NS_PER_DAY = 86_400 * NS_PER_SECOND
INK, GREY = "#222222", "#777777"
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
# Fonts with Chinese, Japanese and Korean glyphs, by system: Linux, Windows, macOS.
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS",
)  # fmt: skip


class Lane(NamedTuple):
    """How one kind of interval is drawn."""

    name: str
    colour: str
    hatch: str
    intervals: Sequence[Interval]

    def look(self) -> dict[str, Any]:
        edge = "white" if self.hatch else self.colour
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": edge, "linewidth": 0.3}


def series_figure(
    series: Series,
    truth: Sequence[Interval] = (),
    preannotation: Sequence[Interval] = (),
    annotation: Sequence[Interval] = (),
    scores: FloatArray | None = None,
    threshold: float | None = None,
    title: str = "",
) -> Figure:
    """A series, one row for each kind of interval given, and the scores with their threshold.

    At most six channels are drawn: of more, those whose mean moves most inside the intervals, in standard deviations.
    Long series are drawn by the lowest and highest value of each of 2,000 pieces, so that no spike is lost.

    Args:
        series: [T, C]; gaps in time and missing values interrupt the line.
        scores: [T], 0..1.
        threshold: drawn as a line in the panel of the scores.

    Raises:
        ValueError: scores of another length than the series.
    """
    if scores is not None and len(scores) != len(series):
        raise ValueError(f"{len(scores)} scores do not fit {series.point_id} of {len(series)} points")
    lanes = [
        Lane("truth", BLUE, "", truth),
        Lane("pre-annotation", ORANGE, "////", preannotation),
        Lane("annotation", GREEN, "....", annotation),
    ]
    lanes = [lane for lane in lanes if lane.intervals]
    shown = _channels_to_show(series, [i for lane in lanes for i in lane.intervals])
    heights = [2.2 if len(shown) == 1 else 1.3] * len(shown) + [0.3 * len(lanes)] * bool(lanes)
    heights += [1.1] * (scores is not None)
    figure = _figure(12, 1.3 + sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    x = _x(series.timestamps, series)
    for axes, channel in zip(panels, shown, strict=False):
        _draw_line(axes, x, series.values[:, channel], INK, 0.9)
        axes.set_ylabel(_readable(series.channels[channel], 22), fontfamily=_fonts(), fontsize=9)
        _shade(axes, lanes, series)
    if lanes:
        _draw_lanes(panels[len(shown)], lanes, series)
    if scores is not None:
        _draw_scores(panels[-1], x, np.asarray(scores, np.float64), threshold)
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
    figure.suptitle(_readable(heading, 110), x=0.01, ha="left", fontsize=11, fontfamily=_fonts())
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


# How each way of counting is drawn in the comparison of iterations.
CURVES: dict[str, dict[str, Any]] = {
    "point": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "interval": {"color": VERMILION, "marker": "s", "linestyle": "--"},
    "composite": {"color": GREEN, "marker": "^", "linestyle": "-."},
}
STAR: dict[str, Any] = {"linestyle": "none", "marker": "*", "markersize": 11, "color": ORANGE, "markeredgecolor": INK}


def comparison_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Iterations side by side: precision, recall and F1 by points, by intervals, and composite.

    Only iterations scored on the same gold version are joined by a line: figures on different gold sets do not compare.

    Args:
        rows: one per iteration: ``iteration`` (number); ``gold_version``; ``promoted`` (a new champion came out of
            it); the metrics by the names of ``metrics.units.summarise``, and where known ``<metric>_low`` and
            ``<metric>_high``, drawn as whiskers. What is missing, ``None`` or NaN is not drawn.
    """
    ordered = sorted(rows, key=lambda row: row["iteration"])
    figure = _figure(12, 4.4)
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    for axes, part in zip(panels, ("precision", "recall", "f1"), strict=True):
        for shift, (kind, look) in zip((-0.07, 0.0, 0.07), CURVES.items(), strict=True):
            _draw_curve(axes, ordered, f"{kind}_{part}", look, shift)
        _mark_gold_versions(axes, ordered)
        crowned = [row["iteration"] for row in ordered if row.get("promoted") is True]
        if crowned:
            axes.plot(crowned, [1.035] * len(crowned), transform=axes.get_xaxis_transform(), clip_on=False, **STAR)
        axes.set_title("F1" if part == "f1" else part, fontsize=10, pad=16)
        axes.set_xlabel("iteration", fontsize=9)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    numbers = sorted({int(row["iteration"]) for row in ordered})
    if numbers:
        panels[0].set_xticks(numbers[:: max(1, len(numbers) // 12)])
        panels[0].set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    panels[0].set_ylabel("on the gold set (0..1)", fontsize=9)
    _comparison_legend(figure, ordered)
    return figure


def _draw_curve(
    axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str, look: Mapping[str, Any], shift: float
) -> None:
    """One metric over iterations; a new line starts with every gold version."""
    known = [row for row in rows if _number(row.get(metric)) is not None]
    for _, group in itertools.groupby(known, key=lambda row: row.get("gold_version")):
        stretch = list(group)
        x = [row["iteration"] + shift for row in stretch]
        axes.plot(x, [float(row[metric]) for row in stretch], linewidth=1.4, markersize=5, clip_on=False, **look)
        for at, row in zip(x, stretch, strict=True):
            low, high = _number(row.get(f"{metric}_low")), _number(row.get(f"{metric}_high"))
            if low is not None and high is not None:
                axes.vlines(at, low, high, color=look["color"], linewidth=1.0, alpha=0.7)
                axes.hlines([low, high], at - 0.03, at + 0.03, color=look["color"], linewidth=1.0, alpha=0.7)


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(float(value)) else float(value)


def _mark_gold_versions(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A dotted line where the gold set changed, with the new version's name."""
    for before, after in itertools.pairwise(rows):
        if before.get("gold_version") != after.get("gold_version"):
            at = (before["iteration"] + after["iteration"]) / 2
            axes.axvline(at, color=GREY, linestyle=":", linewidth=1.2)
            text, place = f"new gold {str(after.get('gold_version'))[:8]}", axes.get_xaxis_transform()
            axes.text(at + 0.03, 0.015, text, rotation=90, fontsize=7, color=GREY, va="bottom", transform=place)


def _comparison_legend(figure: Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=kind, **look) for kind, look in CURVES.items()]
    if any(_number(row[key]) is not None for row in rows for key in row if key.endswith("_low")):
        handles.append(Line2D([], [], color=GREY, marker="|", linestyle="-", label="confidence interval"))
    if any(row.get("promoted") is True for row in rows):
        handles.append(Line2D([], [], label="new champion", **STAR))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5, frameon=False)
    title = "Iterations on the gold set (composite precision is point precision)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)


def metric_history_figure(
    history: Mapping[str, Sequence[tuple[float, float]]], title: str = "", x_label: str = "step"
) -> Figure:
    """Curves over training steps; names that end alike after a ``/`` (train/loss, validation/loss) share a panel.

    Args:
        history: name -> (step, value) pairs.
    """
    groups: dict[str, list[str]] = {}
    for name in history:
        groups.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    columns = min(3, max(1, len(groups)))
    height = -(-len(groups) // columns) or 1
    figure = _figure(4.6 * columns, 0.7 + 2.7 * height)
    panels = figure.subplots(height, columns, squeeze=False).ravel()
    colours, styles = (BLUE, VERMILION, GREEN, ORANGE, PURPLE), ("-", "--", "-.", ":")
    for axes, (ending, names) in zip(panels, groups.items(), strict=False):
        for k, name in enumerate(names):
            points = np.array(sorted(history[name]), np.float64).reshape(-1, 2)
            axes.plot(
                points[:, 0], points[:, 1], color=colours[k % 5], linestyle=styles[k % 4], linewidth=1.3,
                marker="." if len(points) <= 60 else "", label=name,
            )  # fmt: skip
        axes.set_title(ending, fontsize=10)
        axes.set_xlabel(x_label, fontsize=9)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            axes.legend(fontsize=8, frameon=False)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.suptitle(_readable(title, 100), x=0.01, ha="left", fontsize=11, fontfamily=_fonts())
    return figure


def kinds_figure(found: Mapping[str, tuple[int, int]], title: str = "") -> Figure:
    """How many true intervals of each kind were found, the worst kind at the bottom.

    Args:
        found: kind -> (found, all) true intervals; kinds without any are left out.
    """
    kinds = sorted((k for k, (_, total) in found.items() if total > 0), key=lambda k: (found[k][0] / found[k][1], k))
    figure = _figure(8, 1.3 + 0.3 * max(1, len(kinds)))
    axes = figure.subplots()
    shares = [found[k][0] / found[k][1] for k in kinds]
    axes.barh(range(len(kinds)), [1.0] * len(kinds), color="#eeeeee", height=0.7)
    axes.barh(range(len(kinds)), shares, color=BLUE, height=0.7)
    for row, kind in enumerate(kinds):
        axes.text(1.01, row, f"{found[kind][0]} of {found[kind][1]}", va="center", fontsize=8)
    axes.set_yticks(range(len(kinds)), [_readable(k, 40) for k in kinds], fontsize=8, fontfamily=_fonts())
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.set_xlabel("share of true intervals found (recall)", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(_readable(title or "Found by kind", 80), x=0.01, ha="left", fontsize=11, fontfamily=_fonts())
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty figure in inches that can be saved without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """Matplotlib's own font, and behind it those with Chinese glyphs that this machine has."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in CJK_FONTS if name in installed)]


def _readable(text: str, longest: int) -> str:
    """The text, shortened, with characters that no font here can draw as their code (``\\u6c34``)."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    text = text if len(text) <= longest else text[: longest - 1] + "…"
    if not text.isascii():
        maps = [get_font(findfont(FontProperties(family=[name]))).get_charmap() for name in _fonts()]
        text = "".join(c if any(ord(c) in m for m in maps) else ascii(c)[1:-1] for c in text)
    return text.replace("$", r"\$")  # matplotlib would take what lies between two of them for mathematics


def leaderboard_figure(rows: Sequence[Mapping[str, Any]], metric: str = "vus_pr", title: str = "VUS-PR") -> Figure:
    """Bars of one figure, a group per set and a bar per detector, with the bootstrap interval as a whisker.

    Args:
        rows: the mean rows of a leaderboard: ``set``, ``detector``, ``metric``, ``<metric>_low``, ``<metric>_high``.
    """
    sets, names = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("set", "detector"))
    figure = _figure(max(6.0, 2.0 + len(sets) * (0.6 + 0.22 * len(names))), 4.2)
    axes = figure.subplots()
    colours, hatches = (BLUE, ORANGE, GREEN, VERMILION, PURPLE), ("", "////", "....")
    for k, name in enumerate(names):
        mine = [row for row in rows if row["detector"] == name]
        x = [sets.index(str(row["set"])) + (k - (len(names) - 1) / 2) * 0.8 / len(names) for row in mine]
        look: dict[str, Any] = {"color": colours[k % 5], "hatch": hatches[k // 5 % 3], "edgecolor": "white"}
        axes.bar(x, [float(row[metric]) for row in mine], 0.8 / len(names), label=_readable(name, 30), **look)
        for at, row in zip(x, mine, strict=True):
            low, high = _number(row.get(f"{metric}_low")), _number(row.get(f"{metric}_high"))
            if low is not None and high is not None:
                axes.vlines(at, low, high, color=INK, linewidth=1.0)
    axes.set_xticks(range(len(sets)), [_readable(name, 24) for name in sets], fontsize=9, fontfamily=_fonts())
    axes.set_ylabel(f"{title}, mean over series", fontsize=9)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(f"{title} by set; whiskers: 95% bootstrap over series", x=0.01, ha="left", fontsize=11)
    return figure
