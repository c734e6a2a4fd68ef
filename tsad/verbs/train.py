"""``tsad train``: a dataset version -> LoRA adapter and threshold -> challenger."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.train import Challenger, train_challenger
from tsad.verbs.console import Console


class TrainKeys(Options):
    """Own keys of ``tsad train``."""

    dataset: str


keys_model = TrainKeys


def run(bench: Workbench, keys: TrainKeys, console: Console) -> Challenger:
    """Train on a dataset version outside any iteration and register what it gives as a new version.

    Raises:
        DatasetError: the loop has no dataset version yet.
    """
    return console.answer(train_challenger(bench, keys.dataset), _present)


def _present(challenger: Challenger, console: Console) -> None:
    trained = challenger.training
    console.table([{"metric": key, "value": value} for key, value in trained.metrics.items()], "trained")
    if challenger.version is None:
        console.say(f"no new version of {challenger.model}: {trained.reason}")
    else:
        console.say(f"registered {challenger.model}:{challenger.version}")
    if challenger.learning is not None:
        console.say(f"what is missing: {challenger.learning}")
