"""``tsad evaluate``: model versions side by side on the gold set."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.evaluate import Evaluation, evaluate_versions, table
from tsad.loop.report import FIGURES
from tsad.verbs.console import Console


class EvaluateKeys(Options):
    """Own keys of ``tsad evaluate``."""

    versions: list[str]
    output: str | None


keys_model = EvaluateKeys
TITLES = FIGURES | {
    "": "of", "rotated_interval_f1": "interval by chance", "rotated_composite_f1": "composite by chance",
    "auc_pr": "AUC-PR", "vus_pr": "VUS-PR",
}  # fmt: skip
SPARE = ("point R", "point P", "interval R", "interval P", "AUC-PR", "composite by chance", "interval by chance")


def run(bench: Workbench, keys: EvaluateKeys, console: Console) -> Evaluation:
    """Score registered versions on the loop's gold set and show them side by side.

    Raises:
        DatasetError: the loop has no gold set yet.
        RegistryError: a number that is no version.
    """
    return console.answer(evaluate_versions(bench, keys.versions, keys.output), _present)


def _present(evaluation: Evaluation, console: Console) -> None:
    title = f"gold {evaluation.gold_version}: {evaluation.windows} windows"
    rows = [
        {TITLES.get(key, key): value for key, value in row.items()}
        for row in table(evaluation.scores, evaluation.versions)
    ]
    console.table(rows, title, SPARE)
