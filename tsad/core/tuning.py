"""Tuners: what teaches a detector from a dataset version, what it is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tsad.core.context import Context
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.reviews import DatasetVersion


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


@runtime_checkable
class Tuner(Protocol):
    """What teaches a trainable detector from a dataset version."""

    def fit(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall,
        recorder: Recorder,
    ) -> Tuned:  # fmt: skip
        """Train an adapter; the same arguments give the same adapter, byte for byte, on one machine.

        Raises:
            TrainingError: gold windows, options that cannot be honoured, a loss that is not finite.
            StopRequested: the call's control asked for it; what was done is in a checkpoint.
        """
