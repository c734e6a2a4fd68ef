"""What MLflow shows of a model and its versions: where a version comes from, how it did, how it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import TsadError
from tsad.core.reviews import DatasetVersion
from tsad.loop.figures import FIGURES, figures_table
from tsad.loop.results import IMPORTED_ROLE, Scored
from tsad.metrics.gate import Decision
from tsad.tracking.logged_models import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tsad.tracking.registry import Registry, Version
    from tsad.tracking.runs import LoopStore


def note_version(
    loop: LoopStore, registry: Registry, version: Version, judged: tuple[Scored, Decision] | None = None
) -> None:
    """Describe a version in Markdown; once it is judged with its scores beside the champion's, and what the gate said.

    Args:
        judged: what the gate saw and decided; ``None`` = nothing yet.
    """
    parts = [_learned(loop, version)]
    if judged is not None:
        scored, decision = judged
        parts += ["\n".join(figures_table(scored.scores, scored.versions)), f"The gate: {decision.verdict()}"]
    parts.append(f'Load it: `mlflow.pyfunc.load_model("models:/{registry.name}/{version.version}")`')
    registry.describe("\n\n".join(parts), version)


def _learned(loop: LoopStore, version: Version) -> str:
    digest = version.tags.get("tsad.dataset_version", "")
    if version.tags.get("tsad.role") == IMPORTED_ROLE:
        return "An adapter that was trained elsewhere and imported: which data it has seen is not known here."
    if not digest:
        return "The detector as it ships: nothing was learned from people yet."
    record = loop.find_dataset(digest)
    count = f"{record.windows} reviewed windows, " if record is not None else ""
    return f"Learned from {count}dataset version `{digest}`."


def note_model(bench: Workbench, loop: LoopStore, registry: Registry, gold: str) -> None:
    """Describe the registered model: its loop, where people review, and the gold set its versions are scored on."""
    registry.describe("\n\n".join(_whereabouts(bench, loop, gold)))


def _whereabouts(bench: Workbench, loop: LoopStore, gold: str) -> Iterator[str]:
    yield f"Detector versions of the loop [{loop.name}](#/experiments/{loop.experiment_id}/runs)."
    if bench.reviewer.people:
        with suppress(TsadError):  # a reviewer that is not there now is no reason to fail
            yield f"People review in [Label Studio]({bench.make_reviewer().project_url})."
    record = loop.find_dataset(gold)
    if record is not None:
        run = f"#/experiments/{loop.experiment_id}/runs/{record.run_id}"
        yield f"Scored on the [gold set `{gold}`]({run}) of {record.windows} windows."


def measure_version(
    loop: LoopStore, version: Version, metrics: Mapping[str, float], gold: DatasetVersion, at: int
) -> None:
    """Tie a version's headline figures to the gold set where it is a LoggedModel; see ``logged_models.measure``."""
    if version.model_id:
        figures = {f"gold/{key}": metrics[key] for key in FIGURES if key in metrics}
        measure(loop.store, version.model_id, figures, (f"{loop.name}-gold", gold.digest), at)
