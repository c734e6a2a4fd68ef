"""A loop as MLflow's UI is to show it: its learning curve drawn, its view shared, its address known."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ClaimError
from tsad.loop.story import draw_history
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import LOOP
from tsad.tracking.views import Chart, LoopView, share_view, view_of

if TYPE_CHECKING:
    from tsad.tracking.store import Store

CHARTS = (
    Chart("LINE", ("gold/interval_f1", "gold/composite_f1", "gold/point_f1")),
    Chart("LINE", ("gold/interval_precision", "gold/interval_recall", "gold/interval_f1")),
    Chart("LINE", ("gold/point_precision", "gold/point_recall", "gold/point_f1")),
    Chart("BAR", ("reviewed_windows",)),
)  # fmt: skip
COLUMNS = (
    "attributes.`Description`", "metrics.`gold/interval_f1`", "metrics.`gold/composite_f1`",
    "metrics.`gold/point_f1`", "metrics.`reviewed_windows`", "tags.`tsad.champion`", "tags.`tsad.promoted`",
    "tags.`tsad.reason`", "tags.`tsad.state`",
)  # fmt: skip


def shown(store: Store, bench: Workbench) -> LoopView:
    """Where the UI is to open; all loops of the store get their view, and their curve where nobody works on them."""
    experiments = list(store.experiments())
    for experiment in experiments:
        share_view(store, experiment, CHARTS, COLUMNS)
        loop = LoopStore(store, experiment.tags[LOOP], bench.loop.lease)
        with suppress(ClaimError), loop.lock(timeout=0) as held:  # else it draws its curve itself
            draw_history(held)
    return view_of(experiments, bench.loop.name)
