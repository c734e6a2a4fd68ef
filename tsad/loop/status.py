"""What is in the store: where each loop stands, what waits for whom, the champion and its scores, the disk used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, TsadError
from tsad.core.results import Result
from tsad.core.times import format_time
from tsad.loop.champion import registry_of
from tsad.loop.detect import DETECT
from tsad.loop.progress import ReviewProgress, progress_of
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.queue import queue_of
from tsad.loop.runner import finished, record_of
from tsad.tracking.runs import LoopStore

if TYPE_CHECKING:
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
        champion: ``<model>:<version>``; ``dataset`` is what it was trained on, "" for the base.
        scores: the champion's on the gold set, by the newest iteration that the gate decided on.
    """

    name: str
    completed: int
    iteration: IterationState | None
    champion: str | None
    dataset: str | None
    scores: Mapping[str, float] = field(default_factory=dict)


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


def store_status(bench: Workbench) -> StoreStatus:
    """The state of the store, of every loop in it, and of Label Studio where one is used."""
    if not bench.tracking.uri and not (bench.home / "mlflow.db").exists():
        return StoreStatus(str(bench.home), True, None, (), {})
    from tsad.review.server import describe
    from tsad.tracking.store import open_store

    store = open_store(bench.tracking, bench.home)
    loops = tuple(_standing(bench, LoopStore(store, name, bench.loop.lease)) for name in store.loops())
    return StoreStatus(store.uri, False, describe(bench.label_studio(), bench.home), loops, _disk(bench.home))


def _standing(bench: Workbench, loop: LoopStore) -> LoopStanding:
    iterations = loop.iterations()
    if not iterations:
        return LoopStanding(loop.name, 0, None, None, None)
    completed = sum(i.state == "COMPLETED" for i in iterations)
    try:
        frozen = bench.thaw(iterations[-1].config_yaml)
    except ConfigError as error:  # it names what is not here; the other loops are told of all the same
        return LoopStanding(loop.name, completed, _state(iterations[-1], None, str(error)), None, None)
    registry = registry_of(frozen, loop)
    champion = registry.alias("champion")
    decisions = (finished(iteration, PROMOTE) for iteration in reversed(iterations))
    decision = next((decision for decision in decisions if decision is not None), None)
    return LoopStanding(
        name=loop.name, completed=completed, iteration=_newest(frozen, iterations[-1]),
        champion=f"{registry.name}:{champion.version}" if champion else None,
        dataset=champion.tags.get("tsad.dataset_version", "") if champion else None,
        scores=decision.scores if decision else {},
    )


def _newest(frozen: Workbench, iteration: Iteration) -> IterationState:
    """Where the newest iteration stands and how its windows were answered so far."""
    reviews, unread = None, ""
    collected = finished(iteration, DATASET)
    if collected is not None:
        reviews = ReviewProgress(collected.states, collected.gold_states)
    elif finished(iteration, DETECT) is not None:
        try:
            reviews = _reviews(frozen, iteration)
        except TsadError as error:
            unread = str(error)
    return _state(iteration, reviews, unread)


def _state(iteration: Iteration, reviews: ReviewProgress | None, unread: str) -> IterationState:
    started = format_time(iteration.started * 10**6)
    return IterationState(iteration.number, iteration.state, iteration.reason, started, reviews, unread)


def _reviews(frozen: Workbench, iteration: Iteration) -> ReviewProgress:
    if not frozen.reviewer.people:
        return progress_of([])
    return progress_of(frozen.make_reviewer().pull(queue_of(frozen, record_of(iteration, DETECT))))


def _disk(home: Path) -> dict[str, int]:
    """Bytes under each folder of the store."""
    parts = {"tracking store": home, "cache": home / "cache", "Label Studio": home / "label_studio"}
    sizes = {name: _bytes(path) for name, path in parts.items()}
    sizes["tracking store"] -= sizes["cache"] + sizes["Label Studio"]
    return sizes


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
