"""One version against the champion, outside an iteration: the gate's verdict, or force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError, RegistryError
from tsad.core.reviews import DatasetVersion
from tsad.loop.champion import registry_of
from tsad.loop.evaluate import VersionScored, compare, score_versions
from tsad.loop.explain import EvidenceGap
from tsad.loop.gaps import gold_gap
from tsad.loop.gold import find_gold
from tsad.loop.model_notes import note_version
from tsad.loop.opening import open_loop, standalone
from tsad.loop.promote import PROMOTE, decision_fields, record_decision
from tsad.loop.results import Scored
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
            scored = score_versions(bench, loop, step, gold, {"champion": champion, "challenger": candidate})
            intervals = int(scored["champion"].metrics["intervals"])
            gains = compare(bench, step, scored)
            decision = decide(bench.gold, intervals=intervals, force=force, gains=gains)
            missing = None if decision.promoted else gold_gap(bench, held, intervals, gains, len(gold.windows))
            if decision.promoted:
                registry.promote(candidate)
            record_decision(step, decision)
            note_version(loop, registry, candidate, (_scored(gold, scored), decision))
            judged = GateVerdict(**decision_fields(decision), version=candidate.version, evidence=missing)
            step.result(judged.to_json())
    return judged


def _scored(gold: DatasetVersion, scored: Mapping[str, VersionScored]) -> Scored:
    return Scored(
        gold_version=gold.digest, intervals=int(scored["champion"].metrics["intervals"]),
        scores={name: one.metrics for name, one in scored.items()},
        versions={name: one.version for name, one in scored.items()},
    )
