"""One version against the champion, outside an iteration: the gate's verdict, or force."""

from __future__ import annotations

from dataclasses import dataclass

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError, RegistryError
from tsad.loop.champion import registry_of
from tsad.loop.evaluate import compare, score_versions, side_by_side
from tsad.loop.explain import EvidenceGap
from tsad.loop.gaps import gold_gap
from tsad.loop.gold import find_gold
from tsad.loop.model_notes import note_version
from tsad.loop.opening import open_loop, standalone
from tsad.loop.promote import PROMOTE, decision_fields, record_decision
from tsad.metrics.gate import Decision, decide


@dataclass(frozen=True, eq=False, kw_only=True)
class GateVerdict(Decision):
    """What the gate, or force, made of one version.

    Attributes:
        evidence: what the gold set lacked to tell its gain from chance; ``None`` where it was promoted.
    """

    version: int
    evidence: EvidenceGap | None = None


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
        with standalone(loop, PROMOTE.name) as (held, step):
            units = score_versions(bench, loop, step, gold, {"champion": champion, "challenger": candidate})
            scored = side_by_side(gold, units, compare(bench, step, units))
            decision = decide(bench.gold, intervals=scored.intervals, force=force, gains=scored.paired)
            missing = None
            if not decision.promoted:
                missing = gold_gap(bench, held, scored.intervals, scored.paired, len(gold.windows))
            if decision.promoted:
                registry.promote(candidate)
            record_decision(step, decision)
            note_version(loop, registry, candidate, (scored, decision))
            judged = GateVerdict(**decision_fields(decision), version=candidate.version, evidence=missing)
            step.result(judged.to_json())
    return judged
