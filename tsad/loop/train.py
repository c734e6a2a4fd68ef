"""TRAIN and REGISTER: a dataset version -> LoRA adapter and threshold -> challenger; the same outside an iteration."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.tuning import adapter_for, tuner_of
from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError
from tsad.core.memory import NormalMemory, remembered
from tsad.core.protocols import Trainable
from tsad.core.recording import NoRecord
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion
from tsad.core.tuning import TuningCall
from tsad.loop.champion import Candidate, load_registered, log_candidate, registry_of, remembering
from tsad.loop.datasets import dataset_record, fetch, latest_training
from tsad.loop.explain import LearningGap, learning_gap
from tsad.loop.model_notes import note_version
from tsad.loop.opening import once, open_loop
from tsad.loop.overheard import overheard
from tsad.loop.pull import DATASET
from tsad.loop.results import Registered, Trained
from tsad.loop.runner import Stage, Turn, record_of, result_of
from tsad.loop.scoring import judged_series, score_windows, truth_mask
from tsad.tracking.tensorboard import require_tensorboard
from tsad.training.processes import rank_of_launch

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore, StepRun


@dataclass(frozen=True, eq=False)
class Challenger(Result):
    """What training outside an iteration made; ``version`` is ``None`` where nothing was learned.

    Attributes:
        learning: what the dataset version lacked for an adapter; ``None`` where it made one or none was asked for.
        helper: number of this process where it only helped the first of several to train; 0 = it is the first.
    """

    model: str
    version: int | None
    training: Trained
    learning: LearningGap | None = None
    helper: int = 0

    @property
    def optimised(self) -> float | None:
        """The validation F1."""
        return self.training.metrics.get("validation_f1")


def train_challenger(bench: Workbench, dataset: str) -> Challenger:
    """Train on a dataset version outside any iteration and register the result as a new version.

    Args:
        dataset: hash of a dataset version; ``latest`` = the newest of the loop.

    Raises:
        DatasetError: the loop has no dataset version yet.
        TrainingError: an option of ``adapter`` that the detector's tuner cannot honour.
    """
    adapter_for(bench.adapter, bench.make_detector())
    require_tensorboard(bench.tracking)
    loop = open_loop(bench)
    version = latest_training(loop) if dataset == "latest" else fetch(loop, dataset)
    if version is None:
        raise DatasetError(f"loop {loop.name} has no dataset version", "Run tsad iterate first: people review windows.")
    if rank := rank_of_launch():
        return _helped(bench, loop, version, rank)
    with loop.lock() as held:

        def work(step: StepRun) -> Trained:
            return fit(bench, held, step, version, bench.home / "work" / step.run_id / "train")

        run_id, outcome = once(held, TRAIN.name, Trained, work)
        # Looked up by the run: a kill in between, or a job that is begun again, makes no second version.
        number = _register(bench, held, run_id, outcome)
    positive = sum(bool(r.intervals) for r in version.windows)
    learning = learning_gap(bench, len(version.windows), positive, outcome)
    return Challenger(registry_of(bench, loop).name, number, outcome, learning)


def _helped(bench: Workbench, loop: LoopStore, version: DatasetVersion, rank: int) -> Challenger:
    """The adapter's training alone, beside the first process of ``accelerate launch``; nothing is recorded."""
    detector, current = _ready(bench, loop, version)
    with tempfile.TemporaryDirectory() as scratch:
        adapter = _fit_adapter(bench, detector, NoRecord(), version, Path(scratch), current)
    outcome = Trained(False, f"process {rank} helped: {adapter.reason}", adapter.metrics, 0.0, None, version.digest)
    return Challenger(registry_of(bench, loop).name, None, outcome, helper=rank)


def _ready(bench: Workbench, loop: LoopStore, version: DatasetVersion) -> tuple[Detector, LoadedVersion | None]:
    """The detector with what the version tells of the normal, and the champion."""
    champion = registry_of(bench, loop).alias("champion")
    current = load_registered(bench, registry_of(bench, loop), champion) if champion else None
    detector = remembering(bench, bench.make_detector())
    return detector.with_memory(_memory(bench, detector, version)), current


def _train(turn: Turn, step: StepRun, version: DatasetVersion) -> Trained:
    step.log_dataset(dataset_record(turn.loop, version.digest), "training")
    return fit(turn.bench, turn.loop, step, version, _work_folder(turn))


def _reviewed(turn: Turn) -> DatasetVersion:
    return fetch(turn.loop, result_of(turn.iteration, DATASET).version)


def _challenger(turn: Turn, step: StepRun, _: Turn) -> Registered:
    shutil.rmtree(_work_folder(turn), ignore_errors=True)  # only checkpoints: the adapter is an artifact now
    outcome = result_of(turn.iteration, TRAIN)
    # Looked up by the TRAIN run: a kill between registering and this stage's end makes no second version.
    return Registered(
        _register(turn.bench, turn.loop, record_of(turn.iteration, TRAIN).run_id, outcome), outcome.reason
    )


def _work_folder(turn: Turn) -> Path:
    return turn.bench.home / "work" / turn.iteration.run_id / "train"


TRAIN = Stage("TRAIN", Trained, _train, _reviewed)
REGISTER = Stage("REGISTER", Registered, _challenger)


