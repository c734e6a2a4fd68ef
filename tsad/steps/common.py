"""What several verbs share: opening the loop, reading series, showing tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import LabelError, LoopError, SourceError
from tsad.core.types import Series
from tsad.steps.reading import Reading
from tsad.steps.workbench import Workbench

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

log = logging.getLogger("tsad")


def open_loop(bench: Workbench) -> LoopStore:
    """The loop's MLflow experiment in the configured store, created where it is new."""
    from tsad.tracking.store import open_store

    return open_store(bench.tracking, bench.home).loop(bench.loop.name, bench.loop.lease)


def model_name(bench: Workbench) -> str:
    """Name of the loop's registered model: ``tsad-<loop>-<detector>``."""
    return f"tsad-{bench.loop.name}-{bench.make_detector().name}"


def load_series(bench: Workbench, point_ids: Sequence[str] | None = None) -> list[Series]:
    """The series of :func:`read_series` alone."""
    return read_series(bench, point_ids).series


def read_series(bench: Workbench, point_ids: Sequence[str] | None = None) -> Reading:
    """All (or the named) series of the configured source, validated; failures are named in the log.

    Raises:
        SourceError: nothing could be read.
        LabelError: a Label Studio export (``source.labels=FILE.json``) that labels none of them.
    """
    source = bench.make_source()
    series = list(source.read(point_ids))
    for point_id, error in getattr(source, "failures", {}).items():
        log.warning("left out %s: %s", point_id, error)
    if not series:
        raise SourceError(f"{source.describe()} gave no series", "Check source.root and source.glob.")
    return Reading(_labelled(bench.label_export, series) if bench.label_export else series, source)


def _labelled(export: Path, series: Sequence[Series]) -> list[Series]:
    """The series with the labels of a Label Studio export; it speaks for whole series."""
    from tsad.review.exports import read_export
    from tsad.sources.labels import with_labels

    said = read_export(export)
    named = [s for s in series if s.point_id in said]
    if not named:
        raise LabelError(
            f"{export} labels {', '.join(sorted(said)[:5]) or 'nothing'}, none of which the source has",
            "The task's point_id (or its file's name) has to be the series' own.",
        )
    log.info("%s labels %d of %d series; what no task of it covers counts as normal", export, len(named), len(series))
    return [with_labels(s, said) for s in series]


@contextmanager
def standalone(loop: LoopStore, name: str) -> Iterator[StepRun]:
    """A run of a verb outside any iteration, under the loop's lock.

    Raises:
        ClaimError: another process works on the loop.
    """
    with loop.lock(), loop.run(name) as step:
        yield step


def finished(iteration: Iteration, step: str) -> StepRecord:
    """The finished step of the iteration.

    Raises:
        LoopError: it has not finished, though the loop's order says that it has to.
    """
    record = iteration.finished(step)
    if record is None:
        raise LoopError(
            f"iteration {iteration.number} has no finished {step} step", "Run tsad iterate, which goes on from there."
        )
    return record


def show(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Print rows as a table; floats with three decimals, ``None`` and NaN as a dash."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(title=title or None, title_justify="left")
    numeric = {k for k in rows[0] if all(isinstance(r.get(k), int | float | None) for r in rows)}
    for key in rows[0]:
        table.add_column(str(key), justify="right" if key in numeric else "left", overflow="fold", min_width=4)
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in rows[0]))
    console = Console()
    if not console.is_terminal:  # a log file has no width: 80 columns would fold every cell
        console = Console(width=160)
    console.print(table)


def say(text: str) -> None:
    """One line for people, on standard output."""
    from rich.console import Console

    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
