"""PROMOTE: the champion alias moves where the gate says so; the reason is recorded."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tsad.core.advice import give_up
from tsad.core.errors import RegistryError
from tsad.loop.champion import registry_of
from tsad.loop.evaluate import EVALUATE
from tsad.loop.model_notes import note_version
from tsad.loop.results import Promoted
from tsad.loop.runner import Stage, Turn, result_of
from tsad.metrics.gate import Clause, Decision, decide

if TYPE_CHECKING:
    from tsad.tracking.runs import StepRun


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
    record_decision(step, decision)
    winner = "challenger" if decision.promoted else "champion"
    return Promoted(**decision_fields(decision), champion=scored.versions[winner], scores=scored.scores[winner])


PROMOTE = Stage("PROMOTE", Promoted, _promote)


def record_decision(step: StepRun, decision: Decision) -> None:
    """The decision where people compare runs: reason and clause as tags, level and margin as parameters."""
    step.tags({"tsad.reason": decision.reason, "tsad.clause": decision.clause.value})
    if decision.gains:
        step.params({"gate.level": decision.level, "gate.margin": decision.margin})


def decision_fields(decision: Decision) -> dict[str, Any]:
    """What a result that is more than a decision is made from."""
    return {field.name: getattr(decision, field.name) for field in fields(decision)}
