"""Dataset versions between the training room and the store: put once, found by hash, fetched back."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import DatasetError, SourceError
from tsad.core.reviews import DatasetVersion, Purpose, ReviewedWindow
from tsad.tracking.dataset_records import DatasetRecord, NewDataset

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore

log = logging.getLogger("tsad")


def put(
    bench: Workbench,
    loop: LoopStore,
    iteration: Iteration,
    reviewed: Sequence[ReviewedWindow],
    purpose: Purpose,
    parent: DatasetVersion | None,
) -> DatasetVersion:
    """Build a dataset version of the usable windows (added to ``parent``) and store it exactly once."""
    from tsad.training.datasets import build, merge, save

    meta = {"loop": bench.loop.name, "iteration": iteration.number, "parent": parent.digest if parent else None}
    version = build(reviewed, purpose, bench.windows.context, meta)
    if parent is not None:
        version = merge(parent, version)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset"
        save(version, folder)
        kept = NewDataset(
            digest=version.digest, purpose=purpose.value, name=f"{bench.loop.name}-{purpose.value}",
            source=bench.make_source().describe(), source_digest=_source_digest(bench, iteration),
            channels=tuple(_channels(version)), windows=len(version.windows),
        )
        loop.put_dataset(kept, folder, iteration)
    return version


def _source_digest(bench: Workbench, iteration: Iteration) -> str:
    """The source's digest, asked for once per iteration and call; "" where the source cannot be asked.

    Nothing is read for it: files answer by how they are read and by size and time of change of each, a database, which
    does not say when its rows change, by where and how it is read (``Source.digest``).
    """

    def ask() -> str:
        try:
            return bench.make_source().digest()
        except SourceError as error:  # people have answered meanwhile: their dataset version is not lost over it
            log.warning("the dataset version's record is without the digest of its source: %s", error)
            return ""

    return bench.context.shared(("source digest", iteration.run_id), ask)


def dataset_record(loop: LoopStore, version: str) -> DatasetRecord:
    """Where a dataset version is kept.

    Raises:
        DatasetError: the store has lost it.
    """
    record = loop.find_dataset(version)
    if record is None:
        raise DatasetError(
            f"dataset version {version} of loop {loop.name} is gone from the store", "Restore the store from a backup."
        )
    return record


def fetch(loop: LoopStore, version: str) -> DatasetVersion:
    """A stored dataset version, verified by its hash."""
    from tsad.training.datasets import load

    with tempfile.TemporaryDirectory() as scratch:
        return load(loop.fetch_dataset(version, Path(scratch)))


def latest_training(loop: LoopStore, apart_from: Iteration | None = None) -> DatasetVersion | None:
    """The newest training dataset version of the loop; ``apart_from`` = one that this iteration did not make."""
    records = [r for r in loop.datasets() if r.purpose == Purpose.TRAIN]
    if apart_from is not None:
        records = [r for r in records if r.iteration_run != apart_from.run_id]
    return fetch(loop, records[-1].digest) if records else None


def _channels(version: DatasetVersion) -> tuple[str, ...]:
    """Names of the value columns: those of the widest series."""
    return max((r.window.series.channels for r in version.windows), key=len, default=("value",))
