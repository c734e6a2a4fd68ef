"""What reviews teach by themselves: distance to what people have called normal, beside the distance to everything.

    OMP_NUM_THREADS=1 python -m benchmarks.memory --sets ../shared/data/NAB ../shared/data/AIOPS_KPI --cut 20000

Of each set so many windows are drawn at random and answered from the labels; what is normal in them becomes the memory
of their series. Rows of evidence are taken as scores as they come, of several channels the figure farthest from 0.
Nothing is fitted. Means over the series that hold an anomaly and of which a window was drawn, and over seeds; the rows
that read no memory are measured on the same series. A reviewed window is scored by what was said of other windows.
"""

from __future__ import annotations

import argparse

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.core.memory import NormalMemory, normal_memory
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, FloatArray
from tsad.core.windows import cut
from tsad.detectors.evidence.channels import INDEX, UNIT
from tsad.detectors.evidence.examined import channel_evidence, combined_rows
from tsad.detectors.evidence.remembered import MEMORY_ROWS
from tsad.metrics.ranking import auc_pr, vus_pr
from tsad.steps.sets import open_sets

SETS = ("AIOPS_KPI", "MSCMD", "NAB", "SMD")
PLAIN = ("neighbour", "short_neighbour", "cycle", "short_features", "long_features")
SUMS = {"short + long features": ("short_features", "long_features"), "short + long memory": MEMORY_ROWS,
        "memory + features": ("short_features", "long_features", *MEMORY_ROWS)}  # fmt: skip
Labelled = list[tuple[Series, BoolArray]]


def rows_of(series: Series, names: tuple[str, ...], memory: NormalMemory | None = None) -> dict[str, FloatArray]:
    """The size of each named row of evidence, [T] each."""
    wanted = (*names, "short_features", "long_features") if memory else names
    rows = combined_rows([e.rows for _, e in channel_evidence(series, wanted, memory)], len(series))
    return {name: np.abs(rows[INDEX[name]].astype(np.float64)) * UNIT for name in names}


def drawn(labelled: Labelled, length: int, count: int, seed: int, most: int) -> NormalMemory:
    """The memory of ``count`` windows of the set, each as likely as any other."""
    windows = [(w, truth[w.start : w.stop]) for series, truth in labelled for w in cut(series, length)]
    rng = np.random.default_rng(seed)
    chosen: list[tuple[Window, BoolArray]] = [windows[k] for k in rng.permutation(len(windows))[:count]]
    return normal_memory(chosen, most)


def figures(truth: BoolArray, rows: dict[str, FloatArray], step: int) -> dict[str, tuple[float, float]]:
    """VUS-PR and AUC-PR of each row and sum of rows."""
    scores = {**rows, **{name: np.sum([rows[k] for k in parts], axis=0) for name, parts in SUMS.items()}}
    return {name: (vus_pr(truth, s, step=step), auc_pr(truth, s)) for name, s in scores.items()}


def measured(labelled: Labelled, given: argparse.Namespace) -> None:
    """Prints a table per number of windows."""
    plain = [rows_of(series, PLAIN) for series, _ in labelled]
    for count in given.reviews:
        found: list[dict[str, tuple[float, float]]] = []
        for seed in range(given.seeds):
            memory = drawn(labelled, given.length, count, seed, given.remembered)
            for (series, truth), rows in zip(labelled, plain, strict=True):
                if memory.of(series.point_id):
                    found.append(figures(truth, rows | rows_of(series, MEMORY_ROWS, memory), given.step))
        print(f"  {count} windows, {len(found) / given.seeds:.1f} of {len(labelled)} series")
        for name in found[0]:
            vus, auc = np.mean([one[name] for one in found], axis=0)
            print(f"    {name:<24}{vus:8.3f}{auc:8.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[f"../shared/data/{name}" for name in SETS])
    parser.add_argument("--cut", type=int, default=0, help="points of each series that count; 0 = all")
    parser.add_argument("--series", type=int, default=0, help="series of each set that count; 0 = all")
    parser.add_argument("--reviews", type=int, nargs="+", default=[12, 25, 50])
    parser.add_argument("--step", type=int, default=5, help="every how many-th buffer of VUS-PR, as tsad benchmark")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--length", type=int, default=512, help="points of a window")
    parser.add_argument("--remembered", type=int, default=8192, help="points kept of each series")
    given = parser.parse_args()
    for one in open_sets(workbench(settings(compose())), given.sets, given.cut):
        labelled = list(one.read())
        labelled = labelled[: given.series or len(labelled)]
        points = sum(len(series) for series, _ in labelled)
        print(f"{one.name}: {len(labelled)} series, {points} points; VUS-PR and AUC-PR", flush=True)
        measured(labelled, given)


if __name__ == "__main__":
    main()
