"""What a registered version remembers as normal, as one Parquet file beside its description; checked by its hash."""

from __future__ import annotations

from pathlib import Path

from tsad.core.errors import WeightsError
from tsad.core.memory import NormalMemory, NormalStretch
from tsad.files.hashing import digest_of_file
from tsad.files.series_table import series_of, series_table

MEMORY = "memory.parquet"
BOUNDS = ("window_start", "window_end")


def write_memory(memory: NormalMemory, path: Path) -> str:
    """Write a memory, one row per stretch; returns the file's SHA-256.

    Raises:
        OSError: disk full, read-only folder.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stretches = [one for own in memory.stretches.values() for one in own]
    table = series_table([one.series for one in stretches])
    for at, name in enumerate(BOUNDS):
        table = table.append_column(name, pa.array([one.window[at] for one in stretches], pa.int64()))
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    return digest_of_file(path)


def read_memory(path: Path, expected: str) -> NormalMemory:
    """A memory read back.

    Args:
        expected: the SHA-256 that it was registered with.

    Raises:
        WeightsError: the file is missing, or is not the one that was registered.
    """
    import pyarrow.parquet as pq

    try:
        same = digest_of_file(path) == expected
    except OSError:
        same = False
    if not same:
        raise WeightsError(
            f"The memory {path} is missing or damaged: it is not the one that was registered",
            "Restore it from a backup, or go back with `tsad rollback`.",
        )
    table = pq.read_table(path, partitioning=None)
    bounds = zip(*(table.column(name).to_pylist() for name in BOUNDS), strict=True)
    found: dict[str, list[NormalStretch]] = {}
    for series, window in zip(series_of(table), bounds, strict=True):
        found.setdefault(series.point_id, []).append(NormalStretch(series, window))
    return NormalMemory({point: tuple(own) for point, own in found.items()})
