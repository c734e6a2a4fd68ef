"""What people have answered of iterations that were given up: it goes into the next queue, nobody is asked again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import NoQueueError, TsadError
from tsad.core.reviews import Choice, DatasetVersion, Purpose
from tsad.core.series import Series, Window
from tsad.core.windows import without_overlap
from tsad.loop.datasets import latest_training
from tsad.loop.detect import DETECT
from tsad.loop.pull import DATASET
from tsad.loop.queue import queue_of
from tsad.loop.review_batch import audits_kept
from tsad.loop.runner import Carried, record_of

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class _Queue:
    """A queue that was given up; ``same_gold``: drawn by the gold rule of today."""

    choices: Sequence[Choice]
    same_gold: bool


def carried_over(
    bench: Workbench, loop: LoopStore, series: Sequence[Series], gold: DatasetVersion | None
) -> Carried:
    """What the iterations that were given up since the last dataset version leave.

    Only windows that the source still holds as they were; none that overlaps the gold set or the training set. Audits
    of batch actions stay with the answers that they audit. Blind windows come along as the whole draw that they were
    (a part of it would be no fair sample), if anybody has answered one and nobody was ever shown a proposal for any.

    Args:
        series: of the source, as they were read for this iteration. gold: ``None`` = not fixed yet.

    Raises:
        ReviewError: Label Studio unreachable, token refused.
    """
    queues = _queues(bench, loop) if bench.reviewer.people else []
    choices = {c.window.window_id: c for queue in queues for c in queue.choices}
    if not choices:
        return Carried()
    try:
        reviewed = bench.make_reviewer().look(list(choices.values()))
    except NoQueueError as error:
        log.warning("no answers are taken over from iterations that were given up: %s", error.found)
        return Carried()
    touched = {r.window.window_id for r in reviewed if r.annotations}
    present = {s.point_id: s for s in series}
    blind = [] if gold is not None else _blind(queues, touched, present)
    wanted = touched | audits_kept(loop)
    answered = [c for name, c in choices.items() if c.purpose is Purpose.TRAIN and name in wanted]
    there = [c for c in answered if _is_in(c.window, present)]
    if len(there) < len(answered):
        log.warning("%d answers of an iteration that was given up are about values that the source does not hold now",
                    len(answered) - len(there))  # fmt: skip
    known = latest_training(loop)
    taken = [r.window for version in (gold, known) if version is not None for r in version.windows]
    free = {w.window_id for w in without_overlap([c.window for c in there], [*taken, *(c.window for c in blind)])}
    there = [c for c in there if c.window.window_id in free]
    kept = {c.window.window_id for c in (*there, *blind)}
    return Carried(tuple(there), tuple(blind), tuple(c for name, c in choices.items() if name not in kept))


def _queues(bench: Workbench, loop: LoopStore) -> list[_Queue]:
    """Queues that people may have seen where they review now, oldest first."""
    given_up = loop.given_up()
    done = [it for it in (*loop.iterations(), *given_up) if it.finished(DATASET.name) is not None]
    since = max((it.started for it in done), default=0)
    queues = []
    for iteration in given_up:
        if iteration.started <= since or iteration.finished(DETECT.name) is None:
            continue
        try:
            then = bench.thaw(iteration.config_yaml)
            if then.reviewer is bench.reviewer and _where(then) == _where(bench):
                same = then.configs["gold"] == bench.configs["gold"]
                queues.append(_Queue(queue_of(bench, record_of(iteration, DETECT)), same))
        except TsadError as error:
            log.warning("no answers are taken over from iteration %d, given up: %s", iteration.number, error.found)
    return queues


def _where(bench: Workbench) -> tuple[str, str]:
    """The server and the project that people review in."""
    settings = bench.label_studio()
    return settings.url, settings.project


def _blind(queues: Sequence[_Queue], touched: Collection[str], present: Mapping[str, Series]) -> list[Choice]:
    """The newest draw of blind windows that can be taken over; none where there is none."""
    shown = {c.window.window_id for q in queues for c in q.choices if c.purpose is Purpose.TRAIN}
    for queue in reversed(queues):
        draw = [c for c in queue.choices if c.purpose is Purpose.GOLD]
        names = {c.window.window_id for c in draw}
        if queue.same_gold and names & set(touched) and not names & shown:
            if all(_is_in(c.window, present) for c in draw):
                return draw
            log.warning("the blind windows of an iteration that was given up are not what the source holds now")
    return []


def _is_in(window: Window, present: Mapping[str, Series]) -> bool:
    """Whether the series hold the window's points with the same values."""
    series, stamps = present.get(window.point_id), window.timestamps
    if series is None:
        return False
    at = int(np.searchsorted(series.timestamps, stamps[0]))
    held = slice(at, at + len(stamps))
    same = np.array_equal(series.timestamps[held], stamps)
    return same and np.array_equal(series.values[held], window.values, equal_nan=True)
