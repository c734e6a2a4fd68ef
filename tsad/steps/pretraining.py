"""Base weights of ``patch`` and of the tiny language models from synthetic series alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.types import BoolArray
from tsad.detectors.llm.detector import LanguageDetector
from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
from tsad.detectors.patch.pretrain_options import PretrainOptions
from tsad.loop.opening import open_loop, standalone
from tsad.loop.overheard import overheard
from tsad.steps.sets import open_sets
from tsad.tracking.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean"
WEIGHTS = ("config.json", "model.safetensors")


class PretrainKeys(PretrainOptions):
    """Own keys of ``tsad pretrain``; see ``conf/task/pretrain.yaml``."""

    output: str
    validate_on: list[str]
    validate_points: int = Field(ge=0)
    language: LanguagePretrainOptions


@dataclass(frozen=True, eq=False)
class Pretrained(Result):
    """Weights in ``folder``, to be used by ``detector.weights=FOLDER``, and their last validation figures."""

    folder: str
    metrics: Mapping[str, float]

    @property
    def optimised(self) -> float | None:
        """The mean VUS-PR over the labelled sets, else ``validation_auc_pr``; of a language model F1 at IoU 0.5."""
        named = (f"{MEAN}/vus_pr", "validation_auc_pr", "f1_iou50")
        return next((self.metrics[name] for name in named if name in self.metrics), None)


def pretrain_weights(bench: Workbench, keys: PretrainKeys) -> Pretrained:
    """Pre-train on the generator's windows and write ``config.json`` and ``model.safetensors``.

    ``detector`` chooses what is made: patch, or a tiny language model with its tokenizer.

    Raises:
        ConfigError: impossible options or sizes, a detector without a base of ours, or a checkpoint of another recipe
            in ``output``.
        SourceError: a set that cannot be read.
    """
    require_tensorboard(bench.tracking)
    kind = bench.detector_kind
    if issubclass(kind, LanguageDetector):
        return _language(bench, keys, kind)
    if kind.name != "patch":
        raise ConfigError(
            f"detector={kind.name} has no base that tsad could make", "Use detector=patch, chatts_tiny or qwen_vl_tiny."
        )
    from tsad.detectors.patch.pretrain import pretrain

    folder = Path(keys.output).expanduser()
    labelled = _labelled(bench, keys.validate_on, keys.validate_points)
    seen = Validation(labelled, keys.device, keys.network.length * 7 // 8)
    with standalone(open_loop(bench), "PRETRAIN") as (_, step), overheard(bench, step) as recorder:
        step.params({"validate_on": keys.validate_on, "validate_points": keys.validate_points})
        metrics = pretrain(keys, folder, context=bench.context, check=seen, recorder=recorder)
        step.result(dict(metrics))
        for name in WEIGHTS:
            step.file(folder / name, "weights")
        step.figure(seen.figure(), "validation.png")
    return Pretrained(str(folder), metrics)


def _language(bench: Workbench, keys: PretrainKeys, kind: type[LanguageDetector]) -> Pretrained:
    """A tiny language model: made untrained in the folder, then taught there."""
    from tsad.detectors.llm.pretrain import pretrain, teaching_of, untrained

    if keys.validate_on:
        raise ConfigError("validate_on is for detector=patch", "Take python -m benchmarks.tiny for language models.")
    if keys.start:
        raise ConfigError("start is for detector=patch", "A tiny language model is made anew from its seed.")
    folder = Path(keys.output).expanduser()
    untrained(kind, keys.language, folder, keys.seed)
    given = {key: value for key, value in bench.detector_config.items() if key != "_target_"}
    detector = kind(**{**given, "weights": str(folder)})
    with standalone(open_loop(bench), "PRETRAIN") as (_, step), overheard(bench, step) as recorder:
        metrics = pretrain(detector, teaching_of(keys), folder, context=bench.context, recorder=recorder)
        step.result(dict(metrics))
        for name in WEIGHTS:
            step.file(folder / name, "weights")
    return Pretrained(str(folder), metrics)


def _labelled(bench: Workbench, folders: Sequence[str], points: int) -> dict[str, list[tuple[Series, BoolArray]]]:
    """The sets' series with their labels, read before anything is trained: a set in error costs no training time."""
    return {one.name: list(one.read()) for one in open_sets(bench, folders, points)} if folders else {}


class Validation:
    """Figures of saved weights on labelled sets, and the curves of all figures; nothing is fitted to them.

    Args:
        sets: series and labels by point [T], by the name of their set.
        device: where the network scores them.
        stride: points between its windows.
    """

    def __init__(self, sets: Mapping[str, list[tuple[Series, BoolArray]]], device: str, stride: int) -> None:
        self._sets, self._device, self._stride = sets, device, max(1, stride)
        self.history: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, folder: Path, figures: Mapping[str, float]) -> dict[str, float]:
        """``<set>/vus_pr`` and ``<set>/auc_pr`` of the weights there, means over series; ``mean/...`` over sets."""
        found = self._figures(folder) if self._sets else {}
        for name, value in {**figures, **found}.items():
            if name not in ("steps", "seconds"):
                self.history.setdefault(name, []).append((figures["steps"], value))
        return found

    def figure(self) -> Figure:
        """All figures over the steps."""
        from tsad.plots import metric_history_figure

        return metric_history_figure(self.history, "pre-training")

    def _figures(self, folder: Path) -> dict[str, float]:
        from tsad.detectors.patch.detector import PatchDetector
        from tsad.metrics.ranking import auc_pr, vus_pr

        detector = PatchDetector(
            weights=str(folder), batch_size=32, device=self._device, stride=self._stride, blend=0.0
        )
        rows = []
        for pairs in self._sets.values():
            each = []
            for series, truth in pairs:
                (scores,) = detector.score([series])
                each.append((vus_pr(truth, scores, step=5), auc_pr(truth, scores)))
            rows.append(np.mean(each, axis=0))
        named = [*zip(self._sets, rows, strict=True), (MEAN, np.mean(rows, axis=0))]
        return {f"{name}/{key}": float(row[k]) for name, row in named for k, key in enumerate(("vus_pr", "auc_pr"))}
