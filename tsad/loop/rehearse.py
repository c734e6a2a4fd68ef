"""What training would take: the memory plan and how long it is, before any weight is loaded; nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsad.adapters.memory import gpu_at_hand
from tsad.config.tuning import check_tunable
from tsad.config.workbench import Workbench
from tsad.core.errors import MissingPackageError, TsadError
from tsad.core.options import AdapterOptions
from tsad.core.results import Result
from tsad.core.tuning import MemoryPlan
from tsad.loop.datasets import fetch

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore


@dataclass(frozen=True, eq=False)
class Counted(Result):
    """What a dataset version gives to train on.

    Attributes:
        version: its hash; ``None`` where there is none, and ``reason`` says why.
        windows, positive: reviewed, and with an anomaly.
        epochs: how often each would be seen in all steps.
    """

    version: str | None
    reason: str = ""
    windows: int = 0
    positive: int = 0
    epochs: float = 0.0


@dataclass(frozen=True, eq=False)
class Rehearsal(Result):
    """What training would take.

    Attributes:
        detector: its class.
        plan: of memory; ``None`` where there is little to plan, and ``needs`` says what it takes.
        gpu: name of the GPU at hand; ``None`` = there is none, and the figures are computed for one that is not here.
        gpu_gib: its memory in GiB.
        fits: whether the plan fits it.
    """

    detector: str
    needs: str
    counted: Counted
    plan: MemoryPlan | None = None
    gpu: str | None = None
    gpu_gib: float | None = None
    fits: bool | None = None


def rehearse(bench: Workbench, dataset: str) -> Rehearsal:
    """Plan the training of a dataset version; asks no network and no server, loads no weights, writes nothing.

    Args:
        dataset: hash of a dataset version; ``latest`` = the newest of the loop.

    Raises:
        TrainingError: an option of ``adapter`` that the detector's tuner cannot honour.
    """
    kind = bench.detector_kind
    counted = _counted(bench, dataset)
    if not bench.adapter.enabled:
        return Rehearsal(kind.__name__, "adapter.enabled=false: no network is trained", counted)
    if not kind.trainable:
        return Rehearsal(kind.__name__, f"detector {kind.name} has no network to adapt", counted)
    options = bench.adapter.for_detector(kind.adapter_defaults)
    missing = _missing(bench, options)
    given = {key: value for key, value in bench.detector_config.items() if key != "_target_"}
    plan = kind.plan(given, options)
    if plan is None:
        needs = kind.needs()
        words = f"{kind.name} trains in about {needs.memory_gb:g} GB of memory; no GPU is needed"
        return Rehearsal(kind.__name__, words if needs.device == "cpu" else f"{kind.name} needs a GPU", counted)
    gpu = gpu_at_hand()
    return Rehearsal(
        kind.__name__, "", counted, replace(plan, warnings=plan.warnings + missing), gpu[0] if gpu else None,
        gpu[1] if gpu else None, plan.total <= gpu[1] if gpu else None,
    )  # fmt: skip


def _missing(bench: Workbench, options: AdapterOptions) -> tuple[str, ...]:
    """Packages that training would need: the plan itself does without."""
    try:
        check_tunable(bench.detector_kind, options)
    except MissingPackageError as error:
        return (str(error),)
    return ()


def _counted(bench: Workbench, dataset: str) -> Counted:
    """What the loop's dataset version holds, where there is one."""
    try:
        loop = _loop(bench)
        records = [r for r in loop.datasets() if r.purpose == "train"] if loop else []
        wanted = [r.digest for r in records if dataset in ("latest", r.digest)]
        if loop is None or not wanted:
            which = "dataset version yet" if dataset == "latest" else f"dataset version {dataset}"
            return Counted(None, f"loop {bench.loop.name} has no {which}: steps alone are known")
        version = fetch(loop, wanted[-1])
    except TsadError as error:
        return Counted(None, f"the dataset version cannot be read: {error}")
    positive = sum(bool(r.intervals) for r in version.windows)
    epochs = bench.adapter.steps * bench.adapter.batch_size / max(1, len(version.windows))
    return Counted(version.digest, "", len(version.windows), positive, epochs)


def _loop(bench: Workbench) -> LoopStore | None:
    """The loop as it is in the store; ``None`` where there is no such thing, and none is made."""
    if not bench.tracking.uri and not (bench.home / "mlflow.db").exists():
        return None
    from tsad.tracking.runs import LoopStore
    from tsad.tracking.store import open_store

    store = open_store(bench.tracking, bench.home)
    return LoopStore(store, bench.loop.name, bench.loop.lease) if bench.loop.name in store.loops() else None
