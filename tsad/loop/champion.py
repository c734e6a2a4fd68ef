"""The champion of a loop: found, or registered for the first time as the unadapted base."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.reviews import DatasetVersion
from tsad.core.series import Series

if TYPE_CHECKING:
    from pathlib import Path

    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.tracking.registry import Registry, Version
    from tsad.tracking.runs import LoopStore, StepRun

BASE_ROLE, ADAPTED_ROLE = "base", "adapted"
CALIBRATED = "calibrated"  # the threshold rule that proposes calibrated candidates


def registry_of(bench: Workbench, loop: LoopStore) -> Registry:
    """The loop's registered model."""
    return loop.registry(bench.make_detector().name)


def ensure_champion(bench: Workbench, loop: LoopStore, step: StepRun, pool: Sequence[Series]) -> Version:
    """The champion; where the loop has none yet, the unadapted base becomes version 1 and champion.

    A base that a killed attempt registered without an alias is found by its tag and taken.
    """
    registry = registry_of(bench, loop)
    champion = registry.alias("champion")
    if champion is not None:
        return champion
    for version in registry.versions():
        if version.tags.get("tsad.role") == BASE_ROLE:
            registry.promote(version)
            return version
    detector = bench.make_detector()
    proposer = first_proposer(bench, detector)
    threshold = proposer.threshold if proposer else _first_threshold(bench, detector, pool)
    model = log_detector(
        bench, step, detector=detector, adapter=None, threshold=threshold, proposer=proposer, trained_on=None
    )
    version = registry.register(run_id=step.run_id, model_uri=model["model_uri"], tags=model["tags"])
    registry.promote(version)
    return version


def log_detector(
    bench: Workbench,
    step: StepRun,
    *,
    detector: Detector,
    adapter: Path | None,
    threshold: float,
    proposer: Proposer | None,
    trained_on: DatasetVersion | None,
    metrics: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """Log a detector as a pyfunc model under the step's run: ``model_uri`` and the ``tags`` of its version.

    The base is referenced by id, path and hash, never copied; only the adapter travels.
    """
    from tsad.tracking.pyfunc_model import log_model

    base = detector.base_reference()
    origin = {
        "detector": detector.name,
        "dataset_version": trained_on.version if trained_on else None,
        "config_hash": detector.config_hash,
    }
    uri = log_model(
        step, folder=bench.home / "work" / step.run_id / "model", detector_description=dict(detector.describe()),
        adapter=adapter, threshold=threshold, threshold_options=asdict(bench.threshold), base=base, origin=origin,
        proposer=_described(proposer),
    )
    tags = {
        "tsad.role": ADAPTED_ROLE if trained_on else BASE_ROLE,
        "tsad.base_id": str(base.get("id", "")),
        "tsad.base_sha256": str(base.get("sha256", "")),
        "tsad.dataset_version": trained_on.version if trained_on else "",
        "tsad.threshold": f"{threshold:.6f}",
        "tsad.config": json.dumps(detector.describe(), sort_keys=True, default=str),
        **{f"tsad.metric.{key}": f"{value:.6f}" for key, value in metrics.items()},
    }
    return {"model_uri": uri, "tags": tags}


def first_proposer(bench: Workbench, detector: Detector) -> Proposer | None:
    """What makes proposals before any review under ``threshold=calibrated``; ``None`` under the other rules."""
    if bench.threshold.rule != CALIBRATED:
        return None
    from tsad.detectors.proposals.proposer import default_proposer

    proposer = default_proposer(detector.name)
    return replace(proposer, threshold=bench.threshold.default) if bench.threshold.default else proposer


def _described(proposer: Proposer | None) -> dict[str, Any] | None:
    from tsad.detectors.proposals.proposer import from_state, to_state

    if proposer is None:
        return None
    return {"_target_": f"{from_state.__module__}.{from_state.__qualname__}", "state": to_state(proposer)}


def _first_threshold(bench: Workbench, detector: Detector, pool: Sequence[Series]) -> float:
    """The threshold before any review: from the options alone, or from unlabelled scores."""
    from tsad.detectors.thresholds import choose_threshold

    unlabelled = detector.confidence(list(pool)) if bench.threshold.rule == "quantile" else []
    return choose_threshold(bench.threshold, scores=[], truths=[], weights=np.empty(0), unlabelled=unlabelled)
