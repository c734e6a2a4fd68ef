"""``tsad`` alone: what is connected, where each loop stands, what waits for whom, the champion, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.iteration import EXHAUSTED
from tsad.loop.status import IterationState, LoopStanding, StoreStatus, store_status
from tsad.verbs.console import Console
from tsad.verbs.tables import size_text

BEGIN = "tsad iterate source.root=FOLDER loop.name=NAME, or experiment=demo"
FIGURES = {"interval_f1": "interval F1", "composite_f1": "composite F1", "point_f1": "point F1"}


class StatusKeys(Options):
    """``tsad status`` has no keys of its own."""


keys_model = StatusKeys


def run(bench: Workbench, keys: StatusKeys, console: Console) -> StoreStatus:
    """Show the state of the store, of every loop in it, and of Label Studio where one is used."""
    return console.answer(store_status(bench), _present)


def _present(status: StoreStatus, console: Console) -> None:
    if status.empty:
        console.say(f"store: {status.store} (nothing in it yet)")
        console.say(f"next: {BEGIN}")
        return
    console.say(f"store: {status.store}")
    console.say(f"Label Studio: {status.label_studio}")
    console.say("disk: " + ", ".join(f"{name} {size_text(size)}" for name, size in status.disk.items()))
    console.table([_row(loop) for loop in status.loops], "loops", ("point F1", "dataset"))
    for loop in status.loops:
        if loop.iteration is not None:
            _present_iteration(loop.name, loop.iteration, console)
    console.say(f"next: {_next(status)}")


def _row(loop: LoopStanding) -> Mapping[str, Any]:
    return {
        "loop": loop.name, "iterations": loop.completed, "state": loop.iteration.state if loop.iteration else "-",
        "champion": loop.champion, "dataset": f"none ({loop.role or 'base'})" if loop.dataset == "" else loop.dataset,
        **{title: loop.scores.get(key) for key, title in FIGURES.items()},
    }  # fmt: skip


def _present_iteration(loop: str, iteration: IterationState, console: Console) -> None:
    console.say(f"iteration {iteration.number} of {loop}: {iteration.state} {iteration.reason}".rstrip())
    if iteration.unread:
        console.say(f"  reviews cannot be read: {iteration.unread}")
    elif iteration.reviews is not None:
        console.say(f"  {iteration.reviews}")


def _next(status: StoreStatus) -> str:
    """What to do about the loop that was begun last of those that wait for somebody, else about the last one."""
    if not status.loops:
        return BEGIN
    begun = [loop for loop in status.loops if loop.iteration is not None and loop.iteration.state != "COMPLETED"]
    if not begun:
        return f"tsad report loop.name={status.loops[-1].name}, or tsad ui to compare its iterations"
    loop = begun[-1]
    go_on = f"tsad iterate loop.name={loop.name}"
    assert loop.iteration is not None
    if loop.iteration.state == "FAILED":
        return f"mend what failed, then {go_on}"
    if loop.iteration.state == EXHAUSTED:
        return f"every window has been answered: bring more series or longer ones, then {go_on}"
    waiting = loop.iteration.reviews.waiting if loop.iteration.reviews is not None else 0
    if waiting:
        return f"review {waiting} windows at {loop.url}, then {go_on}"
    if loop.iteration.unread:
        return f"tsad studio, review what waits, then {go_on}"
    return go_on
