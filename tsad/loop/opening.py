"""The loop in its store: opened, locked, and a run of its own outside any iteration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore, StepRun


def open_loop(bench: Workbench) -> LoopStore:
    """The loop's MLflow experiment in the configured store, created where it is new."""
    from tsad.tracking.runs import LoopStore
    from tsad.tracking.store import open_store

    return LoopStore(open_store(bench.tracking, bench.home), bench.loop.name, bench.loop.lease)


@contextmanager
def standalone(loop: LoopStore, name: str) -> Iterator[tuple[LoopStore, StepRun]]:
    """The loop under its lock, and a run of a verb outside any iteration.

    Raises:
        ClaimError: another process works on the loop.
    """
    with loop.lock() as held, held.run(name) as step:
        yield held, step
