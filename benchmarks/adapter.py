"""What a LoRA adapter adds to the calibrator: both learn from the same simulated reviews, unseen blocks are scored.

    OMP_NUM_THREADS=1 python -m benchmarks.adapter --data ../shared/data --sets AIOPS_KPI NAB --reviews 50 --seeds 2

Protocol of ``tsad learning_curve``. Printed per set, mean over seeds: interval and composite F1 of the calibrator on
the base, of the calibrator on the adapted network whether or not it helps, and of what ``tsad train`` would take (the
adapter only where its validation loss fell), with the seconds that training took. The default weights that ship were
fitted to these sets under the unadapted network, which speaks for the base: with ``--leave-out`` they are fitted to the
other sets under ``--data`` and synthetic series alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.config.tuning import adapter_for
from tsad.config.workbench import Workbench
from tsad.core.intervals import mask_to_intervals
from tsad.core.recording import NoRecord
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.tuning import TuningCall
from tsad.detectors.proposals.fitting import fit_without, labelled_looks, synthetic_groups
from tsad.detectors.proposals.proposer import Proposer, default_proposer
from tsad.steps.curve_protocol import Line, Split, answers, by_calibrator, measured, subjects_of
from tsad.steps.sets import open_sets
from tsad.training.datasets import build
from tsad.training.small import SmallTuner


def dataset(split: Split, pairs: list[tuple[Series, np.ndarray]], reviews: int, context: int) -> DatasetVersion:
    """The reviewed windows as a training set."""
    _, said = answers(split, reviews, 0.0)
    reviewed = []
    for a, b in split.windows[:reviews]:
        k = int(np.searchsorted(split.line.starts, a, side="right")) - 1
        window = Window(pairs[k][0], int(a - split.line.starts[k]), int(b - split.line.starts[k]))
        truth = mask_to_intervals(said[a:b], window.timestamps)
        choice = Choice(window, 1.0, "benchmark", Purpose.TRAIN)
        reviewed.append(ReviewedWindow(choice, (Annotation("labels", truth),), ReviewState.CORRECTED, truth))
    return build(reviewed, Purpose.TRAIN, context)


def left_out(bench: Workbench, data: Path) -> dict[str, Proposer]:
    """By set: the proposer before any review that has not seen its labels."""
    detector = bench.make_detector()
    sets = open_sets(bench, [str(p) for p in sorted(data.iterdir()) if p.is_dir()], 0)
    groups = {one.name: list(labelled_looks(detector, one.labelled())) for one in sets}
    synthetic = list(synthetic_groups(detector).values())
    return {name: fit_without(name, groups, synthetic) for name in groups}


def compared(
    bench: Workbench, pairs: list[tuple[Series, np.ndarray]], reviews: int, seed: int, base: Proposer | None
) -> list[float]:
    """Interval and composite F1 of base, adapted and taken; share taken; seconds of training."""
    detector = bench.make_detector()
    base = base or default_proposer(detector.rated_as)
    line = Line("set", list(subjects_of(detector, pairs)))
    split = Split(line, seed, bench.windows.length, reviews, 1)
    before = measured(split, by_calibrator(split, reviews, 0.0, base, True), reviews, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        version = dataset(split, pairs, reviews, bench.windows.context)
        call = TuningCall(folder=Path(folder))
        result = SmallTuner().fit(detector, version, adapter_for(bench.adapter, detector), call, NoRecord())  # type: ignore[arg-type]
        found = [before["interval_f1"], before["composite_f1"]]
        if result.adapter is None:
            return [*found, *found, *found, 0.0, 0.0]
        adapted = Line("set", list(subjects_of(detector.with_adapter(result.adapter), pairs)))
    again = Split(adapted, seed, bench.windows.length, 0, 1)
    again.windows = split.windows  # the same windows, whatever the adapted network thinks of them
    after = measured(again, by_calibrator(again, reviews, 0.0, base, True), reviews, 0.0)
    new = [after["interval_f1"], after["composite_f1"]]
    metrics = result.metrics
    taken = metrics.get("validation_loss", np.inf) < metrics.get("validation_loss_start", -np.inf)
    return [*found, *new, *(new if taken else found), float(taken), metrics["train_seconds"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=["AIOPS_KPI", "MSCMD", "NAB", "SMD"])
    parser.add_argument("--reviews", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--leave-out", action="store_true", help="default weights without the set's own labels")
    parser.add_argument("overrides", nargs="*", help="e.g. adapter.learning_rate=0.001")
    asked = parser.parse_args()
    overrides = ["adapter.min_positive=4", *asked.overrides]  # small sets have few windows with an anomaly
    bench = workbench(settings(compose(overrides), overrides))
    bases = left_out(bench, asked.data) if asked.leave_out else {}
    print(f"{'set':<12}{'base':>14}{'adapted':>16}{'taken':>16}{'share':>8}{'seconds':>9}   interval / composite F1")
    for name in asked.sets:
        (one,) = open_sets(bench, [str(asked.data / name)], 0)
        pairs = [(series, truth) for series, truth in one.read()]
        base = bases.get(one.name)
        seeds = [compared(bench, pairs, asked.reviews, seed, base) for seed in range(asked.seeds)]
        rows = np.array(seeds).mean(axis=0)
        pairs_of = [f"{rows[k]:.3f} / {rows[k + 1]:.3f}" for k in (0, 2, 4)]
        print(f"{name:<12}" + "".join(f"{p:>16}" for p in pairs_of) + f"{rows[6]:>8.2f}{rows[7]:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
