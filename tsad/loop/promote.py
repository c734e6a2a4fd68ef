"""``tsad promote``: the champion alias moves where the gate says so, or by force; the reason is recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError, RegistryError
from tsad.loop import evaluate
from tsad.loop.champion import registry_of
from tsad.loop.common import finished, open_loop, say, standalone
from tsad.loop.gold import find_gold
from tsad.metrics.gate import Decision, decide

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord

STEP = "PROMOTE"


def run(bench: Workbench, *, version: str = "challenger", force: bool = False) -> None:
    """Put a version through the gate against the champion and promote it if it passes.

    Args:
        version: alias or number.
        force: promote whatever the gate says; the reason says so.

    Raises:
        RegistryError: no such version.
        DatasetError: no gold set to judge on.
    """
    loop = open_loop(bench)
    with loop.lock() as held:
        registry = registry_of(bench, held)
        candidate, champion, gold = registry.resolve(version), registry.alias("champion"), find_gold(held)
        if candidate is None or champion is None:
            raise RegistryError(
                f"{registry.name} has no {version if candidate is None else 'champion'}", "tsad status lists versions."
            )
        if gold is None:
            raise DatasetError(f"loop {loop.name} has no gold set to judge on", "Run tsad iterate first.")
        with standalone(held, STEP) as step:
            scored = evaluate.score_versions(
                bench, held, step, gold, {"champion": champion, "challenger": candidate}
            )
            paired = evaluate.compare(bench, scored["champion"]["units"], scored["challenger"]["units"])
            decision = _decide(bench, int(scored["champion"]["metrics"]["intervals"]), paired, force)
            if decision.promote:
                registry.promote(candidate)
            step.tags({"tsad.reason": decision.reason})
            step.result({"promoted": decision.promote, "reason": decision.reason, "version": candidate.version})
    say(f"{'promoted' if decision.promote else 'kept the champion instead of'} {candidate.version}: {decision.reason}")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """The gate of an iteration: from the EVALUATE step's figures to the alias."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    scores = finished(iteration, evaluate.STEP).result
    registry = registry_of(bench, loop)
    with iteration.step(STEP) as step:
        challenger = scores["versions"].get("challenger")
        if challenger is None:
            decision = Decision(False, "no challenger was trained")
        else:
            decision = _decide(bench, scores["intervals"], scores["paired"], force=False)
        if decision.promote:
            candidate = registry.resolve(str(challenger))
            if candidate is None:
                raise RegistryError(f"{registry.name} has lost version {challenger}", "Restore it or start new=true.")
            registry.promote(candidate)
        registry.prune(bench.tracking.keep_versions)
        step.tags({"tsad.reason": decision.reason})
        champion = challenger if decision.promote else scores["versions"]["champion"]
        step.result(
            {
                "promoted": decision.promote, "reason": decision.reason, "champion": champion,
                "scores": scores["scores"]["challenger" if decision.promote else "champion"],
            }
        )
    return finished(iteration, STEP)


def _decide(bench: Workbench, intervals: int, paired: dict[str, dict[str, Any]], force: bool) -> Decision:
    gain = SimpleNamespace(**paired[bench.gold.metric])
    guard = SimpleNamespace(**paired[bench.gold.guard])
    return decide(bench.gold, intervals=intervals, gain=gain, guard=guard, force=force)
