"""Our detectors beside TSB-AD's published VUS-PR, on the series of its table that can be made from the shared data.

    OMP_NUM_THREADS=1 python -m benchmarks.tsb_ad [--data ../shared/data] [--detectors patch poly sub_pca kmeans]

Published: ``benchmark_exp/benchmark_eval_results/uni_mergedTable_VUS-PR.csv`` of TheDatumOrg/TSB-AD (commit 35ba9c3;
Liu and Paparrizos 2024, "The Elephant in the Room", NeurIPS), 350 univariate series. Of its 23 series from NAB, 8 have
length, place and number of events as in NAB itself, but for one point at the end of the file and of each event; the
others were cut or labelled anew. AIOPS (IOPS there) and SMD (single channels there) were not matched; MSCMD is not in
it. What is in common then: the series, its labels, the metric with 250 thresholds and all buffers up to TSB-AD's period
rule. What is not: their hyperparameters were tuned on other series of the benchmark, ours on all of NAB, these 8
included; some of their detectors (CNN) take the head of each series as normal, ours no part of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.core.intervals import intervals_to_mask, runs_of
from tsad.core.reading import SeriesStream
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.numeric import fill_missing
from tsad.detectors.proposals.proposer import default_detection
from tsad.metrics.period_rule import period_rule
from tsad.metrics.vus import vus_pr

METHODS = ("IForest", "POLY", "MatrixProfile", "Sub-PCA", "Sub-KNN", "KMeansAD", "CNN", "MOMENT (ZS)", "MOMENT (FT)")
# TSB-AD's number, the file in shared data/NAB, published VUS-PR by METHODS
PUBLISHED: tuple[tuple[int, str, tuple[float, ...]], ...] = (
    (5, "realTraffic__occupancy_6005", (0.118, 0.164, 0.090, 0.129, 0.058, 0.062, 0.110, 0.129, 0.127)),
    (8, "artificialWithAnomaly__art_load_balancer_spikes",
     (0.240, 0.796, 0.736, 0.803, 0.174, 0.350, 0.373, 0.794, 0.793)),
    (9, "realTraffic__TravelTime_451", (0.175, 0.751, 0.208, 0.263, 0.091, 0.094, 0.198, 0.251, 0.249)),
    (13, "realTraffic__speed_t4013", (0.263, 0.783, 0.074, 0.859, 0.100, 0.074, 0.270, 0.759, 0.760)),
    (14, "realAdExchange__exchange-3_cpm_results", (0.083, 0.257, 0.147, 0.206, 0.205, 0.178, 0.089, 0.446, 0.472)),
    (17, "artificialWithAnomaly__art_increase_spike_density",
     (0.112, 0.878, 0.342, 0.408, 0.612, 0.821, 0.116, 0.287, 0.287)),
    (19, "realAWSCloudwatch__ec2_cpu_utilization_5f5533",
     (0.124, 0.221, 0.088, 0.161, 0.122, 0.110, 0.098, 0.307, 0.374)),
    (26, "realTraffic__speed_6005", (0.118, 0.266, 0.096, 0.183, 0.067, 0.061, 0.112, 0.385, 0.383)),
)  # fmt: skip


def as_published(series: Series) -> tuple[Series, BoolArray]:
    """The series and its labels [T] as TSB-AD has them: without the last point of the file and of each event."""
    truth = intervals_to_mask(series.labels or (), series.timestamps)
    for _, stop in runs_of(truth).tolist():
        truth[stop - 1] = False
    return series.slice(0, len(series) - 1), truth[:-1]


def read(data: Path) -> Iterator[tuple[int, Series, BoolArray, tuple[float, ...]]]:
    """Number, series, labels and published figures."""
    wanted = {name: (number, figures) for number, name, figures in PUBLISHED}
    source = workbench(settings(compose(["source=nab", f"source.root={data / 'NAB'}"]))).make_source()
    for item in SeriesStream(source.read(list(wanted))):
        yield wanted[item.point_id][0], *as_published(item.series), wanted[item.point_id][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--detectors", nargs="+", default=["patch", "isolation_forest", "poly", "sub_pca", "kmeans"])
    options = parser.parse_args()
    bench = workbench(settings(compose()))
    detectors = [bench.detector_named(name) for name in options.detectors]
    rows: list[FloatArray] = []
    print(f"{'id':>3} {'buffer':>6}" + "".join(f"{n[:13]:>14}" for n in options.detectors) + "  | published: ...")
    for number, series, truth, published in read(options.data):
        values = fill_missing(series.values[:, 0])[0]
        buffers = period_rule(values), period_rule(values, "corrected")
        scores = [default_detection(d, series).scores for d in detectors]
        both = [[vus_pr(truth, s, b) for s in scores if s is not None] for b in buffers]
        rows.append(np.array([*both[0], *published]))
        change = f"; corrected rule {buffers[1]}: {both[1][0]:.3f}" if buffers[1] != buffers[0] else ""
        print(f"{number:>3} {buffers[0]:>6}" + "".join(f"{v:>14.3f}" for v in both[0]) + change, flush=True)
    means = dict(zip([*options.detectors, *METHODS], np.mean(rows, axis=0), strict=True))
    print(f"\nmean VUS-PR of {len(rows)} series, ours, then published")
    for name, value in means.items():
        print(f"{name:>20} {value:.3f}")


if __name__ == "__main__":
    main()
