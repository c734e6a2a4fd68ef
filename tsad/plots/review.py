"""How reviews stand, drawn: windows by state, what became of proposals, who agrees with whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.plots.canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, empty_figure, fonts, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES = {
    "ACCEPTED": GREEN, "CORRECTED": BLUE, "ANNOTATED": PURPLE, "SKIPPED": ORANGE, "CONFLICT": VERMILION,
    "PENDING": "#dddddd",
}  # fmt: skip
FATES = {"accepted": GREEN, "corrected": BLUE, "rejected": VERMILION}
LONGEST = 40  # characters of a name


def progress_figure(states: Mapping[str, Mapping[str, int]]) -> Figure:
    """Windows by state, a bar for each purpose.

    Args:
        states: name of the bar -> windows by ``ReviewState``; bars without windows are left out.
    """
    bars = {name: of for name, of in states.items() if sum(of.values())}
    figure = empty_figure(9, 1.2 + 0.5 * len(bars))
    axes = figure.subplots()
    left = np.zeros(len(bars))
    for state, colour in STATES.items():
        widths = np.array([of.get(state, 0) for of in bars.values()], dtype=float)
        if widths.any():
            axes.barh(range(len(bars)), widths, left=left, color=colour, edgecolor="white", label=state.lower())
        for at in np.flatnonzero(widths):
            middle = left[at] + widths[at] / 2
            axes.text(middle, at, f"{widths[at]:.0f}", ha="center", va="center", color=INK, fontsize=9)
        left += widths
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set_xlabel("windows")
    if bars:
        axes.legend(ncols=len(STATES), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)
    return figure


def acceptance_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What became of proposals: a bar of 100% per version and kind, with counts, and the interval of the accepted.

    Args:
        rows: ``version``, ``kind``, ``proposed``, ``accepted``, ``corrected``, ``rejected``, ``share``, ``low``,
            ``high``, as :class:`tsad.review.figures.Acceptance` has them.
    """
    figure = empty_figure(9, 1.4 + 0.45 * len(rows))
    axes = figure.subplots()
    for at, row in enumerate(rows):
        left = 0.0
        for fate, colour in FATES.items():
            width = row[fate] / row["proposed"]
            axes.barh(at, width, left=left, color=colour, edgecolor="white", label=fate if at == 0 else None)
            if row[fate]:
                axes.text(left + width / 2, at, str(row[fate]), ha="center", va="center", color="white", fontsize=9)
            left += width
        axes.errorbar(
            row["share"], at + 0.32, xerr=[[row["share"] - row["low"]], [row["high"] - row["share"]]], color=INK,
            capsize=3, marker=".",
        )  # fmt: skip
    names = [readable(f"{row['version']} {row['kind']}", LONGEST) for row in rows]
    axes.set_yticks(range(len(rows)), names, family=fonts())
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of proposed intervals")
    if rows:
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)
    return figure


def agreement_figure(pairs: Mapping[tuple[str, str], float], people: Sequence[str]) -> Figure:
    """Who agrees with whom: a square per pair, its interval F1 written into it; nothing where two share no window.

    Args:
        pairs: (person, person) in one order -> interval F1, NaN where nobody marks anything.
    """
    side = 1.6 + 0.7 * len(people)
    figure = empty_figure(side + 1, side)
    axes = figure.subplots()
    grid = np.full((len(people), len(people)), np.nan)
    for (a, b), value in pairs.items():
        i, j = people.index(a), people.index(b)
        grid[i, j] = grid[j, i] = value
    drawn = axes.imshow(grid, vmin=0, vmax=1, cmap="viridis")
    for i, j in zip(*np.nonzero(np.isfinite(grid)), strict=True):
        axes.text(j, i, f"{grid[i, j]:.2f}", ha="center", va="center", color="white" if grid[i, j] < 0.6 else INK)
    names = [readable(person, LONGEST) for person in people]
    axes.set_xticks(range(len(people)), names, family=fonts())
    axes.set_yticks(range(len(people)), names, family=fonts())
    axes.set_facecolor("#f4f4f4")
    axes.tick_params(colors=GREY, labelcolor=INK)
    figure.colorbar(drawn, ax=axes, label="interval F1")
    return figure
