"""``tsad pretrain``: base weights of ``patch`` from synthetic series alone."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.steps.pretraining import Pretrained, PretrainKeys, pretrain_weights
from tsad.verbs.console import Console
from tsad.verbs.resuming import same_command_goes_on

keys_model = PretrainKeys


def run(bench: Workbench, keys: PretrainKeys, console: Console) -> Pretrained:
    """Pre-train on the generator's windows.

    Raises:
        ConfigError: impossible options or sizes, or a checkpoint of another recipe in ``output``.
        SourceError: a set that cannot be read.
    """
    with same_command_goes_on():
        pretrained = pretrain_weights(bench, keys)
    return console.answer(pretrained, _present)


def _present(pretrained: Pretrained, console: Console) -> None:
    console.say(f"wrote weights to {pretrained.folder}; use them by detector.weights={pretrained.folder}")
