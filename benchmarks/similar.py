"""Look-alikes' precision at 5 and 10 by verdict and kind, beside chance and neighbours in time; embeddings kept.

    OMP_NUM_THREADS=1 python -m benchmarks.similar --sets ../shared/data/NAB synthetic --embeddings shape base

Every candidate of a detector is confirmed or rejected by the labels. Of a query (confirmed ones and rejected ones, some
of each, by chance) the nearest others are taken that share neither time nor a true event with it; precision is the
share of them with the same verdict, or (of confirmed ones, where labels name kinds) of the same kind. ``chance`` is
that share among all, ``in time`` that of the 5 nearest in time on the same series. Nothing is learned here: verdicts
are those of labels, embeddings are what ``tsad similar`` compares by.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series, Window
from tsad.core.types import ANOMALY, BoolArray, FloatArray, IntArray
from tsad.detectors.base import Detector
from tsad.detectors.proposals.proposer import default_proposer, look_at
from tsad.embeddings.kept import KeptEmbedding
from tsad.embeddings.shape import ShapeEmbedding
from tsad.embeddings.stretches import around
from tsad.loop.embedding import base_embedding
from tsad.steps.sets import LabelledSet, open_sets

SETS = ("AIOPS_KPI", "MSCMD", "NAB")
NEAREST = (5, 10)
PER_SERIES = 60  # candidates of each series, the likeliest
QUERIES = 40  # of each verdict and set, at most
REJECTED = ""  # in place of a kind


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of a set: views [K], verdict as a kind [K] ("" = rejected), series, middle and true event of each [K].

    ``event`` is -1 where there is none.
    """

    views: list[Window]
    kinds: np.ndarray
    owner: IntArray
    middle: IntArray
    event: IntArray

    def others(self, query: int) -> BoolArray:
        """Those that share neither time nor a true event with it. [K]."""
        near = (self.owner == self.owner[query]) & np.array([_meet(v, self.views[query]) for v in self.views])
        same = (self.event == self.event[query]) & (self.event >= 0)
        return ~near & ~same


def _meet(one: Window, other: Window) -> bool:
    return one.start < other.stop and other.start < one.stop


def candidates_of(detector: Detector, labelled: Sequence[Series]) -> Candidates:
    """The likeliest candidates of each series, before any review."""
    views: list[Window] = []
    rows: list[tuple[str, int, int, int]] = []
    events = 0
    rater = default_proposer(detector.rated_as)
    for number, series in enumerate(labelled):
        rated = rater.rate(look_at(series, next(iter(detector.examine([series])))))
        truth = [(i, intervals_to_runs([i], series.timestamps)) for i in series.labels or ()]
        for k in np.sort(np.argsort(-rated.probability, kind="stable")[:PER_SERIES]):
            start, stop = (int(v) for v in rated.runs[k])
            own = [e for e, (_, run) in enumerate(truth) if len(run) and run[0, 0] < stop and start < run[0, 1]]
            views.append(around(series, start, stop))
            kind = truth[own[0]][0].label if own else REJECTED
            rows.append((kind, number, (start + stop) // 2, events + own[0] if own else -1))
        events += len(truth)
    kinds, owner, middle, event = zip(*rows, strict=True)
    return Candidates(views, np.array(kinds), np.array(owner), np.array(middle), np.array(event))


def orders(candidates: Candidates, away: FloatArray, query: int) -> tuple[IntArray, IntArray, IntArray]:
    """Others of a query: the most alike first, the nearest in time first (of its series), and in no order."""
    others = np.flatnonzero(candidates.others(query))
    alike = others[np.argsort(away[others], kind="stable")]
    own = others[candidates.owner[others] == candidates.owner[query]]
    in_time = own[np.argsort(np.abs(candidates.middle[own] - candidates.middle[query]), kind="stable")]
    return alike, in_time, others


def precision(candidates: Candidates, away: FloatArray, queries: IntArray, named: bool) -> list[float]:
    """Means over the queries: alike at 5 and 10, in time at 5, chance. away [Q, K]; named: by kind, else by verdict."""
    found = []
    for row, query in enumerate(queries.tolist()):
        kinds = candidates.kinds
        same = kinds == kinds[query] if named else (kinds == REJECTED) == (kinds[query] == REJECTED)
        alike, in_time, others = orders(candidates, away[row], query)
        if len(others) >= max(NEAREST):
            near = same[in_time[: NEAREST[0]]].mean() if len(in_time) else np.nan
            found.append([*(same[alike[:n]].mean() for n in NEAREST), near, same[others].mean()])
    return np.nanmean(found, axis=0).tolist() if found else [float("nan")] * 4


def drawn(candidates: Candidates, seed: int = 0) -> Iterator[tuple[str, IntArray, bool]]:
    """Queries by name: confirmed ones, rejected ones, and those of each kind that at least two events have."""
    rng = np.random.default_rng(seed)
    confirmed = candidates.kinds != REJECTED
    for name, own in (("confirmed", confirmed), ("rejected", ~confirmed)):
        rows = np.flatnonzero(own)
        yield name, rng.permutation(rows)[:QUERIES], False
    for kind in sorted(set(candidates.kinds[confirmed].tolist()) - {ANOMALY}):
        own = candidates.kinds == kind
        if len(set(candidates.event[own].tolist())) > 1:
            yield kind, rng.permutation(np.flatnonzero(own))[:QUERIES], True


def measure(one: LabelledSet, detector: Detector, names: Sequence[str], most: int, folder: Path) -> None:
    """Print a row per embedding and kind of query, and what was kept at a second look."""
    labelled = [series for series, _ in one.labelled()][:most]
    candidates = candidates_of(detector, labelled)
    for name in names:
        model = KeptEmbedding(ShapeEmbedding() if name == "shape" else base_embedding(detector, folder), folder)
        table, _ = model.of(candidates.views)
        for queries_of, queries, named in drawn(candidates):
            figures = precision(candidates, table.distances(queries), queries, named)
            cells = " ".join(f"{figure:>7.3f}" for figure in figures)
            print(f"{one.name:<12} {name:<6} {queries_of:<18} {len(queries):>7} {cells}", flush=True)
        again = model.of(candidates.views)[1]
        print(f"{one.name:<12} {name:<6} kept at a second look: {again} of {len(candidates.views)}", flush=True)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[f"../shared/data/{name}" for name in SETS])
    parser.add_argument("--detector", default="patch")
    parser.add_argument("--embeddings", nargs="+", choices=["shape", "base"], default=["shape"])
    parser.add_argument("--series", type=int, default=1000, help="of each set, the first so many")
    options = parser.parse_args(given)
    bench: Workbench = workbench(settings(compose([f"detector={options.detector}"])))
    print(f"{'set':<12} {'by':<6} {'queries':<18} {'count':>7} {'at 5':>7} {'at 10':>7} {'in time':>7} {'chance':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        for one in open_sets(bench, options.sets, 0):
            measure(one, bench.make_detector(), options.embeddings, options.series, Path(scratch))


if __name__ == "__main__":
    main()
