"""``tsad rollback``: the champion goes back to the version before it."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.rollback import RolledBack, roll_back
from tsad.verbs.console import Console


class RollbackKeys(Options):
    """``tsad rollback`` has no keys of its own."""


keys_model = RollbackKeys


def run(bench: Workbench, keys: RollbackKeys, console: Console) -> RolledBack:
    """Move the champion alias to ``previous``.

    Raises:
        RegistryError: there is no previous version.
    """
    return console.answer(roll_back(bench), _present)


def _present(answer: RolledBack, console: Console) -> None:
    console.say(f"{answer.model}: {answer.reason}")
