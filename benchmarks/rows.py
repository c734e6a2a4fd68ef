"""The best single row of evidence and the best peer beside the network, set by set.

    python -m tsad benchmark 'sets=[...]' output=OUT
    OMP_NUM_THREADS=1 python -m benchmarks.rows --sets ../shared/data/NAB long_shapes --leaderboard OUT/leaderboard.csv

A row of evidence is taken as a score as it comes, by its size where it has a sign; of several channels the figure
farthest from 0 counts. Which row is best is told by the labels: a bound to compare with, not a detector. With a
leaderboard, patch and the best of its other detectors stand beside it; ``behind`` is how far patch is below the better
of the two.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import CHANNELS, UNIT
from tsad.detectors.evidence.examined import Examined
from tsad.metrics.ranking import auc_pr, vus_pr
from tsad.steps.sets import LabelledSet, open_sets

SETS = ("AIOPS_KPI", "MSCMD", "NAB", "SMD")
STEP = 5  # every how many-th buffer of VUS-PR, as tsad benchmark
FIGURES = ("vus_pr", "auc_pr")


def row_figures(one: LabelledSet) -> FloatArray:
    """Means over the series of a set, [rows, 2]: VUS-PR and AUC-PR of each row of evidence."""
    found = []
    for series, truth in one.read():
        rows = Examined.plain(series, np.zeros(len(series))).rows
        scores = [np.abs(row.astype(np.float64)) * UNIT for row in rows]
        found.append([(vus_pr(truth, s, step=STEP), auc_pr(truth, s)) for s in scores])
    return np.asarray(np.mean(found, axis=0), np.float64)


def leaders(path: Path, name: str, figure: str, network: str) -> tuple[float, str, float]:
    """Of a leaderboard: the network's figure on a set, the best other detector and its figure."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["set"], r["series"]) == (name, "mean")]
    means = {r["detector"]: float(r[figure]) for r in rows}
    others = {k: v for k, v in means.items() if k != network}
    best = max(others, key=lambda k: others[k])
    return means[network], best, others[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[f"../shared/data/{name}" for name in SETS])
    parser.add_argument("--leaderboard", type=Path)
    parser.add_argument("--network", default="patch", help="its name in the leaderboard")
    parser.add_argument("--every", action="store_true", help="all rows, not the best alone")
    options = parser.parse_args()
    head = f"{'set':<12} {'chosen on':<9} {'figure':<7} {'best row':<26}"
    print(head + (f" {options.network:>7} {'best peer':<25} {'behind':>7}" if options.leaderboard else ""))
    for one in open_sets(workbench(settings(compose())), options.sets, 0):
        figures = row_figures(one)
        for k, figure in enumerate(FIGURES):
            best = int(np.argmax(figures[:, k]))
            line = f"{one.name:<12} {one.chosen_on:<9} {figure:<7} {CHANNELS[best]:<20} {figures[best, k]:.3f}"
            if options.leaderboard:
                own, peer, reached = leaders(options.leaderboard, one.name, figure, options.network)
                line += f" {own:>7.3f} {peer:<19} {reached:.3f} {max(reached, figures[best, k]) - own:>7.3f}"
            print(line, flush=True)
        if options.every:
            for name, row in zip(CHANNELS, figures, strict=True):
                print(f"    {name:<24} {row[0]:.3f} {row[1]:.3f}")


if __name__ == "__main__":
    main()
