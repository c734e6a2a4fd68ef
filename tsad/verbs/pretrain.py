"""``tsad pretrain``: base weights of ``patch`` from synthetic series alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.series import Series
from tsad.core.types import BoolArray
from tsad.loop.common import open_loop, say, standalone
from tsad.steps.sets import open_sets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN = "mean"
WEIGHTS = ("config.json", "model.safetensors")


def run(
    bench: Workbench, *, output: str, steps: int, batch_size: int, seed: int, learning_rate: float, warmup: int,
    cooldown: int, max_seconds: float, save_every: int, workers: int, device: str, precision: str, compile: bool,
    evidence: bool, network: dict[str, int], validate_on: list[str], validate_points: int,
) -> float | None:  # fmt: skip
    """Pre-train on the generator's windows and write ``config.json`` and ``model.safetensors``.

    Args:
        output: folder for the weights; use them by ``detector.weights=FOLDER``.
        evidence: false = a network that sees the values alone.
        network: sizes, as in ``PatchConfig``.
        validate_on: folders of labelled sets, scored by the network alone at every save and never trained on.
        validate_points: how many points of each of their series count; 0 = all.

    Returns:
        The mean VUS-PR over the labelled sets, else ``validation_auc_pr``, for sweepers.

    Raises:
        ConfigError: impossible options or sizes, or a checkpoint of another recipe in ``output``.
        SourceError: a set that cannot be read.
    """
    from tsad.detectors.patch.pretrain import PretrainOptions, pretrain

    options = PretrainOptions.of(
        seed=seed, steps=steps, batch_size=batch_size, learning_rate=learning_rate, warmup=warmup, cooldown=cooldown,
        max_seconds=max_seconds, save_every=save_every, workers=workers, device=device, precision=precision,
        compile=compile, network={**network, "evidence": evidence},
    )  # fmt: skip
    folder = Path(output).expanduser()
    seen = Validation(_labelled(bench, validate_on, validate_points), device, network["length"] * 7 // 8)
    with standalone(open_loop(bench), "PRETRAIN") as step, step.system_metrics():
        step.params({"validate_on": validate_on, "validate_points": validate_points})
        metrics = pretrain(options, folder, context=bench.context, check=seen, recorder=step)
        step.result(dict(metrics))
        for name in WEIGHTS:
            step.file(folder / name, "weights")
        step.figure(seen.figure(), "validation.png")
    say(f"wrote weights to {folder}; use them by detector.weights={folder}")
    return metrics.get(f"{MEAN}/vus_pr", metrics.get("validation_auc_pr"))


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
