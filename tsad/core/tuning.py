"""Tuners: what teaches a detector from a dataset version, what it is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tsad.core.context import Context
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion

UNTAUGHT = -100  # label of a token that no loss is taken over (transformers' own)


@dataclass(frozen=True, kw_only=True)
class TuningCall:
    """One call of a tuner, beside detector, dataset version and options.

    Attributes:
        folder: receives ``adapter/``, and ``checkpoint/`` until the end; the same call on the same folder goes on from
            the checkpoint.
        start_adapter: folder of the adapter to go on from; ``None`` = the base.
        context: progress goes there; its control is asked at every step.
    """

    folder: Path
    start_adapter: Path | None = None
    context: Context = field(default_factory=Context)


@dataclass(frozen=True)
class Tuned:
    """What a tuner made.

    Attributes:
        adapter: folder of the adapter; ``None`` where there was nothing to train, and ``reason`` says why.
        metrics: counts, losses and validation metrics of the adapter that was kept, seconds.
        steps: optimiser steps taken (fewer than asked where it stopped early).
        resumed: whether it went on from a checkpoint.
        reason: why there is no adapter, or why training stopped.
    """

    adapter: Path | None
    metrics: Mapping[str, float]
    steps: int
    resumed: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Saving(Result):
    """What one option does to the memory of training.

    Attributes:
        option: as it is typed, e.g. ``adapter.gradient_checkpointing=true``.
        used: whether the plan has it on already.
        total: GiB with it, all else as in the plan.
        saved: GiB less than without it.
    """

    option: str
    used: bool
    total: float
    saved: float


@dataclass(frozen=True, eq=False)
class MemoryPlan(Result):
    """What training a large network takes, computed from its shapes before any weight is loaded; sizes in GiB.

    Attributes:
        base: name of the network, e.g. ``chatts_8b``.
        parameters: of the base; ``trainable``: of what is trained.
        tokens: of one row; ``rows``: in memory at a time; ``steps``: optimiser steps at most.
        parts: by name, without what the allocator loses.
        total: their sum and a tenth more.
        savings: what each option does.
        warnings: what is known to go wrong under these options, with figures.
    """

    base: str
    parameters: int
    trainable: int
    tokens: int
    rows: int
    steps: int
    parts: Mapping[str, float]
    total: float
    savings: tuple[Saving, ...] = ()
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Tuner(Protocol):
    """What teaches a trainable detector from a dataset version.

    A tuner may also offer ``check(options)``, which raises TrainingError or MissingPackageError for options that it
    cannot honour: it is asked before anything long begins.
    """

    def fit(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall,
        recorder: Recorder,
    ) -> Tuned:  # fmt: skip
        """Train an adapter; the same arguments give the same adapter, byte for byte, on one machine.

        Raises:
            TrainingError: gold windows, options that cannot be honoured, a loss that is not finite.
            StopRequested: the call's control asked for it; what was done is in a checkpoint.
        """
