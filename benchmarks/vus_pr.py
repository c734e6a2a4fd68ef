"""Seconds for VUS-PR on long series, and how many times faster than the reference algorithm.

    python benchmarks/vus_pr.py [--points 10000 100000] [--runs-per-1000 1]

Both run one after the other on the same data in this process; the reference is ``reference_vus.py`` beside this file,
the published algorithm threshold by threshold. Data are made, with a fixed seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from reference_vus import reference_vus_pr

from tsad.metrics.ranking import vus_pr


def made_series(points: int, runs_per_1000: float, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Truth with runs of 1 to 50 points, and scores that see most of them late and blurred."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(points, bool)
    for start in rng.integers(0, points, max(1, round(points * runs_per_1000 / 1000))):
        truth[start : start + rng.integers(1, 51)] = True
    scores = rng.random(points) + 0.7 * np.roll(truth, 3) * rng.random(points)
    return truth, scores


def seconds(call: Callable[[], float], repeats: int) -> tuple[float, float]:
    """The value and the fastest of ``repeats`` times."""
    best, value = float("inf"), float("nan")
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        best = min(best, time.perf_counter() - start)
    return value, best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--runs-per-1000", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'points':>10} {'runs':>6} {'tsad s':>9} {'reference s':>12} {'ratio':>8} {'|difference|':>13}")
    for points in options.points:
        truth, scores = made_series(points, options.runs_per_1000, options.seed)
        runs = int(np.count_nonzero(np.diff(truth.astype(np.int8), prepend=0) == 1))
        fast, fast_seconds = seconds(partial(vus_pr, truth, scores), 3)
        slow, slow_seconds = seconds(partial(reference_vus_pr, truth, scores), 1)
        print(
            f"{points:>10,} {runs:>6} {fast_seconds:>9.4f} {slow_seconds:>12.2f} "
            f"{slow_seconds / fast_seconds:>8.0f} {abs(fast - slow):>13.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
