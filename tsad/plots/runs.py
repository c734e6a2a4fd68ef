"""Iterations side by side, training curves, kinds found, detectors compared."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    empty_figure,
    fonts,
    number,
    readable,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    figure = empty_figure(12, 4.4)
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
    known = [row for row in rows if number(row.get(metric)) is not None]
    for _, group in itertools.groupby(known, key=lambda row: row.get("gold_version")):
        stretch = list(group)
        x = [row["iteration"] + shift for row in stretch]
        axes.plot(x, [float(row[metric]) for row in stretch], linewidth=1.4, markersize=5, clip_on=False, **look)
        for at, row in zip(x, stretch, strict=True):
            low, high = number(row.get(f"{metric}_low")), number(row.get(f"{metric}_high"))
            if low is not None and high is not None:
                axes.vlines(at, low, high, color=look["color"], linewidth=1.0, alpha=0.7)
                axes.hlines([low, high], at - 0.03, at + 0.03, color=look["color"], linewidth=1.0, alpha=0.7)


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
    if any(number(row[key]) is not None for row in rows for key in row if key.endswith("_low")):
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
    figure = empty_figure(4.6 * columns, 0.7 + 2.7 * height)
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
    figure.suptitle(readable(title, 100), x=0.01, ha="left", fontsize=11, fontfamily=fonts())
    return figure


def kinds_figure(found: Mapping[str, tuple[int, int]], title: str = "") -> Figure:
    """How many true intervals of each kind were found, the worst kind at the bottom.

    Args:
        found: kind -> (found, all) true intervals; kinds without any are left out.
    """
    kinds = sorted((k for k, (_, total) in found.items() if total > 0), key=lambda k: (found[k][0] / found[k][1], k))
    figure = empty_figure(8, 1.3 + 0.3 * max(1, len(kinds)))
    axes = figure.subplots()
    shares = [found[k][0] / found[k][1] for k in kinds]
    axes.barh(range(len(kinds)), [1.0] * len(kinds), color="#eeeeee", height=0.7)
    axes.barh(range(len(kinds)), shares, color=BLUE, height=0.7)
    for row, kind in enumerate(kinds):
        axes.text(1.01, row, f"{found[kind][0]} of {found[kind][1]}", va="center", fontsize=8)
    axes.set_yticks(range(len(kinds)), [readable(k, 40) for k in kinds], fontsize=8, fontfamily=fonts())
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.set_xlabel("share of true intervals found (recall)", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(readable(title or "Found by kind", 80), x=0.01, ha="left", fontsize=11, fontfamily=fonts())
    return figure


def leaderboard_figure(rows: Sequence[Mapping[str, Any]], metric: str = "vus_pr", title: str = "VUS-PR") -> Figure:
    """Bars of one figure, a group per set and a bar per detector, with the bootstrap interval as a whisker.

    Args:
        rows: the mean rows of a leaderboard: ``set``, ``detector``, ``metric``, ``<metric>_low``, ``<metric>_high``.
    """
    sets, names = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("set", "detector"))
    figure = empty_figure(max(6.0, 2.0 + len(sets) * (0.6 + 0.22 * len(names))), 4.2)
    axes = figure.subplots()
    colours, hatches = (BLUE, ORANGE, GREEN, VERMILION, PURPLE), ("", "////", "....")
    for k, name in enumerate(names):
        mine = [row for row in rows if row["detector"] == name]
        x = [sets.index(str(row["set"])) + (k - (len(names) - 1) / 2) * 0.8 / len(names) for row in mine]
        look: dict[str, Any] = {"color": colours[k % 5], "hatch": hatches[k // 5 % 3], "edgecolor": "white"}
        axes.bar(x, [float(row[metric]) for row in mine], 0.8 / len(names), label=readable(name, 30), **look)
        for at, row in zip(x, mine, strict=True):
            low, high = number(row.get(f"{metric}_low")), number(row.get(f"{metric}_high"))
            if low is not None and high is not None:
                axes.vlines(at, low, high, color=INK, linewidth=1.0)
    axes.set_xticks(range(len(sets)), [readable(name, 24) for name in sets], fontsize=9, fontfamily=fonts())
    axes.set_ylabel(f"{title}, mean over series", fontsize=9)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(f"{title} by set; whiskers: 95% bootstrap over series", x=0.01, ha="left", fontsize=11)
    return figure
