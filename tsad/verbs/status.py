"""``tsad`` alone: what is connected, where each loop stands, what waits for whom, the champion, the disk used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.status import IterationState, LoopStanding, StoreStatus, store_status
from tsad.verbs.console import Console


class StatusKeys(Options):
    """``tsad status`` has no keys of its own."""


keys_model = StatusKeys


def run(bench: Workbench, keys: StatusKeys, console: Console) -> StoreStatus:
    """Show the state of the store, of every loop in it, and of Label Studio where one is used."""
    return console.answer(store_status(bench), _present)


def _present(status: StoreStatus, console: Console) -> None:
    if status.empty:
        console.say(f"store: {status.store} (nothing in it yet)")
        console.say("begin with: tsad iterate experiment=demo")
        return
    console.say(f"store: {status.store}")
    console.say(f"Label Studio: {status.label_studio}")
    console.table([_row(loop) for loop in status.loops], "loops")
    for loop in status.loops:
        if loop.iteration is not None:
            _present_iteration(loop.name, loop.iteration, console)
    console.table([{"what": name, "MB": round(size / 1e6, 1)} for name, size in status.disk.items()], "disk")


def _row(loop: LoopStanding) -> Mapping[str, Any]:
    return {
        "loop": loop.name, "iterations": loop.completed, "state": loop.iteration.state if loop.iteration else "-",
        "champion": loop.champion, "dataset": "none (base)" if loop.dataset == "" else loop.dataset,
        **{key: loop.scores.get(key) for key in ("point_f1", "interval_f1", "composite_f1")},
    }  # fmt: skip


def _present_iteration(loop: str, iteration: IterationState, console: Console) -> None:
    console.say(f"iteration {iteration.number} of {loop}: {iteration.state} {iteration.reason}".rstrip())
    if iteration.unread:
        console.say(f"  reviews cannot be read: {iteration.unread}")
    elif iteration.reviews is not None:
        console.say(f"  {iteration.reviews}")
