"""Speed, memory and zero-shot quality of the detectors; prints figures, writes nothing.

    OMP_NUM_THREADS=1 python -m benchmarks.detectors speed
    OMP_NUM_THREADS=1 python -m benchmarks.detectors budget
    OMP_NUM_THREADS=1 python -m benchmarks.detectors memory
    OMP_NUM_THREADS=1 python -m benchmarks.detectors streaming
    OMP_NUM_THREADS=1 python -m benchmarks.detectors quality --data ../shared/data

``speed``: points per second of processor time, so of one undisturbed core. ``budget``: where the nanoseconds of a point
go in ``patch``: each row of evidence (the first of those that are made together carries what they share), the network
at each scale, and the rest. ``memory``: the resident set's growth while
scoring 0.5 and 5 million points, each in a process of its own; what does not grow with the batch is a few numbers per
point. ``streaming``: a series that grows by 1% under an unchanged state (``detector.refit_every``), against a full run,
in seconds of processor time, with what is kept in memory and with reading and writing it; whether both agree to the
bit, and what a refit would change. ``quality``: mean over the labelled series of VUS-PR and AUC-PR, and interval and
composite F1 at a score
threshold of 0.5; nothing is fitted.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.options import ThresholdOptions
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, BoolArray
from tsad.detectors.base import Detector

PLAIN = ThresholdOptions(default=0.5, merge_gap=4, min_length=1, max_length=0)


def robust_zscore() -> Detector:
    from tsad.detectors.robust_zscore import RobustZScore

    return RobustZScore(half=6.0, window=0)


def isolation_forest() -> Detector:
    from tsad.detectors.isolation_forest import IsolationForest

    return IsolationForest(window=16, stride=4, trees=100, fit_windows=4096, half=6.0, batch_size=8192, seed=0)


def patch(weights: str = "", stride: int = 896, blend: float = 1.0) -> Detector:
    import torch

    from tsad.detectors.patch.detector import PatchDetector

    torch.set_num_threads(1)
    return PatchDetector(weights=weights, batch_size=32, device="cpu", stride=stride, blend=blend, refit_every=0.0)


MAKERS: dict[str, Callable[[], Detector]] = {
    "robust_zscore": robust_zscore, "isolation_forest": isolation_forest, "patch": patch,
}  # fmt: skip


def random_series(points: int, seed: int = 0) -> Series:
    values = np.random.default_rng(seed).standard_normal((points, 1))
    return Series("bench", np.arange(points, dtype=np.int64) * NS_PER_SECOND, values)


def speed(points: int) -> None:
    heads = f"one series of {points:,}", "the same in 100 series"
    print(f"{'detector':<18}{heads[0]:>28}{heads[1]:>26}   points/s of one core")
    whole, parts = [random_series(points)], [random_series(points // 100, k) for k in range(100)]
    for name, make in MAKERS.items():
        detector = make()
        detector.score([random_series(2048)])  # imports and weights
        rates = []
        for series in (whole, parts):
            started = time.process_time()
            detector.score(series)
            rates.append(points / (time.process_time() - started))
        print(f"{name:<18}{rates[0]:>28,.0f}{rates[1]:>26,.0f}", flush=True)
    evidence_speed(points)


def evidence_speed(points: int) -> None:
    """A line per period: the cost of seasons and of neighbours depends on it."""
    from tsad.detectors.evidence.channels import evidence_of

    for period in (20, 288):
        noise = random_series(points).values[:, 0]
        values = np.sin(np.arange(points) * 2 * np.pi / period) + 0.3 * noise
        evidence_of(values[:4096])
        started = time.process_time()
        evidence_of(values)
        print(f"{f'evidence, {period}':<18}{points / (time.process_time() - started):>28,.0f}", flush=True)


def budget(points: int) -> None:
    """Nanoseconds of processor time per point; of the network, per point of the series, whatever the scale."""
    from tsad.core.windows import window_starts
    from tsad.detectors.evidence.channels import Beside, evidence_of, rows_of
    from tsad.detectors.evidence.course import Course, Tail
    from tsad.detectors.patch.windows import pieces, scales_for

    detector = MAKERS["patch"]()
    seen = detector._seen()  # type: ignore[attr-defined]
    wave = np.sin(np.arange(points) * 2 * np.pi / 125) + 0.3 * random_series(points).values[:, 0]
    series = Series("bench", np.arange(points, dtype=np.int64) * NS_PER_SECOND, wave[:, None])
    detector.score([random_series(4096)])
    spent: dict[str, float] = {}

    def clock(name: str, since: float) -> float:
        spent[name] = spent.get(name, 0.0) + time.process_time() - since
        return time.process_time()

    started = time.process_time()
    evidence = evidence_of(wave, ())
    at = clock("values and period", started)
    for name, _ in rows_of(Tail(evidence.values), evidence.period, seen.needed, Beside(), Course()):
        at = clock(f"evidence: {name}", at)
    known = evidence_of(wave, seen.needed)
    at = time.process_time()
    for scale in scales_for(points, seen.length):
        starts = window_starts(-(-points // scale), seen.length, detector.settings.stride)  # type: ignore[attr-defined]
        made = list(pieces(known, scale, seen.rows, starts, seen.length))
        at = clock("shrinking to the scales", at)
        pass_network(detector, iter(made))
        at = clock(f"network at scale {scale}", at)
    total = sum(spent.values())
    started = time.process_time()
    detector.score([series])
    spent["blend, stitching and the rest"] = time.process_time() - started - total
    for name, seconds in spent.items():
        print(f"{name:<40}{seconds / points * 1e9:>10.0f} ns/point", flush=True)
    print(f"{'all':<40}{sum(spent.values()) / points * 1e9:>10.0f} ns/point", flush=True)


def streaming(points: int) -> None:
    """Four steps of 1%: the first warms up what a continued pass alone uses; of the others the median counts."""
    import os
    import tempfile

    from tsad.detectors.evidence.continued import SeriesState
    from tsad.detectors.patch.continued import KeptSeries, Passes, seen_digests
    from tsad.detectors.patch.detector import PatchDetector

    detector = MAKERS["patch"]()
    assert isinstance(detector, PatchDetector)
    sizes = [points + k * (points // 100) for k in range(5)]
    total = sizes[-1]
    wave = np.sin(np.arange(total) * 2 * np.pi / 125) + 0.3 * random_series(total).values[:, 0]
    series = Series("bench", np.arange(total, dtype=np.int64) * NS_PER_SECOND, wave[:, None])
    detector.score([random_series(4096)])
    passes = Passes(detector._scoring(), "cpu", detector._seen(), detector.settings.stride, detector.settings.blend)

    def timed(what: str, do: Callable[[], Any]) -> Any:
        started = time.process_time()
        answer = do()
        took.setdefault(what, []).append(time.process_time() - started)
        return answer

    took: dict[str, list[float]] = {}
    state, kept, looked = SeriesState.new(series.slice(0, points)), None, None
    for step, size in enumerate(sizes):
        part = series.slice(0, size)
        what = ("state fitted, and a full pass", "the first continued pass", "a continued pass")[min(step, 2)]
        looked = timed(what, functools.partial(passes.look, part, state, kept))
        state = state.closed()
        (seen,) = seen_digests(part, size)
        kept = KeptSeries(state, size, seen, looked.together, looked.kept, looked.kinds)
    assert looked is not None
    whole = timed("a full pass under the same state", lambda: passes.look(series, state, None))
    afresh = timed("a full run afresh", lambda: detector.score([series])[0])
    with tempfile.TemporaryDirectory() as folder:
        going = detector.continuing(Path(folder), 0.5)
        going.score([series.slice(0, sizes[0])])
        for size in sizes[2:]:
            part = series.slice(0, size)
            timed("a continued run with reading and writing", functools.partial(going.score, [part]))
    print(f"{points:,} points and 1% more; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for what, seconds in ((what, float(np.median(each))) for what, each in took.items()):
        print(f"{what:<42}{seconds:>8.3f} s {seconds / took['a full run afresh'][0]:>8.2%} of a full run afresh")
    same = all(np.array_equal(a, b) for a, b in [(looked.together, whole.together), (looked.kinds, whole.kinds),
                                                 (looked.evidence[0].rows, whole.evidence[0].rows)])  # fmt: skip
    away = np.abs(afresh - looked.together)
    print(f"equal to the bit: {same}; a refit changes scores by {away.mean():.5f} in mean, {away.max():.4f} at most")


def pass_network(detector: Detector, made: Iterator[Any]) -> None:
    """Let the network see all the pieces, batch by batch."""
    import itertools

    import torch

    from tsad.detectors.patch.windows import stack

    network, size = detector._scoring(), detector.settings.batch_size  # type: ignore[attr-defined]
    while batch := list(itertools.islice(made, size)):
        with torch.inference_mode():
            network(**stack(batch, "cpu")).logits.float().numpy()


def memory(points: int) -> None:
    print(f"{'detector':<18}{'points':>12}{'series MB':>12}{'peak growth MB':>16}{'bytes/point':>13}{'seconds':>9}")
    for name in MAKERS:
        for size in (points // 10, points):
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                growth, seconds = pool.apply(_growth, (name, size))
            row = f"{name:<18}{size:>12,}{size * 16 / 1e6:>12.0f}{growth / 1e6:>16.0f}"
            print(f"{row}{growth / size:>13.1f}{seconds:>9.1f}", flush=True)


def _growth(name: str, points: int) -> tuple[float, float]:
    """Peak growth of the resident set (bytes) while scoring, and seconds."""
    import psutil

    detector, series, process = MAKERS[name](), random_series(points), psutil.Process()
    detector.score([random_series(70_000)])  # imports, weights and the buffers of full batches
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    detector.score([series])
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return float(peak - before), seconds


def labelled(folder: Path) -> Iterator[tuple[Series, BoolArray]]:
    """Series with a label column that hold an anomaly."""
    import pandas as pd

    for file in sorted(folder.glob("*.csv*")):
        frame = pd.read_csv(file)
        truth = frame["label"].to_numpy() > 0
        if truth.any():
            names = tuple(c for c in frame.columns if c.startswith("value"))
            stamps = np.arange(len(frame), dtype=np.int64) * NS_PER_SECOND
            yield Series(file.name, stamps, frame[list(names)].to_numpy(float), names), truth


def quality(data: Path, sets: list[str], makers: dict[str, Callable[[], Detector]]) -> None:
    columns = ("VUS-PR", "AUC-PR", "interval F1", "composite F1", "points > .5")
    print(f"{'set':<12}{'detector':<18}{'series':>7}" + "".join(f"{c:>14}" for c in columns))
    totals: dict[str, list[tuple[float, ...]]] = {}
    for name in sets:
        pairs = list(labelled(data / name))
        for label, make in makers.items():
            figures = _figures(make(), pairs)
            totals.setdefault(label, []).append(figures)
            print(f"{name:<12}{label:<18}{len(pairs):>7}" + "".join(f"{f:>14.3f}" for f in figures), flush=True)
    for label, rows in totals.items():
        print(f"{'mean':<12}{label:<18}{'':>7}" + "".join(f"{f:>14.3f}" for f in np.mean(rows, axis=0)))


def _figures(detector: Detector, pairs: list[tuple[Series, BoolArray]]) -> tuple[float, ...]:
    from tsad.core.proposing import to_runs
    from tsad.metrics.interval import composite_counts, composite_of, interval_counts
    from tsad.metrics.point import precision_recall_f1
    from tsad.metrics.ranking import auc_pr
    from tsad.metrics.vus import vus_pr

    volume, area, intervals, composites, called, points = [], [], np.zeros(3), np.zeros(4), 0.0, 0
    for (_, truth), scores in zip(pairs, detector.score([s for s, _ in pairs]), strict=True):
        volume.append(vus_pr(truth, scores, step=5))
        area.append(auc_pr(truth, scores))
        runs = to_runs(scores, PLAIN.default, PLAIN)
        intervals += interval_counts(runs_of(truth), runs)
        composites += composite_counts(runs_of(truth), runs, len(truth))
        called += float((runs[:, 1] - runs[:, 0]).sum())
        points += len(truth)
    f1 = precision_recall_f1(*intervals).f1, composite_of(*composites).f1
    return float(np.mean(volume)), float(np.mean(area)), *f1, called / points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whats = ("speed", "budget", "memory", "streaming", "quality")
    parser.add_argument("what", nargs="?", default=whats[0], choices=whats)
    parser.add_argument("--points", type=int, help="speed, budget, streaming: 200,000; memory: 5,000,000")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="quality: one folder per set in it")
    parser.add_argument("--sets", nargs="+", default=["NAB", "MSCMD", "AIOPS_KPI", "SMD"])
    parser.add_argument("--detectors", nargs="+", choices=MAKERS, default=list(MAKERS))
    options = parser.parse_args()
    for name in set(MAKERS) - set(options.detectors):
        del MAKERS[name]
    if options.what == "speed":
        speed(options.points or 200_000)
    elif options.what == "budget":
        budget(options.points or 200_000)
    elif options.what == "streaming":
        streaming(options.points or 200_000)
    elif options.what == "memory":
        memory(options.points or 5_000_000)
    elif options.data.is_dir():
        quality(options.data, options.sets, MAKERS)
    else:
        sys.exit(f"{options.data} is missing: name the folder of labelled sets with --data")


if __name__ == "__main__":
    main()
