"""``tsad export``: reviewed data as a CSV of intervals, as Label Studio JSON, or as rows for other trainers."""

from __future__ import annotations

from typing import Literal

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.steps.export import Exported, export_dataset
from tsad.verbs.console import Console


class ExportKeys(Options):
    """Own keys of ``tsad export``."""

    format: Literal["csv", "label_studio", "chatts", "llamafactory", "qwen_vl", "swift"]
    output: str
    dataset: str


keys_model = ExportKeys


def run(bench: Workbench, keys: ExportKeys, console: Console) -> Exported:
    """Write a dataset version to a file.

    Raises:
        DatasetError: no such dataset version.
    """
    return console.answer(export_dataset(bench, keys.output, keys.format, keys.dataset), _present)


def _present(export: Exported, console: Console) -> None:
    unit = {"csv": "intervals", "label_studio": "tasks"}.get(export.format, "rows")
    console.say(f"wrote {export.rows} {unit} of dataset version {export.dataset} to {export.path}")
    if export.beside:
        console.say(f"{export.files} files; beside it: {', '.join(export.beside)}")
