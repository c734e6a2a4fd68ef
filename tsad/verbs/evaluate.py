"""``tsad evaluate``: model versions side by side on the gold set."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.evaluate import Evaluation, evaluate_versions, table
from tsad.verbs.console import Console


class EvaluateKeys(Options):
    """Own keys of ``tsad evaluate``."""

    versions: list[str]
    output: str | None


keys_model = EvaluateKeys


def run(bench: Workbench, keys: EvaluateKeys, console: Console) -> Evaluation:
    """Score registered versions on the loop's gold set and show them side by side.

    Raises:
        DatasetError: the loop has no gold set yet.
        RegistryError: a number that is no version.
    """
    return console.answer(evaluate_versions(bench, keys.versions, keys.output), _present)


def _present(evaluation: Evaluation, console: Console) -> None:
    title = f"gold {evaluation.gold_version}: {evaluation.windows} windows"
    console.table(table(evaluation.scores, evaluation.versions), title)
