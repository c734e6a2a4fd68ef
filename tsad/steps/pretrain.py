"""``tsad pretrain``: base weights of ``patch`` from synthetic series alone."""

from __future__ import annotations

from pathlib import Path

from tsad.steps.common import open_loop, say, standalone
from tsad.steps.workbench import Workbench


def run(bench: Workbench, *, output: str, steps: int, batch_size: int, seed: int) -> float | None:
    """Pre-train on the generator's windows and write ``config.json`` and ``model.safetensors``.

    Args:
        output: folder for the weights; use them by ``detector.weights=FOLDER``.

    Returns:
        The validation figure of the last evaluation, for sweepers.
    """
    from tsad.detectors.patch.pretrain import pretrain

    loop = open_loop(bench)
    with standalone(loop, "PRETRAIN") as step, step.system_metrics():
        metrics = pretrain(seed=seed, steps=steps, batch_size=batch_size, folder=Path(output), recorder=step)
        step.result(dict(metrics))
    say(f"wrote weights to {output}; use them by detector.weights={output}")
    return metrics.get("validation_auc_pr")
