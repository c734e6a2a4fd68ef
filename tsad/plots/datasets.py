"""What a dataset version is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.plots.canvas import BLUE, GREY, VERMILION, empty_figure, fonts, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 30  # bars that can be read; the rest are summed up in the last one


def dataset_figure(windows: Mapping[str, tuple[int, int]], lengths: Sequence[int], title: str = "") -> Figure:
    """Windows of each point, with and without an anomaly, and how long the labelled intervals are.

    Args:
        windows: point -> (windows with an anomaly, windows without).
        lengths: of the labelled intervals, in points of their series.
    """
    named = sorted(windows.items(), key=lambda item: (-sum(item[1]), item[0]))
    rest = named[MOST_POINTS:]
    rows = named[:MOST_POINTS]
    if rest:
        rows.append((f"{len(rest)} more", (sum(a for _, (a, _) in rest), sum(b for _, (_, b) in rest))))
    figure = empty_figure(12, max(3.2, 1.2 + 0.24 * len(rows)))
    bars, hist = figure.subplots(1, 2, width_ratios=(3, 2))
    abnormal, normal = (np.array([counts[k] for _, counts in rows]) for k in (0, 1))
    at = np.arange(len(rows))
    bars.barh(at, abnormal, color=VERMILION, hatch="////", edgecolor="white", linewidth=0.3, label="with an anomaly")
    bars.barh(at, normal, left=abnormal, color=BLUE, label="normal")
    bars.set_yticks(at, [readable(point, 28) for point, _ in rows], fontsize=8, fontfamily=fonts())
    bars.invert_yaxis()
    bars.xaxis.get_major_locator().set_params(integer=True)
    bars.set_xlabel("reviewed windows", fontsize=9)
    bars.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)
    if len(lengths):
        longest = max(lengths)
        edges = np.unique(np.geomspace(1, longest + 1, 20).astype(int)) if longest > 20 else np.arange(1, longest + 2)
        hist.hist(lengths, bins=edges, color=VERMILION, edgecolor="white", linewidth=0.5)
        hist.set_xscale("log" if longest > 20 else "linear")
    else:
        hist.text(0.5, 0.5, "no labelled interval", ha="center", color=GREY, transform=hist.transAxes)
    hist.yaxis.get_major_locator().set_params(integer=True)
    hist.set_xlabel("length of labelled intervals, in points", fontsize=9)
    hist.set_ylabel("intervals", fontsize=9)
    for axes in (bars, hist):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.suptitle(readable(title, 110), x=0.01, ha="left", fontsize=11, fontfamily=fonts())
    return figure
