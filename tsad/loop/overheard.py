"""Training that others watch: what it records reaches the call's listener and TensorBoard as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tsad.core.recording import NoRecord, Overheard

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench
    from tsad.core.protocols import Recorder
    from tsad.tracking.runs import StepRun


@contextmanager
def overheard(bench: Workbench, step: StepRun | NoRecord) -> Iterator[Recorder]:
    """The recorder of a step while it trains; memory and load of the process are sampled, and heard, meanwhile.

    Raises:
        MissingPackageError: ``tracking.tensorboard=true`` without the package.
    """
    if isinstance(step, NoRecord):
        yield step
        return
    from tsad.tracking.tensorboard import event_files

    with event_files(step, bench.loop.name) as files:
        listeners = [*([bench.context.listener] if bench.context.listener else []), *files]
        with step.system_metrics(listeners=listeners):
            yield Overheard(step, listeners)
