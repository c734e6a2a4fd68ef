"""``tsad rollback``: the champion goes back to the version before it."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.loop.champion import registry_of
from tsad.loop.common import open_loop, say, standalone


def run(bench: Workbench) -> None:
    """Move the champion alias to ``previous``, and record it as a run of the loop.

    Raises:
        RegistryError: there is no previous version.
    """
    loop = open_loop(bench)
    registry = registry_of(bench, loop)
    with standalone(loop, "ROLLBACK") as step:
        before = registry.alias("champion")
        champion = registry.rollback()
        reason = f"rolled back from {before.version if before else '-'} to {champion.version}"
        step.tags({"tsad.reason": reason})
        step.result({"champion": champion.version, "before": before.version if before else None})
    say(f"{registry.name}: {reason}")
