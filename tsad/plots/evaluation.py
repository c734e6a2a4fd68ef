"""Versions side by side on the gold set: precision against recall, and whether their confidence means what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tsad.core.types import FloatArray
from tsad.plots.canvas import BLUE, GREEN, GREY, INK, PURPLE, VERMILION, empty_figure, fonts, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"}, {"color": VERMILION, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."}, {"color": PURPLE, "marker": "d", "linestyle": ":"},
)  # fmt: skip


class Curve(NamedTuple):
    """Precision against recall of one version.

    Attributes:
        recall, precision: [K], from the highest threshold to the lowest.
        at: recall and precision of what it proposes.
    """

    recall: FloatArray
    precision: FloatArray
    at: tuple[float, float]


def precision_recall_figure(curves: Mapping[str, Curve], base_rate: float) -> Figure:
    """Precision against recall over all thresholds of the scores, by points; the marks are what is proposed.

    Args:
        curves: by the version's name.
        base_rate: share of abnormal points, the precision of chance.
    """
    figure = empty_figure(6.4, 4.6)
    axes = figure.subplots()
    for k, (name, curve) in enumerate(curves.items()):
        look = LOOKS[k % len(LOOKS)]
        line = {key: look[key] for key in ("color", "linestyle")}
        axes.plot(curve.recall, curve.precision, linewidth=1.4, label=readable(name, 40), **line)
        axes.plot(*curve.at, linestyle="none", markersize=7, color=look["color"], marker=look["marker"])
    axes.axhline(base_rate, color=GREY, linewidth=1.0, linestyle=":")
    axes.text(1.0, base_rate, f"chance {base_rate:.3f}", fontsize=7, color=GREY, ha="right", va="bottom")
    return _framed(figure, axes, ("recall", "precision"), "Points of the gold set; marks: what is proposed")


def reliability_figure(tables: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """The confidence of candidate intervals against the share of them that overlap a true one.

    Args:
        tables: by the version's name rows of ``metrics.calibration.Bin``, as mappings.
    """
    figure = empty_figure(6.4, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=":")
    for k, (name, rows) in enumerate(tables.items()):
        look = LOOKS[k % len(LOOKS)]
        cases = int(sum(row["cases"] for row in rows))
        x, share = [row["probability"] for row in rows], [row["share"] for row in rows]
        axes.plot(x, share, markersize=5, linewidth=1.2, label=f"{readable(name, 30)} ({cases} candidates)", **look)
        low, high = [row["share_low"] for row in rows], [row["share_high"] for row in rows]
        axes.vlines(x, low, high, color=look["color"], linewidth=0.9, alpha=0.6)
    title = "Candidates of the gold set; on the dotted line confidence means what it says"
    return _framed(figure, axes, ("confidence", "share that is an anomaly"), title)


def _framed(figure: Figure, axes: Axes, labels: tuple[str, str], title: str) -> Figure:
    axes.set_xlabel(labels[0], fontsize=9)
    axes.set_ylabel(labels[1], fontsize=9)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.03)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, prop={"family": fonts(), "size": 8})
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure
