"""``tsad train``: a dataset version -> LoRA adapter and threshold -> challenger."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config import locate
from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.protocols import Trainable
from tsad.core.reviews import DatasetVersion
from tsad.core.tuning import Tuner, TuningCall
from tsad.loop import pull
from tsad.loop.champion import CALIBRATED, first_proposer, log_detector, registry_of
from tsad.loop.common import finished, open_loop, show, standalone
from tsad.loop.datasets import fetch, latest_training, record_of
from tsad.loop.scoring import judged_series, score_windows, truth_mask

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

STEP, REGISTER = "TRAIN", "REGISTER"


def run(bench: Workbench, *, dataset: str = "latest") -> float | None:
    """Train on a dataset version outside any iteration and register the result as a new version.

    Args:
        dataset: hash of a dataset version; ``latest`` = the newest of the loop.

    Returns:
        The validation F1, for sweepers; ``None`` where nothing was trained.

    Raises:
        DatasetError: the loop has no dataset version yet.
    """
    loop = open_loop(bench)
    version = latest_training(loop) if dataset == "latest" else fetch(loop, dataset)
    if version is None:
        raise DatasetError(f"loop {loop.name} has no dataset version", "Run tsad iterate first: people review windows.")
    with standalone(loop, STEP) as step:
        outcome = fit(bench, loop, step, version, bench.home / "work" / step.run_id / "train")
        registered = None
        if outcome["model"]:
            registry = registry_of(bench, loop)
            registered = registry.register(run_id=step.run_id, **outcome["model"])
            registry.set_alias("challenger", registered)
        step.result(outcome)
    show([{**outcome["metrics"], "version": registered.version if registered else None}], "trained")
    return outcome["metrics"].get("validation_f1")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """TRAINING and TRAINED: adapter and threshold in one step, the registered challenger in the next."""
    registered = iteration.finished(REGISTER)
    if registered is not None:
        return registered
    record = iteration.finished(STEP) or _train(bench, loop, iteration)
    iteration.set_state("TRAINED")
    with iteration.step(REGISTER) as step:
        result: dict[str, Any] = {"challenger": None, "reason": record.result["reason"]}
        if record.result["model"]:
            # Looked up by the TRAIN run: a kill between registering and this step's end makes no second version.
            registry = registry_of(bench, loop)
            challenger = registry.register(run_id=record.run_id, **record.result["model"])
            registry.set_alias("challenger", challenger)
            result["challenger"] = challenger.version
        step.result(result)
    return finished(iteration, REGISTER)


def _train(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    dataset = finished(iteration, pull.STEP)
    version = fetch(loop, dataset.result["version"])
    work = bench.home / "work" / iteration.run_id / "train"
    with iteration.step(STEP) as step:
        step.log_dataset(record_of(loop, version.version), "training")
        outcome = fit(bench, loop, step, version, work)
        step.result(outcome)
    shutil.rmtree(work, ignore_errors=True)  # only a checkpoint for a killed run; the adapter is an artifact now
    return finished(iteration, STEP)


def fit(
    bench: Workbench, loop: LoopStore, step: StepRun, version: DatasetVersion, work: Path
) -> dict[str, Any]:
    """Adapter (where the detector takes one and there is enough to learn from), then the threshold.

    ``model`` in the result is what to register, ``None`` where nothing was learned.
    """
    from tsad.tracking.pyfunc_model import load_version

    champion = registry_of(bench, loop).alias("champion")
    current = load_version(registry_of(bench, loop), champion) if champion else None
    detector = bench.make_detector()
    start = current.adapter if current and bench.adapter.start_from == "champion" else None
    trained, adapter, reason, metrics = False, current.adapter if current else None, "", {}
    if not bench.adapter.enabled:
        reason = "adapter.enabled=false"
    elif not isinstance(detector, Trainable):
        reason = f"the detector {detector.name} has no network to adapt"
    else:
        tuner = locate(detector.tuner, "tuner", Tuner)()  # type: ignore[type-abstract]
        call = TuningCall(folder=work, start_adapter=start, context=bench.context)
        with step.system_metrics():
            result = tuner.fit(detector, version, bench.adapter, call, step)
        reason, metrics = result.reason, dict(result.metrics)
        trained = result.adapter is not None and _helps(bench, metrics)
        if trained:
            adapter = result.adapter
        elif result.adapter is not None:
            reason = f"adapter not taken: no lower validation loss ({reason})"
    adapted = detector.with_adapter(adapter)
    before = current.threshold if current else bench.threshold.default
    proposer = fit_proposer(bench, adapted, version)
    threshold = proposer.threshold if proposer else fit_threshold(bench, adapted, version)
    metrics |= {"threshold": threshold, "windows": float(len(version.windows))}
    if proposer:
        metrics |= {"gap": float(proposer.gap), "judged_candidates": float(len(proposer.verdicts))}
    step.metrics(metrics)
    model = None
    if trained or (proposer and proposer.verdicts) or abs(threshold - before) > 1e-6:
        model = log_detector(
            bench, step, detector=adapted, adapter=adapter, threshold=threshold, proposer=proposer, trained_on=version,
            metrics=metrics,
        )
    return {
        "trained": trained, "reason": reason, "metrics": metrics, "threshold": threshold, "model": model,
        "dataset_version": version.version,
    }


def _helps(bench: Workbench, metrics: Mapping[str, float]) -> bool:
    """Whether windows that did not train the adapter speak for it; otherwise reviews correct the calibrator alone.

    Without calibrated proposals the adapter is all that learns, and the gate on the gold set decides.
    """
    if bench.threshold.rule != CALIBRATED:
        return True
    before, after = metrics.get("validation_loss_start"), metrics.get("validation_loss")
    return before is not None and after is not None and after < before


def fit_proposer(bench: Workbench, detector: Detector, version: DatasetVersion) -> Proposer | None:
    """The default proposer corrected by all reviewed windows of the version; ``None`` under the point-wise rules."""
    proposer = first_proposer(bench, detector)
    if proposer is None or not version.windows:
        return proposer
    from tsad.detectors.proposals.proposer import corrected

    return corrected(proposer, judged_series(detector, version.windows))


def fit_threshold(bench: Workbench, detector: Detector, version: DatasetVersion) -> float:
    """The threshold from the reviewed training windows, each weighted by its inverse probability; never gold."""
    from tsad.detectors.thresholds import choose_threshold

    windows = [r.window for r in version.windows]
    scores = score_windows(detector, windows) if windows else []
    weights = np.array([1.0 / r.choice.probability for r in version.windows])
    return choose_threshold(
        bench.threshold, scores=scores, truths=[truth_mask(r) for r in version.windows], weights=weights,
        unlabelled=scores,
    )
