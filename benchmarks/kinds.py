"""How often the network names the kind of an anomaly rightly, and which kinds it takes for which.

    OMP_NUM_THREADS=1 python -m benchmarks.kinds [--weights FOLDER] [--series 400]

Series come from the generator with a seed that no training uses. Two figures: over all labelled stretches, as if they
had been proposed exactly so; and over the detector's own proposals that overlap exactly one labelled stretch. The table
counts the first: rows are what it was, columns what it was called, in percent of the row.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from tsad.core.intervals import intervals_to_runs, runs_of
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, FloatArray
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.patch.detector import PatchDetector
from tsad.detectors.patch.kinds import confusion
from tsad.detectors.proposals.proposer import as_intervals, default_proposer, look_at
from tsad.files.locate import shipped
from tsad.synthetic.coupled import MACHINE_KINDS
from tsad.synthetic.generator import GENERATOR_VERSION, make_batch

SEED = (0x5EED, 41)  # of two numbers that no training begins with
LENGTHS = (1024, 4096, 16384)
Pairs = list[tuple[int, int]]  # what it was and what it was called, positions in MACHINE_KINDS


def detector_of(weights: str) -> PatchDetector:
    """``detector=patch`` as its YAML has it, with these weights."""
    options = yaml.safe_load((shipped("conf") / "detector" / "patch.yaml").read_text(encoding="utf-8"))
    return PatchDetector(**{k: v for k, v in options.items() if k != "_target_"} | {"weights": weights})


def named(detector: PatchDetector, count: int) -> tuple[Pairs, Pairs]:
    """True and told kinds of labelled stretches, and of proposals, over ``count`` series."""
    stretches: Pairs = []
    proposals: Pairs = []
    proposer = default_proposer(detector.rated_as)
    for k, length in enumerate(LENGTHS):
        rows = max(1, count // len(LENGTHS))
        batch = make_batch(np.random.default_rng((*SEED, k)), rows, length)
        stamps = np.arange(length, dtype=np.int64) * NS_PER_SECOND
        for row in range(rows):
            series = Series(f"{length}-{row}", stamps, batch.values[row, :, None].astype(np.float64))
            (examined,) = detector.examine([series])
            if examined.kinds is None:
                continue  # nothing varies
            runs, kinds = runs_of(batch.labels[row]), batch.kinds[row]
            stretches += [(_kind(kinds[a:b]), _told(examined, a, b)) for a, b in runs.tolist()]
            rated = proposer.rate(look_at(series, examined))
            own = as_intervals(series, rated.runs, rated.probability)
            for a, b in intervals_to_runs([i for i in own if i.score >= proposer.threshold], stamps).tolist():
                hit = [(s, e) for s, e in runs.tolist() if a < e and s < b]
                if len(hit) == 1:
                    proposals.append((_kind(kinds[slice(*hit[0])]), _told(examined, a, b)))
    return stretches, proposals


def _told(examined: Examined, start: int, stop: int) -> int:
    told = examined.kind_of(start, stop)
    assert told is not None, "the weights name no kinds"
    return MACHINE_KINDS.index(told[0])


def _kind(kinds: np.ndarray) -> int:
    """The commonest kind of a stretch."""
    return int(Counter(kinds.tolist()).most_common(1)[0][0])


def accuracy(pairs: Pairs) -> float:
    return float(np.mean([a == b for a, b in pairs]))


def table(counts: FloatArray) -> str:
    """The confusion table without the normal kind, in percent of each row that occurs."""
    names = MACHINE_KINDS[1:]
    shown = counts[1:, 1:]
    width = max(map(len, names))
    lines = [" " * width + "     n " + "".join(f"{k + 1:>4}" for k in range(len(names)))]
    for k, (name, row) in enumerate(zip(names, shown, strict=True)):
        share = row / max(row.sum(), 1) * 100
        cells = "".join(f"{v:>4.0f}" if v >= 0.5 else "   ." for v in share)
        lines.append(f"{name:>{width}} {int(row.sum()):>5} {cells}  {k + 1}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="", help="folder of weights; those that ship with tsad otherwise")
    parser.add_argument("--series", type=int, default=300)
    options = parser.parse_args()
    detector = detector_of(str(Path(options.weights)) if options.weights else "")
    stretches, proposals = named(detector, options.series)
    pairs = np.array(stretches).reshape(-1, 2)
    counts = confusion(pairs[:, 0], pairs[:, 1], len(MACHINE_KINDS))
    most = max(Counter(a for a, _ in stretches).values()) / len(stretches)
    print(f"generator {GENERATOR_VERSION}; commonest kind {most:.3f}")
    print(f"labelled stretches   {accuracy(stretches):.3f} of {len(stretches)}")
    print(f"proposals of one     {accuracy(proposals):.3f} of {len(proposals)}")
    print(table(counts))


if __name__ == "__main__":
    main()
