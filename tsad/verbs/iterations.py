"""How every verb shows iterations side by side."""

from __future__ import annotations

from collections.abc import Sequence

from tsad.loop.report import IterationDone
from tsad.verbs.console import Console

SPARE = ("point R", "point P", "interval R", "interval P", "point F1")  # what a narrow terminal does without


def show_iterations(iterations: Sequence[IterationDone], loop: str, console: Console) -> None:
    """Completed iterations side by side, a row each."""
    rows = []
    for iteration in iterations:
        row = iteration.table_row()
        verdict, seconds = "promoted" if row.pop("promoted") else "kept", row.pop("seconds")
        rows.append(row | {"verdict": verdict, "seconds": seconds})
    console.table(rows, f"loop {loop}", SPARE)
