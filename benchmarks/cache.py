"""Time to the first window, and to all series, of many cached points: ``python -m benchmarks.cache [--points 1000]``.

The cache in front of a ranged source (as IoTDB and SQL are) is filled once; then a fresh process asks for all points.
The peers in the same run: the same values read by ``pandas.read_parquet``, one plain file per point and no check of
their content; and by ``pandas.read_csv``. Memory level: the same process asks again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tsad.core.reading import Extents, SeriesStream
from tsad.core.series import Series
from tsad.core.windows import cut
from tsad.sources.base import Source
from tsad.sources.cache import CachedSource, WorkingSet
from tsad.sources.validate import RawSeries, validate

STEP = 10 * 10**9


class Remote(Source):
    """A ranged source of made-up values; says how often it was asked."""

    name, ranged = "remote", True

    def __init__(self, points: int, rows: int) -> None:
        self.names, self.rows, self.fetches = [f"U{k // 100}.P{k:05}" for k in range(points)], rows, 0

    def points(self) -> list[str]:
        return self.names

    def extents(self, point_ids: Sequence[str]) -> Extents:
        return Extents(dict.fromkeys(point_ids, (0, (self.rows - 1) * STEP + 1)))

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        self.fetches += 1
        stamps = np.arange(self.rows, dtype=np.int64) * STEP
        for k, point_id in enumerate(point_ids):
            values = np.round(np.random.default_rng(k).normal(size=self.rows).cumsum(), 3)
            yield validate(RawSeries(point_id, stamps, values), piece=True)

    def digest(self, point_id: str | None = None) -> str:
        return "remote"

    def describe(self) -> str:
        return "remote:benchmark"


def ours(folder: Path, points: int, rows: int) -> dict[str, float]:
    """Seconds to the first window and to all series from disk, and again from memory."""
    import pandas  # noqa: F401 - pyarrow imports it at the first array (0.2 s), and every verb needs it

    memory = WorkingSet(2**34)
    found: dict[str, float] = {}
    for level in ("disk", "memory"):
        source, begin, first, total = Remote(points, rows), time.perf_counter(), 0.0, 0
        for read in SeriesStream(CachedSource(source, folder, memory=memory).read()):
            if not first:
                assert len(cut(read.series, 512)[0]) == 512
                first = time.perf_counter() - begin
            total += len(read.series)
        assert (source.fetches, total) == (0, points * rows)
        found |= {f"{level} first": first, f"{level} all": time.perf_counter() - begin}
    return found


def pandas_parquet(folder: Path, points: int, rows: int) -> dict[str, float]:
    """The same by pandas: a plain Parquet file per point, and the CSV files."""
    import pandas as pd

    found: dict[str, float] = {}
    for suffix, read in (("parquet", pd.read_parquet), ("csv", pd.read_csv)):
        begin, first, total = time.perf_counter(), 0.0, 0
        for path in sorted(folder.glob(f"*.{suffix}")):
            frame = read(path)
            if not first:
                assert len(frame.iloc[:512]) == 512
                first = time.perf_counter() - begin
            total += len(frame)
        found |= {f"{suffix} first": first, f"{suffix} all": time.perf_counter() - begin}
    return found


def fill(folder: Path, points: int, rows: int) -> None:
    """The cache, and the peers' files."""
    import pandas as pd

    (folder / "plain").mkdir()
    for read in SeriesStream(CachedSource(Remote(points, rows), folder / "cache").read()):
        series = read.series
        frame = pd.DataFrame({"timestamp": series.timestamps, "value": series.values[:, 0]})
        frame.to_parquet(folder / "plain" / f"{series.point_id}.parquet")
        if int(series.point_id[-5:]) % 10 == 0:  # a tenth is enough to time CSV
            frame.to_csv(folder / "plain" / f"{series.point_id}.csv", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--part", choices=("ours", "pandas"))
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.part:
        work, place = (ours, "cache") if args.part == "ours" else (pandas_parquet, "plain")
        print(json.dumps(work(args.folder / place, args.points, args.rows)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch), args.points, args.rows)
        found: dict[str, float] = {}
        for part in ("pandas", "ours"):
            command = [sys.executable, "-m", "benchmarks.cache", "--part", part, "--folder", scratch]
            command += ["--points", str(args.points), "--rows", str(args.rows)]
            found |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    values, per_second = args.points * args.rows, 1e6
    print(f"{args.points} points of {args.rows} rows")
    for name, key in (("cache on disk", "disk"), ("working set", "memory"), ("pandas.read_parquet", "parquet")):
        first, all_ = found[f"{key} first"] * 1000, found[f"{key} all"]
        print(f"{name:20} first window {first:8.1f} ms   all {all_:6.2f} s  {values / all_ / per_second:6.1f} M/s")
    csv = found["csv all"] * 10
    print(f"{'pandas.read_csv':20} first window {found['csv first'] * 1000:8.1f} ms   all {csv:6.2f} s (a tenth timed)")
    ratio = found["parquet all"] / found["disk all"]
    print(f"the cache, verified by hash, against plain pandas.read_parquet: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
