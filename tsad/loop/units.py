"""The windows of a loop as it reviews them: those that were ever put to people, and what lies between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.reviews import Choice
from tsad.core.series import Series, Window
from tsad.core.windows import cut_between
from tsad.loop.datasets import latest_training
from tsad.loop.detect import DETECT
from tsad.loop.pull import DATASET, undecided_in
from tsad.loop.queue import queue_of
from tsad.loop.runner import finished

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore

WINDOW_ID = re.compile(r"[0-9a-f]{4,16}")  # in full, or its first digits


def waiting_queue(bench: Workbench, loop: LoopStore) -> list[Choice]:
    """The queue that waits for people; empty where none does."""
    iteration = loop.open_iteration()
    drawn = iteration.finished(DETECT.name) if iteration else None
    if iteration is None or drawn is None or finished(iteration, DATASET) is not None:
        return []
    return queue_of(bench.thaw(iteration.config_yaml), drawn)


def review_units(bench: Workbench, loop: LoopStore, series: Sequence[Series]) -> list[Window]:
    """All of the series in windows, each series' in order: as people have them where they were asked, cut elsewhere.

    An answer is about its stretch of time: what a later cut leaves of a window beside it is a window with an id of its
    own. Windows whose points the source no longer has are cut anew.
    """
    version = latest_training(loop)
    asked = [choice.window for choice in waiting_queue(bench, loop)]
    asked += [reviewed.window for reviewed in version.windows] if version is not None else []
    stretches: dict[str, list[tuple[int, int]]] = {}
    for window in asked:
        first, last = window.timestamps[[0, -1]].tolist()
        stretches.setdefault(window.point_id, []).append((first, last + 1))
    for skipped in undecided_in(loop):
        stretches.setdefault(skipped.point_id, []).append((skipped.start, skipped.end))
    return [w for one in series for w in units_of(one, bench.windows.length, stretches.get(one.point_id, ()))]


def units_of(series: Series, length: int, asked: Iterable[tuple[int, int]]) -> list[Window]:
    """Windows over the asked stretches of time and the cut of what lies between, in order; the first of two that meet.

    Args:
        asked: half-open ns UTC.
    """
    free = np.ones(len(series), bool)
    windows: list[Window] = []
    for stretch in asked:
        start, stop = (int(v) for v in np.searchsorted(series.timestamps, stretch))
        if start < stop and free[start:stop].all():
            free[start:stop] = False
            windows.append(Window(series, start, stop))
    windows += cut_between(series, length, [window.span for window in windows], 1)
    return sorted(windows, key=lambda window: window.start)


def unit_called(windows: Sequence[Window], name: str) -> Window:
    """The window with this id; its first digits will do.

    Raises:
        LoopError: no window, or several, whose id begins so.
    """
    named = list(_called(windows, name))
    if not named:
        raise LoopError(
            f"no window of the source has the id {name}",
            "Ids stand in the task's data (window_id); windows.length has to be that of the queue.",
        )
    if len(named) > 1:
        ids = ", ".join(window.window_id for window in named[:3])
        raise LoopError(f"the ids of {len(named)} windows begin with {name} ({ids}, ...)", "Give more digits.")
    return named[0]


def _called(windows: Iterable[Window], name: str) -> Iterator[Window]:
    return (window for window in windows if window.window_id.startswith(name))
