"""``tsad pull``: annotations back as reviewed windows, and a dataset version once enough are in."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.pull import Pulled, pull_reviews
from tsad.verbs.console import Console


class PullKeys(Options):
    """``tsad pull`` has no keys of its own."""


keys_model = PullKeys


def run(bench: Workbench, keys: PullKeys, console: Console) -> Pulled:
    """Bring the open iteration's annotations back.

    Raises:
        LoopError: no open iteration has a queue.
    """
    return console.answer(pull_reviews(bench), _present)


def _present(pulled: Pulled, console: Console) -> None:
    if pulled.dataset is not None:  # else how many wait has been said meanwhile
        console.say(f"dataset version {pulled.dataset.version}: {pulled.dataset.windows} windows")
