"""``tsad evaluate``: model versions side by side on the gold set."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.names import safe_name
from tsad.core.reviews import DatasetVersion
from tsad.loop import train
from tsad.loop.champion import registry_of
from tsad.loop.common import finished, open_loop, show, standalone
from tsad.loop.datasets import record_of
from tsad.loop.gold import find_gold
from tsad.loop.scoring import gold_units
from tsad.metrics.paired import confidence_interval, paired_bootstrap
from tsad.metrics.units import Unit, rotated, summarise

if TYPE_CHECKING:
    from tsad.tracking.registry import Version
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

STEP = "EVALUATE"
WITH_INTERVALS = ("point_f1", "interval_f1", "composite_f1")
WITH_CHANCE = ("interval_f1", "composite_f1")  # shown beside what they give against rotated labels


def run(bench: Workbench, *, versions: list[str], output: str | None = None) -> float | None:
    """Score registered versions on the loop's gold set and print them side by side.

    Args:
        versions: aliases or numbers; an alias that does not exist is left out, a number is an error.
        output: a folder for ``evaluation.json``; ``None`` = only the run's artifacts.

    Returns:
        The gate's metric of the last version, for sweepers.

    Raises:
        DatasetError: the loop has no gold set yet.
    """
    loop = open_loop(bench)
    gold = find_gold(loop)
    if gold is None:
        raise DatasetError(f"loop {loop.name} has no gold set yet", "Run tsad iterate: the first iteration fixes it.")
    registry = registry_of(bench, loop)
    named = {name: registry.resolve(name) for name in versions}
    found = {name: version for name, version in named.items() if version is not None}
    with standalone(loop, STEP) as step:
        scored = score_versions(bench, loop, step, gold, found)
        step.result({"gold_version": gold.version, "scores": {k: v["metrics"] for k, v in scored.items()}})
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        text = json.dumps({k: v["metrics"] for k, v in scored.items()}, indent=1)
        (Path(output) / "evaluation.json").write_text(text, encoding="utf-8")
    show(rows(scored), f"gold {gold.version}: {len(gold.windows)} windows")
    last = list(scored.values())[-1] if scored else None
    return last["metrics"][bench.gold.metric] if last else None


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """EVALUATING: champion and challenger on the same gold windows, with the paired bootstrap between them."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    gold = find_gold(loop)
    if gold is None:
        raise DatasetError(f"the gold set of loop {loop.name} is gone from the store", "Restore the store's artifacts.")
    registry = registry_of(bench, loop)
    named = {"champion": registry.alias("champion")}
    challenger = finished(iteration, train.REGISTER).result["challenger"]
    if challenger is not None:
        named["challenger"] = registry.resolve(str(challenger))
    found = {name: version for name, version in named.items() if version is not None}
    with iteration.step(STEP) as step:
        step.log_dataset(record_of(loop, gold.version), "gold")
        scored = score_versions(bench, loop, step, gold, found)
        result: dict[str, Any] = {
            "gold_version": gold.version, "intervals": int(next(iter(scored.values()))["metrics"]["intervals"]),
            "scores": {name: one["metrics"] for name, one in scored.items()},
            "versions": {name: version.version for name, version in found.items()},
        }
        if "challenger" in scored:
            result["paired"] = compare(bench, scored["champion"]["units"], scored["challenger"]["units"])
        step.result(result)
    return finished(iteration, STEP)


def score_versions(
    bench: Workbench, loop: LoopStore, step: StepRun, gold: DatasetVersion, versions: dict[str, Version]
) -> dict[str, dict[str, Any]]:
    """Units and metrics of each version; metrics, per-series figures and plots go to the run."""
    from tsad.tracking.pyfunc_model import load_version

    scored: dict[str, dict[str, Any]] = {}
    for name, version in versions.items():
        loaded = load_version(registry_of(bench, loop), version)
        units = gold_units(loaded, gold)
        metrics = summarise(units)
        for metric in WITH_INTERVALS:
            metrics[f"{metric}_low"], metrics[f"{metric}_high"] = confidence_interval(
                units, metric, resamples=bench.gold.resamples, seed=bench.gold.seed
            )
        chance = summarise(rotated(units, seed=bench.gold.seed))
        metrics |= {f"rotated_{metric}": chance[metric] for metric in WITH_CHANCE}
        scored[name] = {"units": units, "metrics": metrics, "version": version.version}
        step.metrics({f"{name}/{key}": value for key, value in metrics.items()})
        _record_series(step, name, units)
    step.table(rows(scored), "evaluation.json")
    return scored


def compare(bench: Workbench, champion: Sequence[Unit], challenger: Sequence[Unit]) -> dict[str, dict[str, Any]]:
    """Challenger minus champion on the gate's metric and its guard, over the same resamples."""
    found: dict[str, dict[str, Any]] = {}
    for metric in (bench.gold.metric, bench.gold.guard):
        result = paired_bootstrap(
            champion, challenger, metric, resamples=bench.gold.resamples, seed=bench.gold.seed
        )
        found[metric] = {
            "gain": result.gain, "low": result.low, "high": result.high, "p_value": result.p_value,
            "resampled": result.resampled,
        }
    return found


def rows(scored: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One table row per version: the figures people compare."""
    keys = ("point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
            "rotated_interval_f1", "composite_f1", "rotated_composite_f1", "auc_pr", "vus_pr")
    return [
        {"": name, "version": one["version"], **{k: one["metrics"].get(k) for k in keys}}
        for name, one in scored.items()
    ]


def _record_series(step: StepRun, name: str, units: Sequence[Unit]) -> None:
    """``gold/<version>/<series>/metrics.json`` for each series of the gold set."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.group, []).append(unit)
    with tempfile.TemporaryDirectory() as scratch:
        for point_id, members in groups.items():
            folder = Path(scratch) / safe_name(point_id)
            folder.mkdir(parents=True)
            text = json.dumps({"point_id": point_id, **summarise(members)}, indent=1)
            (folder / "metrics.json").write_text(text, encoding="utf-8")
        step.file(Path(scratch), f"gold/{name}")
