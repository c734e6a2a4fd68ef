"""Figures from types: a series with what was said of it, iterations side by side, training and learning curves.

Every function returns a :class:`matplotlib.figure.Figure` on the Agg canvas; nothing touches pyplot or a display.
Colours are those of Okabe and Ito, and every kind of interval also has its own row and hatching, so that nothing
rests on colour alone. All times are UTC.
"""

from tsad.plots.curves import learning_curve_figure
from tsad.plots.datasets import dataset_figure
from tsad.plots.runs import comparison_figure, kinds_figure, leaderboard_figure, metric_history_figure
from tsad.plots.series import ScoreCurve, decimate, series_figure, versions_figure

__all__ = [
    "ScoreCurve", "comparison_figure", "dataset_figure", "decimate", "kinds_figure", "leaderboard_figure",
    "learning_curve_figure", "metric_history_figure", "series_figure", "versions_figure",
]  # fmt: skip