def _register(bench: Workbench, loop: LoopStore, run_id: str, outcome: Trained) -> int | None:
    """The version under the alias ``challenger``, registered once per run; ``None`` where nothing was learned."""
    if outcome.model is None:
        return None
    registry = registry_of(bench, loop)
    challenger = registry.register(run_id=run_id, model_uri=outcome.model.model_uri, tags=outcome.model.tags)
    registry.set_alias("challenger", challenger)
    note_version(loop, registry, challenger)
    return challenger.version


@dataclass(frozen=True, eq=False)
class _Adapter:
    """What training left of the adapter: the new one, the one before, or none."""

    folder: Path | None
    trained: bool
    reason: str
    metrics: Mapping[str, float]


def fit(bench: Workbench, loop: LoopStore, step: StepRun, version: DatasetVersion, work: Path) -> Trained:
    """Memory and adapter (where the detector takes them and there is enough to learn from), then the threshold."""
    detector, current = _ready(bench, loop, version)
    step.params({**bench.parameters("detector", "adapter", "threshold"), "dataset_version": version.digest})
    adapter = _fit_adapter(bench, detector, step, version, work, current)
    adapted = detector.with_adapter(adapter.folder)
    before = current.threshold if current else bench.threshold.default
    proposer = fit_proposer(bench, adapted, version)
    threshold = proposer.threshold if proposer else fit_threshold(bench, adapted, version)
    metrics = {**adapter.metrics, "threshold": threshold, "windows": float(len(version.windows))}
    if proposer:
        metrics |= {"gap": float(proposer.gap), "judged_candidates": float(len(proposer.verdicts))}
    if detector.memory:
        metrics["remembered_points"] = float(detector.memory.points)
    step.metrics(metrics)
    model = None
    if adapter.trained or (proposer and proposer.verdicts) or abs(threshold - before) > 1e-6:
        candidate = Candidate(
            detector=adapted, threshold=threshold, adapter=adapter.folder, proposer=proposer, trained_on=version,
            channels=list(dict.fromkeys(name for r in version.windows for name in r.window.series.channels)),
        )
        model = log_candidate(bench, step, candidate)
    return Trained(adapter.trained, adapter.reason, metrics, threshold, model, version.digest)


def _memory(bench: Workbench, detector: Detector, version: DatasetVersion) -> NormalMemory | None:
    """What the reviewed windows tell of the normal, where the detector's scores or its proposer read it."""
    proposer = bench.threshold_rule.first_proposer(detector.rated_as)
    if not detector.remembers and not (proposer and proposer.remembers):
        return None
    return remembered(version, bench.windows.remembered)


def _fit_adapter(
    bench: Workbench, detector: Detector, step: StepRun | NoRecord, version: DatasetVersion, work: Path,
    current: LoadedVersion | None,
) -> _Adapter:  # fmt: skip
    """The adapter of the reviewed windows where it helps; else that of the champion, and why."""
    kept = current.adapter if current else None
    if not bench.adapter.enabled:
        return _Adapter(kept, False, "adapter.enabled=false", {})
    if not isinstance(detector, Trainable):
        return _Adapter(kept, False, f"the detector {detector.name} has no network to adapt", {})
    options = adapter_for(bench.adapter, detector)
    start = kept if options.start_from == "champion" else None
    call = TuningCall(folder=work, start_adapter=start, context=bench.context)
    with overheard(bench, step) as recorder:
        outcome = tuner_of(detector).fit(detector, version, options, call, recorder)
    metrics = dict(outcome.metrics)
    if outcome.adapter is None:
        return _Adapter(kept, False, outcome.reason, metrics)
    if not _helps(bench, metrics):
        return _Adapter(kept, False, f"adapter not taken: no lower validation loss ({outcome.reason})", metrics)
    return _Adapter(outcome.adapter, True, outcome.reason, metrics)


def _helps(bench: Workbench, metrics: Mapping[str, float]) -> bool:
    """Whether windows that did not train the adapter speak for it; otherwise reviews correct the calibrator alone.

    Without calibrated proposals the adapter is all that learns, and the gate on the gold set decides.
    """
    if not bench.threshold_rule.proposes:
        return True
    before, after = metrics.get("validation_loss_start"), metrics.get("validation_loss")
    return before is not None and after is not None and after < before


def fit_proposer(bench: Workbench, detector: Detector, version: DatasetVersion) -> Proposer | None:
    """The default proposer corrected by all reviewed windows of the version; ``None`` under the point-wise rules."""
    proposer = bench.threshold_rule.first_proposer(detector.rated_as)
    if proposer is None or not version.windows:
        return proposer
    from tsad.detectors.proposals.proposer import corrected

    return corrected(proposer, judged_series(detector, version.windows, bench.context))


def fit_threshold(bench: Workbench, detector: Detector, version: DatasetVersion) -> float:
    """The threshold from the reviewed training windows, each weighted by its inverse probability; never gold."""
    from tsad.detectors.rules.base import KnownScores

    windows = [r.window for r in version.windows]
    scores = score_windows(detector, windows) if windows else []
    weights = np.array([1.0 / r.choice.probability for r in version.windows])
    truths = [truth_mask(r) for r in version.windows]
    return bench.threshold_rule.choose(KnownScores(scores=scores, truths=truths, weights=weights, unlabelled=scores))
