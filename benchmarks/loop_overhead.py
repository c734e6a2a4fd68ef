"""Seconds per iteration outside detector and training, for 100, 1,000 and 5,000 reviewed windows.

Runs real iterations of the robust z-score on a simulated plant with the simulated reviewer, in stores of their own,
and subtracts the time spent in scoring. Prints seconds and the ratio of cost per window between sizes: a loop that
grows linearly prints ratios near or below 1.

    python benchmarks/loop_overhead.py [--sizes 100 1000 5000]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any

LENGTH = 256  # points per window


def iteration(size: int) -> dict[str, float]:
    """One iteration that reviews ``size`` windows; seconds by step, and scoring apart."""
    from tsad.config import compose, settings, workbench
    from tsad.detectors.robust_zscore import RobustZScore
    from tsad.loop.iteration import iterate
    from tsad.loop.opening import open_loop

    scoring = 0.0
    original = RobustZScore.score

    def timed(self: RobustZScore, series: Any) -> Any:
        nonlocal scoring
        started = time.perf_counter()
        try:
            return original(self, series)
        finally:
            scoring += time.perf_counter() - started

    series = max(10, size // 100)
    points = int(2.2 * size * LENGTH / series)
    overrides = [
        "experiment=demo", "detector=robust_zscore", "loop.fresh=false", "loop.iterations=1", "tracking.plots=0",
        f"source.series={series}", f"source.points={points}", f"windows.length={LENGTH}", f"sampling.windows={size}",
        "windows.context=256", "gold.share=0.3",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        os.environ["TSAD_HOME"] = str(Path(place) / "store")
        bench = workbench(settings(compose(overrides), overrides))
        RobustZScore.score = timed  # type: ignore[method-assign]
        started = time.perf_counter()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                iterate(bench)
        finally:
            RobustZScore.score = original  # type: ignore[method-assign]
        total = time.perf_counter() - started
        (done,) = open_loop(bench).iterations()
        dataset = done.finished("DATASET")
        reviewed = dataset.result["windows"] if dataset else 0
    return {"windows": reviewed, "seconds": total, "scoring": scoring, "overhead": total - scoring}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    sizes = parser.parse_args().sizes
    iteration(min(50, *sizes))  # imports and first-time costs are not the loop's
    rows = [iteration(size) for size in sizes]
    print(f"{'windows':>8} {'seconds':>8} {'scoring':>8} {'overhead':>9} {'ms/window':>10} {'ratio':>6}")
    first = None
    for row in rows:
        each = row["overhead"] / row["windows"] * 1000
        first = first or each
        print(
            f"{row['windows']:8.0f} {row['seconds']:8.2f} {row['scoring']:8.2f} {row['overhead']:9.2f} {each:10.2f} "
            f"{each / first:6.2f}"
        )


if __name__ == "__main__":
    main()
