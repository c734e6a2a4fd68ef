"""EVALUATE: model versions side by side on the gold set."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion, true_intervals
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.datasets import dataset_record
from tsad.loop.gold import find_gold
from tsad.loop.model_notes import measure_version
from tsad.loop.opening import open_loop, standalone
from tsad.loop.pictures import draw_evaluation
from tsad.loop.results import Scored
from tsad.loop.runner import Stage, Turn, result_of
from tsad.loop.scoring import GoldStretch, gold_stretches
from tsad.loop.train import REGISTER
from tsad.metrics.gate import level_of
from tsad.metrics.paired import PairedGain, confidence_interval, gain_figures, paired_tests
from tsad.metrics.units import Unit, rotated, summarise

if TYPE_CHECKING:
    from tsad.tracking.registry import Version
    from tsad.tracking.runs import LoopStore, StepRun

WITH_INTERVALS = ("point_f1", "interval_f1", "composite_f1")
WITH_CHANCE = ("interval_f1", "composite_f1")  # shown beside what they give against rotated labels


@dataclass(frozen=True, eq=False)
class VersionScored:
    """What one version gives on the gold set."""

    version: int
    units: Sequence[Unit]
    metrics: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation(Result):
    """Versions side by side on the gold set.

    Attributes:
        windows: of the gold set.
        scores, versions: metrics and number by the name that was asked for.
        metric: the gate's.
    """

    gold_version: str
    windows: int
    scores: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, int]
    metric: str

    @property
    def optimised(self) -> float | None:
        """The gate's metric of the last version."""
        return list(self.scores.values())[-1][self.metric] if self.scores else None


def evaluate_versions(bench: Workbench, versions: Sequence[str], output: str | None) -> Evaluation:
    """Score registered versions on the loop's gold set.

    Args:
        versions: aliases or numbers; an alias that does not exist is left out, a number is an error.
        output: a folder for ``evaluation.json``; ``None`` = only the run's artifacts.

    Raises:
        DatasetError: the loop has no gold set yet.
    """
    loop = open_loop(bench)
    gold = find_gold(loop)
    if gold is None:
        raise DatasetError(f"loop {loop.name} has no gold set yet", "Run tsad iterate: the first iteration fixes it.")
    registry = registry_of(bench, loop)
    named = {name: registry.resolve(name) for name in versions}
    known = {name: version for name, version in named.items() if version is not None}
    with standalone(loop, EVALUATE.name) as (held, step):
        scored = score_versions(bench, held, step, gold, known)
        evaluation = Evaluation(
            gold.digest, len(gold.windows), {name: one.metrics for name, one in scored.items()},
            {name: one.version for name, one in scored.items()}, bench.gold.metric,
        )  # fmt: skip
        step.result(evaluation.to_json())
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        text = json.dumps(evaluation.scores, indent=1)
        (Path(output) / "evaluation.json").write_text(text, encoding="utf-8")
    return evaluation


def _evaluate(turn: Turn, step: StepRun, gold: DatasetVersion) -> Scored:
    """Champion and challenger on the same gold windows, with the paired test between them."""
    bench, loop = turn.bench, turn.loop
    registry = registry_of(bench, loop)
    named = {"champion": registry.alias("champion")}
    challenger = result_of(turn.iteration, REGISTER).challenger
    if challenger is not None:
        named["challenger"] = registry.resolve(str(challenger))
    known = {name: version for name, version in named.items() if version is not None}
    step.log_dataset(dataset_record(loop, gold.digest), "gold")
    scored = score_versions(bench, loop, step, gold, known)
    return side_by_side(gold, scored, compare(bench, step, scored) if "challenger" in scored else {})


def _gold(turn: Turn) -> DatasetVersion:
    gold = find_gold(turn.loop)
    if gold is None:
        raise DatasetError(
            f"the gold set of loop {turn.loop.name} is gone from the store", "Restore the store's artifacts."
        )
    return gold


EVALUATE = Stage("EVALUATE", Scored, _evaluate, _gold)


def score_versions(
    bench: Workbench, loop: LoopStore, step: StepRun, gold: DatasetVersion, versions: Mapping[str, Version]
) -> dict[str, VersionScored]:
    """Units and metrics of each version; parameters, metrics, per-series figures and plots go to the run."""
    scored: dict[str, VersionScored] = {}
    judged: dict[str, list[GoldStretch]] = {}
    numbers, began = {name: version.version for name, version in versions.items()}, time.time_ns() // 1_000_000
    named = {f"{name}.version": number for name, number in numbers.items()}
    step.params({**bench.parameters("gold"), "gold_version": gold.digest, **named})
    for name, version in versions.items():
        bench.context.control.safe_point()
        loaded = load_registered(bench, registry_of(bench, loop), version)
        judged[name] = gold_stretches(loaded, gold, bench.context)
        units = [stretch.unit for stretch in judged[name]]
        metrics = summarise(units) | {"intervals": float(true_intervals(gold.windows))}
        for metric in WITH_INTERVALS:
            metrics[f"{metric}_low"], metrics[f"{metric}_high"] = confidence_interval(
                units, metric, resamples=bench.gold.resamples, seed=bench.gold.seed
            )
        chance = summarise(rotated(units, seed=bench.gold.seed))
        metrics |= {f"rotated_{metric}": chance[metric] for metric in WITH_CHANCE}
        scored[name] = VersionScored(version.version, units, metrics)
        step.metrics({f"{name}/{key}": value for key, value in metrics.items()})
        measure_version(loop, version, metrics, gold, began)
    step.table(table({name: one.metrics for name, one in scored.items()}, numbers), "evaluation.json")
    draw_evaluation(step, judged)
    return scored


def compare(bench: Workbench, step: StepRun, scored: Mapping[str, VersionScored]) -> dict[str, PairedGain]:
    """Challenger minus champion on the gate's two metrics, over the same swaps, at the level that decides; the gains
    are metrics of the run."""
    gold = bench.gold
    gains = paired_tests(
        scored["champion"].units, scored["challenger"].units, (gold.metric, gold.guard), level=level_of(gold),
        resamples=gold.resamples, seed=gold.seed,
    )  # fmt: skip
    step.metrics(gain_figures(gains))
    return gains


def side_by_side(
    gold: DatasetVersion, scored: Mapping[str, VersionScored], paired: Mapping[str, PairedGain]
) -> Scored:
    """What EVALUATE keeps of versions on a gold set, the first of them the champion."""
    return Scored(
        gold_version=gold.digest, intervals=int(next(iter(scored.values())).metrics["intervals"]),
        scores={name: one.metrics for name, one in scored.items()},
        versions={name: one.version for name, one in scored.items()}, paired=paired,
    )


def table(scores: Mapping[str, Mapping[str, float]], versions: Mapping[str, int]) -> list[dict[str, Any]]:
    """One row per version: the figures people compare."""
    keys = ("point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
            "rotated_interval_f1", "composite_f1", "rotated_composite_f1", "auc_pr", "vus_pr")  # fmt: skip
    return [
        {"": name, "version": versions[name], **{k: metrics.get(k) for k in keys}} for name, metrics in scores.items()
    ]
