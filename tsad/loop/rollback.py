"""The champion goes back to the version before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.results import Result
from tsad.loop.champion import registry_of
from tsad.loop.opening import once, open_loop

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class RolledBack(Result):
    """Numbers of the champion now and before, of a registered model."""

    model: str
    champion: int
    before: int | None
    reason: str


def roll_back(bench: Workbench) -> RolledBack:
    """Move the champion alias to ``previous``, and record it as a run of the loop.

    Raises:
        RegistryError: there is no previous version.
    """
    with open_loop(bench).lock() as loop:

        def work(step: StepRun) -> RolledBack:
            registry = registry_of(bench, loop)
            before = registry.alias("champion")
            champion = registry.rollback()
            reason = f"rolled back from {before.version if before else '-'} to {champion.version}"
            step.tags({"tsad.reason": reason})
            return RolledBack(registry.name, champion.version, before.version if before else None, reason)

        return once(loop, "ROLLBACK", RolledBack, work)[1]
