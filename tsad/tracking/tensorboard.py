"""TensorBoard's event files beside MLflow: one folder per run under the store's ``tensorboard/``."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.core.errors import MissingPackageError, StorageError
from tsad.core.names import safe_name
from tsad.core.options import TrackingOptions
from tsad.files.locate import install_extra

if TYPE_CHECKING:
    from tsad.core.protocols import Listener
    from tsad.tracking.steps import StepRun

FOLDER = "tensorboard"


def require_tensorboard(options: TrackingOptions) -> None:
    """Refuse ``tracking.tensorboard=true`` where it cannot be honoured, before anything long begins.

    Raises:
        MissingPackageError: the package is not installed.
    """
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise MissingPackageError(
            "tracking.tensorboard is true, and the package tensorboard is not installed",
            f"Run: {install_extra('tensorboard')}",
        )


@contextmanager
def event_files(step: StepRun, loop: str) -> Iterator[list[Listener]]:
    """What writes the run's event files while the block works: one listener, or none where they are not asked for.

    Raises:
        MissingPackageError: see :func:`require_tensorboard`.
        StorageError: the folder cannot be written.
    """
    if not step.store.options.tensorboard:
        yield []
        return
    require_tensorboard(step.store.options)
    files = EventFiles(step.store.home / FOLDER / safe_name(loop) / f"{step.name.lower()}-{step.run_id[:8]}")
    try:
        yield [files]
    finally:
        files.close()


class EventFiles:
    """A :class:`~tsad.core.protocols.Listener` that writes each figure as a scalar, readable by TensorBoard at once."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary import Writer

        self._folder, self._lock = folder, threading.Lock()  # the writer is for one thread, we hear from two
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(str(folder))
        except OSError as error:
            raise self._unwritable(error) from error

    def heard(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`~tsad.core.protocols.Listener`; raises StorageError where the disk is full."""
        with self._lock:
            try:
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)
                self._writer.flush()
            except OSError as error:
                raise self._unwritable(error) from error

    def close(self) -> None:
        """Nothing is heard after it."""
        with self._lock:
            self._writer.close()

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._folder} cannot be written ({error.strerror or error})",
            "Free space, or set tracking.tensorboard=false.",
        )
