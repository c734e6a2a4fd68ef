"""Quality against windows reviewed: mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.plots.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, empty_figure, fonts, number, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: dict[str, dict[str, Any]] = {
    "calibrator": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "threshold": {"color": VERMILION, "marker": "s", "linestyle": "--"},
    "linear": {"color": ORANGE, "marker": "d", "linestyle": "--"},
    "none": {"color": GREY, "marker": "^", "linestyle": ":"},
}
DRAWN = (BLUE, VERMILION, ORANGE, GREEN, PURPLE, GREY)  # of sampling strategies, by their order
METRICS = {"interval_f1": "interval F1", "composite_f1": "composite F1"}
CHANCE: dict[str, Any] = {"color": GREEN, "linewidth": 1.0, "linestyle": "-."}
ORACLE: dict[str, Any] = {"color": PURPLE, "linewidth": 1.0, "linestyle": "-."}


def learning_curve_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A column per set, a row per metric: the mean over seeds of each strategy, from lowest to highest seed shaded.

    Beside the first strategy's curve its value by chance and, of intervals, at the threshold best by the labels.

    Args:
        rows: ``set``, ``strategy``, ``seed``, ``reviewed``, METRICS, ``rotated_<metric>``, ``oracle_interval_f1``;
            what is missing, ``None`` or NaN is not drawn.
    """
    sets, strategies = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("set", "strategy"))
    figure = empty_figure(1.2 + 3.2 * max(1, len(sets)), 6.4)
    panels = figure.subplots(len(METRICS), max(1, len(sets)), sharex=True, sharey=True, squeeze=False)
    for row, (metric, title) in enumerate(METRICS.items()):
        for axes, name in zip(panels[row], sets, strict=False):
            mine = [r for r in rows if str(r["set"]) == name]
            for place, strategy in enumerate(strategies):
                look = LOOKS.get(strategy, {"color": DRAWN[place % len(DRAWN)], "marker": "os^dvP"[place % 6]})
                _draw(axes, [r for r in mine if r["strategy"] == strategy], metric, look, strategy)
            first = [r for r in mine if r["strategy"] == strategies[0]]
            _draw(axes, first, f"rotated_{metric}", CHANCE, "by chance")
            _draw(axes, first, f"oracle_{metric}", ORACLE, "best threshold by the labels")
            axes.set_ylim(0, 1)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
            if row == 0:
                axes.set_title(readable(name, 30), fontsize=10, fontfamily=fonts())
        panels[row, 0].set_ylabel(title, fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("windows reviewed", fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=8.5, frameon=False)
    title = "Learning from reviews: mean over seeds, shaded from the lowest to the highest"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str, look: Mapping[str, Any], label: str) -> None:
    known = [(int(row["reviewed"]), float(row[metric])) for row in rows if number(row.get(metric)) is not None]
    counts = sorted({count for count, _ in known})
    if not counts:
        return
    values = [np.array([value for count, value in known if count == one]) for one in counts]
    axes.plot(counts, [v.mean() for v in values], markersize=4, label=label, **look)
    if "marker" in look:
        low, high = [v.min() for v in values], [v.max() for v in values]
        axes.fill_between(counts, low, high, color=look["color"], alpha=0.15, linewidth=0)
