"""What is in the store: where each loop stands, what waits for whom, the champion and its scores, the disk used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import TsadError
from tsad.core.results import Result
from tsad.core.times import format_time
from tsad.loop.detect import DETECT
from tsad.loop.progress import ReviewProgress, progress_of
from tsad.loop.pull import DATASET
from tsad.loop.queue import queue_of
from tsad.loop.runner import finished, record_of
from tsad.loop.story import answered, scores_of

if TYPE_CHECKING:
    from tsad.tracking.overview import LoopOverview
    from tsad.tracking.runs import Iteration


@dataclass(frozen=True, eq=False)
class IterationState(Result):
    """The newest iteration of a loop.

    Attributes:
        reason: why it failed, or "".
        started: ISO 8601, UTC.
        reviews: how its queue is answered, gold windows apart; ``None`` before there is a queue.
        unread: why the reviews, or the iteration's config, cannot be read, or "".
    """

    number: int
    state: str
    reason: str
    started: str
    reviews: ReviewProgress | None
    unread: str = ""


@dataclass(frozen=True, eq=False)
class LoopStanding(Result):
    """One loop of the store.

    Attributes:
        completed: iterations.
        champion: ``<model>:<version>``; ``dataset`` is what it was trained on, "" for the base and what was imported.
        role: of the champion: ``base``, ``adapted`` or ``imported``.
        scores: the champion's on the gold set, by the newest completed iteration.
        url: where people review, while the iteration waits for them; "" where that is not known.
    """

    name: str
    completed: int
    iteration: IterationState | None
    champion: str | None
    dataset: str | None
    scores: Mapping[str, float] = field(default_factory=dict)
    url: str = ""
    role: str = ""


@dataclass(frozen=True, eq=False)
class StoreStatus(Result):
    """The store.

    Attributes:
        store: its address or folder.
        empty: nothing has been put into it yet.
        label_studio: where it runs or why it does not answer, in words; ``None`` in an empty store.
        disk: bytes by what takes them.
    """

    store: str
    empty: bool
    label_studio: str | None
    loops: tuple[LoopStanding, ...]
    disk: Mapping[str, int]


def store_status(bench: Workbench, disk: Mapping[str, int] | None = None) -> StoreStatus:
    """The state of the store, of every loop in it, and of Label Studio where one is used.

    Args:
        disk: what is used of it, where that is known; ``None`` = it is measured, file by file.
    """
    if not bench.tracking.uri and not (bench.home / "mlflow.db").exists():
        return StoreStatus(str(bench.home), True, None, (), {})
    from tsad.review.label_studio.server import describe
    from tsad.tracking.overview import overview
    from tsad.tracking.reading import open_to_read

    store = open_to_read(bench.tracking, bench.home)
    loops = tuple(_standing(bench, of) for of in overview(store, bench.loop.lease))
    used = _disk(bench.home) if disk is None else disk
    return StoreStatus(store.uri, False, describe(bench.label_studio(), bench.home), loops, used)


def _standing(bench: Workbench, of: LoopOverview) -> LoopStanding:
    """One loop: from the figures of its runs, apart from an iteration that is open."""
    if not of.iterations:
        return LoopStanding(of.loop.name, 0, None, None, None)
    champion, completed = of.champion, [i for i in of.iterations if i.state == "COMPLETED"]
    newest, url = of.iterations[-1], ""
    if newest.state == "COMPLETED":
        state = _state(newest, answered(newest), "")
    else:
        state, url = _newest(bench, newest)
    return LoopStanding(
        name=of.loop.name, completed=len(completed), iteration=state,
        champion=champion.label if champion else None,
        dataset=champion.tags.get("tsad.dataset_version", "") if champion else None,
        scores=scores_of(completed[-1]) if completed else {}, url=url,
        role=champion.tags.get("tsad.role", "") if champion else "",
    )


def _newest(bench: Workbench, iteration: Iteration) -> tuple[IterationState, str]:
    """Where an open iteration stands, how its windows were answered so far, and where people review them."""
    try:
        frozen, collected = bench.thaw(iteration.config_yaml), finished(iteration, DATASET)
        if collected is not None:
            return _state(iteration, ReviewProgress(collected.states, collected.gold_states), ""), ""
        if finished(iteration, DETECT) is None:
            return _state(iteration, None, ""), ""
        if not frozen.reviewer.people:
            return _state(iteration, progress_of([]), ""), ""
        reviewer = frozen.make_reviewer()
        progress = progress_of(reviewer.pull(queue_of(frozen, record_of(iteration, DETECT))))
        return _state(iteration, progress, ""), reviewer.project_url
    except TsadError as error:  # it names what is not here; the other loops are told of all the same
        return _state(iteration, None, str(error)), ""


def _state(iteration: Iteration, reviews: ReviewProgress | None, unread: str) -> IterationState:
    started = format_time(iteration.started * 10**6)
    reason = "" if iteration.state == "COMPLETED" else iteration.reason
    return IterationState(iteration.number, iteration.state, reason, started, reviews, unread)


def _disk(home: Path) -> dict[str, int]:
    """Bytes under each folder of the store."""
    parts = {"tracking store": home, "cache": home / "cache", "Label Studio": home / "label_studio"}
    sizes = {name: _bytes(path) for name, path in parts.items()}
    sizes["tracking store"] -= sizes["cache"] + sizes["Label Studio"]
    return sizes


def _bytes(folder: Path) -> int:
    """Of all files below a folder; what vanishes meanwhile counts no more."""
    total, folders = 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file():
                        total += entry.stat().st_size
    return total
