"""What the parts of the service count for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tsad.jobs.devices import CPU, gpu_queue
from tsad.service.prometheus import Gauge

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard
    from tsad.service.fanout import Fanout


def counted(board: JobBoard, fanout: Fanout) -> Mapping[str, Callable[[], Iterable[Gauge]]]:
    """By part; each is asked alone, so that one that cannot count leaves the others theirs."""
    queues = (CPU, *map(gpu_queue, range(len(board.gpus))))
    return {
        "jobs": lambda: [Gauge("tsad_jobs", "Jobs by state", "state", board.counts())],
        "queues": lambda: [Gauge("tsad_queue_depth", "Jobs that wait in a queue", "queue", {
            name: len(board.queues.waiting(name)) for name in queues
        })],
        "streams": lambda: [Gauge("tsad_listeners", "Clients that listen to jobs", "", {"": fanout.listeners})],
    }  # fmt: skip
