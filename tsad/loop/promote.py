"""PROMOTE: the champion alias moves where the gate says so, or by force; the reason is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.advice import give_up
from tsad.core.errors import DatasetError, RegistryError
from tsad.core.reviews import DatasetVersion
from tsad.loop.champion import registry_of
from tsad.loop.evaluate import EVALUATE, VersionScored, compare, score_versions
from tsad.loop.gold import find_gold
from tsad.loop.model_notes import note_version
from tsad.loop.opening import open_loop, standalone
from tsad.loop.results import Promoted, Scored
from tsad.loop.runner import Stage, Turn, result_of
from tsad.metrics.gate import Clause, Decision, decide

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False, kw_only=True)
class GateVerdict(Decision):
    """What the gate, or force, made of one version."""

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
            decision = decide(
                bench.gold, intervals=int(scored["champion"].metrics["intervals"]), force=force,
                gains=compare(bench, step, scored),
            )  # fmt: skip
            if decision.promoted:
                registry.promote(candidate)
            _record(step, decision)
            note_version(loop, registry, candidate, (_scored(gold, scored), decision))
            judged = GateVerdict(**_fields(decision), version=candidate.version)
            step.result(judged.to_json())
    return judged


def _promote(turn: Turn, step: StepRun, _: Turn) -> Promoted:
    """The gate of an iteration: from the EVALUATE stage's figures to the alias."""
    bench, scored = turn.bench, result_of(turn.iteration, EVALUATE)
    registry = registry_of(bench, turn.loop)
    challenger = scored.versions.get("challenger")
    if challenger is None:
        decision = Decision(promoted=False, reason="no challenger was trained", clause=Clause.NO_CHALLENGER)
    else:
        decision = decide(bench.gold, intervals=scored.intervals, gains=scored.paired)
    if decision.promoted:
        candidate = registry.resolve(str(challenger))
        if candidate is None:
            remedy = f"Restore it; or: {give_up(turn.loop.name)}"
            raise RegistryError(f"{registry.name} has lost version {challenger}", remedy)
        registry.promote(candidate)
    if challenger is not None:
        note_version(turn.loop, registry, registry.get(challenger), (scored, decision))
    registry.prune(bench.tracking.keep_versions)
    _record(step, decision)
    winner = "challenger" if decision.promoted else "champion"
    return Promoted(**_fields(decision), champion=scored.versions[winner], scores=scored.scores[winner])


PROMOTE = Stage("PROMOTE", Promoted, _promote)


def _record(step: StepRun, decision: Decision) -> None:
    """The decision where people compare runs: reason and clause as tags, level and margin as parameters."""
    step.tags({"tsad.reason": decision.reason, "tsad.clause": decision.clause.value})
    if decision.gains:
        step.params({"gate.level": decision.level, "gate.margin": decision.margin})


def _scored(gold: DatasetVersion, scored: Mapping[str, VersionScored]) -> Scored:
    return Scored(
        gold_version=gold.digest, intervals=int(scored["champion"].metrics["intervals"]),
        scores={name: one.metrics for name, one in scored.items()},
        versions={name: one.version for name, one in scored.items()},
    )


def _fields(decision: Decision) -> dict[str, Any]:
    return {field.name: getattr(decision, field.name) for field in fields(decision)}
