"""What the scales that the network of ``patch`` looks at, and its weight in the score, change on labelled sets.

    OMP_NUM_THREADS=1 python -m benchmarks.variants --sets ../shared/data/NAB long_shapes

VUS-PR (every tenth buffer) and AUC-PR, means over the series with an anomaly: first the network at other scales with
the blend as it ships and alone (``fit``: so many points as one that the series fits into one window, at most 64), then
the scales that ship with other weights of the network's log odds in the blend. Nothing is fitted; whoever chooses by
these figures has chosen on these sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.channels import Evidence
from tsad.detectors.patch import detector as module
from tsad.detectors.patch.blends import Blend, blend_for, blend_in
from tsad.detectors.patch.continued import machine_scores
from tsad.detectors.patch.detector import PatchDetector
from tsad.detectors.patch.windows import whole_scale
from tsad.metrics.ranking import auc_pr, vus_pr
from tsad.steps.sets import open_sets

SETS = ("AIOPS_KPI", "MSCMD", "NAB", "SMD")
SCALES = ("1,4,fit", "1,4", "1,fit", "4,fit", "1,2,4,fit", "1,4,16,fit", "1,3,9,fit", "1", "4", "fit")
WEIGHTS = (0.35, 0.5, 0.67, 0.85, 1.0)
Known = list[tuple[Series, BoolArray]]


def scales_named(name: str) -> Callable[[int, int], list[int]]:
    """What takes the place of ``windows.scales_for``."""

    def scales(total: int, length: int) -> list[int]:
        whole = whole_scale(total, length)
        wanted = {whole if part == "fit" else min(int(part), whole) for part in name.split(",")}
        return [1] if total <= length else sorted(wanted)

    return scales


def channels_of(detector: PatchDetector, one: Series) -> Iterator[tuple[FloatArray, Evidence]]:
    """The network's own scores [T] of each channel that varies, and its evidence."""
    held: dict[tuple[int, int], Evidence] = {}
    for _, channel, scores, _ in detector._channel_scores([one], held, {}):
        yield scores, held[0, channel]


def figures(detector: PatchDetector, known: Known, blends: list[Blend | None]) -> FloatArray:
    """[blends, 2]: means over series of VUS-PR and AUC-PR; ``None`` = the network alone."""
    found = []
    for one, truth in known:
        scored = list(channels_of(detector, one))
        rows = []
        for blend in blends:
            parts = [scores.copy() for scores, _ in scored]
            for part, (_, evidence) in zip(parts, scored, strict=True):
                if blend is not None:
                    blend_in(part, evidence, 1.0, blend)
            together = machine_scores(one, parts)
            rows.append((vus_pr(truth, together, step=10), auc_pr(truth, together)))
        found.append(rows)
    return np.asarray(np.mean(found, axis=0), np.float64)


def show(name: str, by_set: list[FloatArray], names: list[str]) -> None:
    """A line: the figures of each set, and the mean of those that are not made."""
    real = [row for row, one in zip(by_set, names, strict=True) if one != "long_shapes"]
    cells = [f"{row[0]:.3f}/{row[1]:.3f}" for row in [*by_set, np.mean(real, axis=0)]] if real else []
    print(f"{name:<34}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=[*(f"../shared/data/{name}" for name in SETS), "long_shapes"])
    parser.add_argument("--weights", default="", help="folder; none: those that ship")
    given = parser.parse_args()
    bench = workbench(settings(compose([f"detector.weights={given.weights}", "detector.blend=0"])))
    alone = bench.make_detector()
    assert isinstance(alone, PatchDetector)
    known = {one.name: [(s, t) for s, t in one.read() if t.any()] for one in open_sets(bench, given.sets, 0)}
    names = list(known)
    print(f"{'VUS-PR/AUC-PR':<34}" + "".join(f"{name:>14}" for name in [*names, "mean of real"]), flush=True)
    own = blend_for(alone._scoring().config.blend, 1)
    for scales in SCALES:
        module.scales_for = scales_named(scales)  # type: ignore[assignment]
        made = [figures(alone, known[name], [own, None]) for name in names]
        show(f"scales {scales}", [row[0] for row in made], names)
        show(f"scales {scales}, network alone", [row[1] for row in made], names)
    module.scales_for = scales_named(SCALES[0])  # type: ignore[assignment]
    made = [figures(alone, known[name], [replace(own, network=w) for w in WEIGHTS]) for name in names]
    for k, weight in enumerate(WEIGHTS):
        show(f"network's weight {weight}", [row[k] for row in made], names)


if __name__ == "__main__":
    main()
