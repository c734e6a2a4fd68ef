"""``tsad promote``: a version becomes the champion where the gate says so, or by force."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.verdict import GateVerdict, promote_version
from tsad.verbs.console import Console


class PromoteKeys(Options):
    """Own keys of ``tsad promote``."""

    version: str
    force: bool


keys_model = PromoteKeys


def run(bench: Workbench, keys: PromoteKeys, console: Console) -> GateVerdict:
    """Put a version through the gate against the champion and promote it if it passes.

    Raises:
        RegistryError: no such version.
        DatasetError: no gold set to judge on.
    """
    return console.answer(promote_version(bench, keys.version, keys.force), _present)


def _present(judged: GateVerdict, console: Console) -> None:
    console.say(f"version {judged.version}: {judged.verdict()}")
    if judged.evidence is not None:
        console.say(f"what is missing: {judged.evidence}")
