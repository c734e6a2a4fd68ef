"""The figures people compare versions by: their names, how they are written, and as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tsad.core.printing import decimals

FIGURES = {
    "point_precision": "point P", "point_recall": "point R", "point_f1": "point F1",
    "interval_precision": "interval P", "interval_recall": "interval R", "interval_f1": "interval F1",
    "composite_f1": "composite F1",
}
FIRST = "interval_f1"  # MLflow compares runs by the metric that was logged first


def figures_table(scores: Mapping[str, Mapping[str, float]], versions: Mapping[str, int]) -> Iterator[str]:
    """Lines of a Markdown table: a row per version."""
    yield "| on the gold set | " + " | ".join(FIGURES.values()) + " |"
    yield "|---|" + "---|" * len(FIGURES)
    for name, of in scores.items():
        cells = (decimals(of.get(key, float("nan"))) for key in FIGURES)
        yield f"| {name} v{versions[name]} | " + " | ".join(cells) + " |"
