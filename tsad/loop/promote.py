"""PROMOTE: the champion alias moves where the gate says so, or by force; the reason is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.advice import give_up
from tsad.core.errors import DatasetError, RegistryError
from tsad.core.results import Result
from tsad.loop.champion import registry_of
from tsad.loop.evaluate import EVALUATE, compare, score_versions
from tsad.loop.gold import find_gold
from tsad.loop.opening import open_loop, standalone
from tsad.loop.results import PairedGain, Promoted
from tsad.loop.runner import Stage, Turn, result_of
from tsad.metrics.gate import Decision, decide

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class GateVerdict(Result):
    """What the gate, or force, made of one version."""

    promoted: bool
    reason: str
    version: int


def promote_version(bench: Workbench, version: str, force: bool) -> GateVerdict:
    """Put a version through the gate against the champion and promote it if it passes.

    Args:
        version: alias or number.
        force: promote whatever the gate says; the reason says so.

    Raises:
        RegistryError: no such version.
        DatasetError: no gold set to judge on.
    """
    with open_loop(bench).lock() as loop:
        registry = registry_of(bench, loop)
        candidate, champion, gold = registry.resolve(version), registry.alias("champion"), find_gold(loop)
        if candidate is None or champion is None:
            raise RegistryError(
                f"{registry.name} has no {version if candidate is None else 'champion'}", "tsad status lists versions."
            )
        if gold is None:
            raise DatasetError(f"loop {loop.name} has no gold set to judge on", "Run tsad iterate first.")
        with standalone(loop, PROMOTE.name) as (_, step):
            scored = score_versions(bench, loop, step, gold, {"champion": champion, "challenger": candidate})
            paired = compare(bench, scored["champion"].units, scored["challenger"].units)
            decision = _decide(bench, int(scored["champion"].metrics["intervals"]), paired, force)
            if decision.promote:
                registry.promote(candidate)
            step.tags({"tsad.reason": decision.reason})
            judged = GateVerdict(decision.promote, decision.reason, candidate.version)
            step.result(judged.to_json())
    return judged


def _promote(turn: Turn, step: StepRun, _: Turn) -> Promoted:
    """The gate of an iteration: from the EVALUATE stage's figures to the alias."""
    bench, scored = turn.bench, result_of(turn.iteration, EVALUATE)
    registry = registry_of(bench, turn.loop)
    challenger = scored.versions.get("challenger")
    if challenger is None:
        decision = Decision(False, "no challenger was trained")
    else:
        decision = _decide(bench, scored.intervals, scored.paired, force=False)
    if decision.promote:
        candidate = registry.resolve(str(challenger))
        if candidate is None:
            remedy = f"Restore it; or: {give_up(turn.loop.name)}"
            raise RegistryError(f"{registry.name} has lost version {challenger}", remedy)
        registry.promote(candidate)
    registry.prune(bench.tracking.keep_versions)
    step.tags({"tsad.reason": decision.reason})
    winner = "challenger" if decision.promote else "champion"
    return Promoted(decision.promote, decision.reason, scored.versions[winner], scored.scores[winner])


PROMOTE = Stage("PROMOTE", Promoted, _promote)


def _decide(bench: Workbench, intervals: int, paired: Mapping[str, PairedGain], force: bool) -> Decision:
    gain, guard = paired[bench.gold.metric], paired[bench.gold.guard]
    return decide(bench.gold, intervals=intervals, gain=gain, guard=guard, force=force)
