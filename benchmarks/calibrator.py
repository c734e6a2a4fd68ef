"""Fits the calibrator's default weights and says how good proposals are before any review.

    OMP_NUM_THREADS=1 python -m benchmarks.calibrator --data ../shared/data
    OMP_NUM_THREADS=1 python -m benchmarks.calibrator --data ../shared/data --detectors patch --write

Weights come from the labelled sets under ``--data`` (each folder a set, each set counting the same) and from synthetic
series of four lengths, drawn from other seeds than training's. Printed per detector: interval F1 and composite F1 of
whole series, counts pooled per set, in sample and with the set's own labels left out. ``--write`` puts the weights
into ``tsad/detectors/proposals/defaults.json``; entries of other detectors stay. With ``--remember`` they also read
what people have called normal. ``any``, for a detector without its own, is fitted to the candidates of all detectors
named, and only where several are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.core.series import Series
from tsad.detectors.base import Detector
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.proposals.calibrator import to_json
from tsad.detectors.proposals.fitting import (
    SEED,
    SYNTHETIC,
    LabelledLook,
    fit_proposer,
    fit_without,
    labelled_looks,
    pooled_f1,
    remembering_look,
    synthetic_groups,
)
from tsad.detectors.proposals.proposer import ANY, DEFAULTS, Proposer
from tsad.steps.sets import LabelledSet, open_sets
from tsad.synthetic.generator import GENERATOR_VERSION

DETECTORS = ("patch", "robust_zscore", "isolation_forest", "poly", "sub_pca", "kmeans", "nearest_neighbour")
Groups = dict[str, list[LabelledLook]]


class SharedEvidence:
    """A detector whose evidence is that of the series alone, which is computed once for all such detectors."""

    def __init__(self, detector: Detector, known: dict[str, Examined]) -> None:
        self.detector, self.known = detector, known

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        """As :meth:`Detector.examine`."""
        for one in series:
            if one.digest not in self.known:
                self.known[one.digest] = Examined.plain(one, np.zeros(len(one)))
            yield replace(self.known[one.digest], scores=self.detector.score([one])[0])


def sharing(detector: Detector, known: dict[str, Examined]) -> Detector:
    """The detector, with shared evidence where it has scores and examines a series as most do."""
    plain = type(detector).examine is Detector.examine and detector.scored
    return cast(Detector, SharedEvidence(detector, known)) if plain else detector


def candidates(detector: Detector, sets: Sequence[LabelledSet]) -> tuple[Groups, Groups]:
    """By group: of the labelled sets, with those of their series that hold nothing abnormal, and synthetic ones."""
    return {one.name: list(labelled_looks(detector, one.labelled())) for one in sets}, synthetic_groups(detector)


def remember(real: Groups, detector: Detector, sets: Sequence[LabelledSet], length: int, most: int) -> None:
    """Add each series of the labelled sets as it looks after some reviews."""
    for one in sets:
        real[one.name] += [remembering_look(detector, s, truth, length, most) for s, truth in one.labelled()]


def report(name: str, real: Groups, synthetic: Groups) -> Proposer:
    """Prints figures in sample and with each set left out, and returns the proposer fitted on everything."""
    everything = fit_proposer([*real.values(), *synthetic.values()], list(real.values()))
    rows = []
    for set_name, group in real.items():
        apart = fit_without(set_name, real, list(synthetic.values()))
        rows.append((*pooled_f1(everything, group), *pooled_f1(apart, group)))
        print(f"{name:<18}{set_name:<14}" + "".join(f"{v:10.3f}" for v in rows[-1]), flush=True)
    print(f"{name:<18}{'mean':<14}" + "".join(f"{v:10.3f}" for v in np.mean(rows, axis=0)), flush=True)
    return everything


def entry(proposer: Proposer, provenance: dict[str, Any]) -> dict[str, Any]:
    """What ``defaults.json`` says of one detector."""
    return {**to_json(proposer.calibrator.defaults), "threshold": proposer.threshold, "provenance": provenance}


def provenance(detectors: Sequence[Detector], real: Groups) -> dict[str, Any]:
    """What the weights were fitted to."""
    return {
        "detectors": {d.name: {"config": d.config_hash, "weights": d.base_reference().get("sha256", "")}
                      for d in detectors},
        "sets": {name: len({one.look.point_id for one in looks}) for name, looks in real.items()},
        "synthetic": {"generator": GENERATOR_VERSION, "seed": SEED, "series": [list(size) for size in SYNTHETIC]},
    }  # fmt: skip


def write(entries: dict[str, dict[str, Any]]) -> None:
    """Put the entries into ``defaults.json``, others stay."""
    stated = json.loads(DEFAULTS.read_text(encoding="utf-8")) if DEFAULTS.exists() else {}
    partial = DEFAULTS.with_suffix(".partial")
    partial.write_text(json.dumps({**stated, **entries}, indent=1) + "\n", encoding="utf-8")
    partial.replace(DEFAULTS)
    print(f"wrote {', '.join(entries)} into {DEFAULTS}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="of labelled sets")
    parser.add_argument("--detectors", type=lambda text: text.split(","), default=list(DETECTORS))
    parser.add_argument("--remember", action="store_true", help="each series once more, with what reviews call normal")
    parser.add_argument("--write", action="store_true", help="put the weights into defaults.json")
    given = parser.parse_args()
    bench = workbench(settings(compose()))
    sets = open_sets(bench, [str(p) for p in sorted(given.data.iterdir()) if p.is_dir()], 0)
    print(f"{'detector':<18}{'set':<14}{'interval':>10}{'composite':>10}{'interval':>10}{'composite':>10}   "
          "F1 in sample, then with the set left out")  # fmt: skip
    entries: dict[str, dict[str, Any]] = {}
    all_real: Groups = {}
    all_synthetic: Groups = {}
    made: list[Detector] = []
    known: dict[str, Examined] = {}
    for name in given.detectors:
        started, detector = time.perf_counter(), bench.detector_named(name)
        real, synthetic = candidates(sharing(detector, known), sets)
        if given.remember:
            remember(real, detector, sets, bench.windows.length, bench.windows.remembered)
        proposer = report(name, real, synthetic)
        entries[detector.name] = entry(proposer, provenance([detector], real))
        made.append(detector)
        for pool, found in ((all_real, real), (all_synthetic, synthetic)):
            for group, looks in found.items():
                pool.setdefault(group, []).extend(looks)
        print(f"{name:<18}threshold {proposer.threshold:.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    if len(made) > 1:
        entries[ANY] = entry(report(ANY, all_real, all_synthetic), provenance(made, all_real))
    if given.write:
        write(entries)


if __name__ == "__main__":
    main()
