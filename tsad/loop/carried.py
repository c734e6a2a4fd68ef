"""What people have answered of iterations that were given up: it goes into the next queue, nobody is asked again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, NoQueueError
from tsad.core.reviews import Choice, Purpose
from tsad.loop.detect import DETECT
from tsad.loop.pull import DATASET
from tsad.loop.push import PUSH
from tsad.loop.queue import queue_of
from tsad.loop.runner import Carried, record_of

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore

log = logging.getLogger("tsad")


def carried_over(bench: Workbench, loop: LoopStore) -> Carried:
    """What the iterations that were given up since the last dataset version leave.

    Blind windows come along as the whole draw that they were, if anybody has answered one: a part of it would be no
    fair sample.

    Raises:
        ReviewError: Label Studio unreachable, token refused.
    """
    queues = _queues(bench, loop) if bench.reviewer.people else []
    choices = {c.window.window_id: c for queue in queues for c in queue}
    if not choices:
        return Carried()
    try:
        reviewed = bench.make_reviewer().look(list(choices.values()))
    except NoQueueError as error:
        log.warning("no answers are taken over from iterations that were given up: %s", error.found)
        return Carried()
    touched = {r.window.window_id for r in reviewed if r.annotations}
    answered = tuple(c for name, c in choices.items() if c.purpose is Purpose.TRAIN and name in touched)
    draws = [[c for c in queue if c.purpose is Purpose.GOLD] for queue in queues]
    blind = next((draw for draw in reversed(draws) if any(c.window.window_id in touched for c in draw)), [])
    kept = {c.window.window_id for c in (*answered, *blind)}
    return Carried(answered, tuple(blind), tuple(c for name, c in choices.items() if name not in kept))


def _queues(bench: Workbench, loop: LoopStore) -> list[list[Choice]]:
    """Queues that people have seen where they review now, oldest first; blind windows only of today's gold rule."""
    since = max((it.started for it in loop.iterations() if it.finished(DATASET.name) is not None), default=0)
    queues = []
    for iteration in loop.given_up():
        done = {stage.name: iteration.finished(stage.name) is not None for stage in (PUSH, DATASET)}
        if iteration.started <= since or done != {PUSH.name: True, DATASET.name: False}:
            continue
        try:
            then = bench.thaw(iteration.config_yaml)
        except ConfigError as error:
            log.warning("no answers are taken over from iteration %d, given up: %s", iteration.number, error.found)
            continue
        if then.reviewer is not bench.reviewer or _where(then) != _where(bench):
            continue
        same = then.configs["gold"] == bench.configs["gold"]
        queue = queue_of(bench, record_of(iteration, DETECT))
        queues.append([c for c in queue if same or c.purpose is not Purpose.GOLD])
    return queues


def _where(bench: Workbench) -> tuple[str, str]:
    """The server and the project that people review in."""
    settings = bench.label_studio()
    return settings.url, settings.project
