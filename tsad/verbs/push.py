"""``tsad push``: the review queue of the open iteration, with pre-annotations, to those who review."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.push import QueueMoved, push_queue, withdraw_queue
from tsad.loop.results import split_in_words
from tsad.verbs.console import Console


class PushKeys(Options):
    """Own keys of ``tsad push``."""

    withdraw: bool


keys_model = PushKeys


def run(bench: Workbench, keys: PushKeys, console: Console) -> QueueMoved:
    """Push the open iteration's queue, or take the tasks back that nobody has answered.

    Raises:
        LoopError: no open iteration has a queue.
        ReviewError: Label Studio unreachable, token refused, project gone.
    """
    if keys.withdraw:
        return console.answer(withdraw_queue(bench), _present_withdrawn)
    return console.answer(push_queue(bench), _present)


def _present(moved: QueueMoved, console: Console) -> None:
    split = split_in_words(moved.queued, moved.proposed, moved.gold_queued)
    console.say(f"pushed {moved.created} new tasks for iteration {moved.iteration}: {split}")


def _present_withdrawn(moved: QueueMoved, console: Console) -> None:
    console.say(f"withdrew {moved.withdrawn} tasks without annotation")
