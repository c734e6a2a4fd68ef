"""All loops of a store at once: a number of calls that does not grow with their iterations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tsad.tracking.pages import every_page
from tsad.tracking.registry import CHAMPION, Version
from tsad.tracking.runs import Iteration, LoopStore
from tsad.tracking.states import tag_is
from tsad.tracking.store import LOOP, Store

_PAGE = 1000


@dataclass(frozen=True)
class LoopOverview:
    """A loop, its iterations, oldest first, and the champion that was registered last, of whatever detector."""

    loop: LoopStore
    iterations: list[Iteration]
    champion: Version | None


def overview(store: Store, lease: float) -> list[LoopOverview]:
    """Every loop of the store, oldest first.

    Calls: one each for the experiments, the iterations of all loops (a thousand to the page) and the models, and one
    per champion.
    """
    experiments = {str(one.experiment_id): str(one.tags[LOOP]) for one in store.experiments()}
    runs: dict[str, list[Any]] = {experiment: [] for experiment in experiments}
    for run in _iterations(store, list(experiments)):
        runs[str(run.info.experiment_id)].append(run)
    champions = _champions(store, list(experiments.values()))
    loops = [(LoopStore(store, name, lease), runs[experiment]) for experiment, name in experiments.items()]
    return [LoopOverview(loop, loop.iterations(of), champions.get(loop.name)) for loop, of in loops]


def _iterations(store: Store, experiments: list[str]) -> Iterator[Any]:
    if experiments:
        yield from every_page(
            store.client.search_runs, experiment_ids=experiments, filter_string=tag_is("tsad.kind", "iteration"),
            order_by=["attributes.start_time ASC"], max_results=_PAGE,
        )  # fmt: skip


def _champions(store: Store, loops: list[str]) -> dict[str, Version]:
    """By loop; a model belongs to the loop whose name is the longest that its own begins with."""
    found: dict[str, Version] = {}
    for model in every_page(store.client.search_registered_models, filter_string="name LIKE 'tsad-%'"):
        owners = [loop for loop in loops if model.name.startswith(f"tsad-{loop}-")]
        if not owners or CHAMPION not in model.aliases:
            continue
        version = store.client.get_model_version(model.name, str(model.aliases[CHAMPION]))
        champion = Version(
            model.name, int(version.version), version.run_id, version.source, dict(version.tags), (CHAMPION,),
            version.creation_timestamp,
        )  # fmt: skip
        owner = max(owners, key=len)
        if owner not in found or found[owner].created <= champion.created:
            found[owner] = champion
    return found
