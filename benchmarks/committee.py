"""What a committee adds to the best of its members, leave one set out, paired by seed; a member of pure noise beside.

    OMP_NUM_THREADS=1 python -m benchmarks.committee --data ../shared/data --sets NAB MSCMD AIOPS_KPI
    OMP_NUM_THREADS=1 python -m benchmarks.committee --data ../shared/data --members patch poly chatts_tiny --noise
    OMP_NUM_THREADS=1 python -m benchmarks.committee speed --sets NAB --members patch poly chatts_tiny qwen_vl_tiny \\
        --second chatts_tiny qwen_vl_tiny --per-hour 0 0.01 1

Protocol of ``tsad learning_curve leave_out=true``: default weights of everybody are fitted on the other sets and on
synthetic series, then reviews correct them. The member to compare with is the one whose interval F1 on the *other*
sets is highest before any review: it is chosen before anything of the set is scored. Printed per set and number of
reviewed windows: interval F1 of the committee and of that member, the difference paired by seed with its 95% interval
over seeds; the same of the mean of the sets; what each member counts in the committee's log odds after the most
reviews (``--noise`` adds one that says nothing); windows of 512 points per second of each member. ``speed``: these
alone, of the committee, and of the committee that asks the members in ``--second`` for a second opinion under each
budget of windows per hour of a series' own time, with the share of the points that they were shown.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.config.composing import option
from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.detectors.committee.detector import Committee
from tsad.detectors.proposals.fitting import LabelledLook, fit_without, synthetic_groups
from tsad.detectors.proposals.proposer import Proposer
from tsad.steps.curve_protocol import Line, Split, by_calibrator, measured, subjects_of
from tsad.steps.sets import LabelledSet, open_sets

WINDOW = 512
COMMITTEE = "committee"
SYNTHETIC = ((24, 768), (24, 2048), (8, 4096))  # fewer than a release's: members may be slow
RESAMPLES = 10_000


class NoOptions(Options):
    """Nothing to choose."""


class Noise(Detector):
    """Says nothing: scores drawn anew for every series, the same ones for the same series."""

    name = "noise"
    options_model = NoOptions

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        """Uniform scores, [T] each."""
        return [np.random.default_rng(int(one.digest[:8], 16)).random(len(one)) for one in series]


class Compared:
    """Detectors that are compared, each examined once per set: lines by set, looks of synthetic series, seconds."""

    def __init__(self, detectors: dict[str, Detector], sets: Sequence[LabelledSet]) -> None:
        whole = detectors[COMMITTEE]
        assert isinstance(whole, Committee)
        self.members = list(whole.members)  # those of the committee, noise included
        self.lines: dict[str, dict[str, Line]] = {}
        self.synthetic: dict[str, list[list[LabelledLook]]] = {}
        for name, detector in detectors.items():
            begun, points = time.perf_counter(), 0
            self.lines[name] = {}
            for one in sets:
                self.lines[name][one.name] = Line(one.name, list(subjects_of(detector, one.labelled())))
                points += sum(len(s.timestamps) for s in self.lines[name][one.name].subjects)
            spent = time.perf_counter() - begun
            self.synthetic[name] = list(synthetic_groups(detector, SYNTHETIC).values())
            print(f"{name:<16}{points / WINDOW / spent:9.1f} windows/s  ({points} points, {spent:.0f} s)", flush=True)

    def base(self, name: str, apart: str) -> Proposer:
        """Default weights without the labels of one set."""
        groups = {key: [s.seen for s in line.subjects] for key, line in self.lines[name].items()}
        return fit_without(apart, groups, self.synthetic[name])


def curve(line: Line, base: Proposer, counts: Sequence[int], seeds: int, length: int) -> tuple[FloatArray, Proposer]:
    """Interval F1 by seed and reviewed windows, [S, N]; the proposer after the most reviews of the last seed."""
    found = np.zeros((seeds, len(counts)))
    after = base
    for seed in range(seeds):
        split = Split(line, seed, length, max(counts), 1)
        for at, count in enumerate(counts):
            told = by_calibrator(split, count, 0.0, base, True)
            found[seed, at] = measured(split, told, count, 0.0)["interval_f1"]
            after = told.proposer or base
    return found, after


def interval(differences: FloatArray) -> tuple[float, float]:
    """95% of the mean over seeds, resampled."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(RESAMPLES, len(differences)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def best_elsewhere(zero: dict[str, dict[str, float]], members: Sequence[str], apart: str) -> str:
    """The member with the highest interval F1 before any review on the other sets; of one set alone, the first."""

    def mean(name: str) -> float:
        others = [value for key, value in zero[name].items() if key != apart]
        return float(np.mean(others)) if others else 0.0

    return max(members, key=mean)


def counted(proposer: Proposer, members: Sequence[str]) -> dict[str, float]:
    """How much each member counts: sizes of its slopes, per deviation; the first one's are all other features'."""
    weights = dict(zip(proposer.calibrator.defaults.names, np.abs(proposer.calibrator.slopes()), strict=True))
    own = {name: sum(weights.get(f"member_{k}_{what}", 0.0) for what in ("says", "height"))
           for k, name in enumerate(members, 1) if k > 1}  # fmt: skip
    together = sum(value for key, value in weights.items() if key.startswith("committee_"))
    rest = sum(value for key, value in weights.items() if not key.startswith(("committee_", "member_")))
    return {members[0]: float(rest), "together": float(together), **{k: float(v) for k, v in own.items()}}


def speed(bench: Workbench, sets: Sequence[LabelledSet], members: Sequence[str], second: Sequence[str],
          budgets: Sequence[float]) -> None:  # fmt: skip
    """Print windows per second of processor time of each member, of all of them, and of a second opinion under each
    budget: what else the machine does plays no part.
    """
    series = [one for part in sets for one, _ in part.read()]
    points = sum(map(len, series))
    print(f"{len(series)} series, {points} points\n{'':<44}{'windows/s':>10}{'shown to the second':>22}", flush=True)
    described = [{"name": name, **option("detector", name)} for name in members]
    given: dict[str, Any] = {"members": described, "when_failing": "stop"}
    asked: dict[str, Detector] = {name: bench.detector_named(name) for name in members}
    asked[COMMITTEE] = Committee(**given, second_opinion=[], windows_per_hour=0.0)
    for budget in budgets if second else ():
        name = f"second opinion {', '.join(second)}, {budget:g}/h"
        asked[name] = Committee(**given, second_opinion=list(second), windows_per_hour=budget)
    for name, detector in asked.items():
        next(iter(detector.examine(series[:1])))  # loads weights and compiles
        begun, shown = time.process_time(), list[float]()
        for told in detector.examine(series):
            shown += [float(np.sum(o.asked)) for o in told.opinions if o.name in second and o.asked is not None]
        share = f"{sum(shown) / points / len(second):>21.1%}" if name.startswith("second") else ""
        print(f"{name:<44}{points / WINDOW / (time.process_time() - begun):>10.1f} {share}", flush=True)


def made(bench: Workbench, members: Sequence[str], noise: bool) -> dict[str, Detector]:
    """The members by name, then the committee of all of them."""
    parts = {name: bench.detector_named(name) for name in members}
    described = [{"name": name, **option("detector", name)} for name in members]
    if noise:  # described as another one: what a config names has to be tsad's or the user's own
        described.append({"name": "noise", **option("detector", "robust_zscore")})
    whole = Committee(members=described, second_opinion=[], windows_per_hour=0.0, when_failing="stop")
    if noise:
        whole.members["noise"] = Noise()
    return {**parts, COMMITTEE: whole}


def compare(compared: Compared, members: Sequence[str], counts: Sequence[int], seeds: int, length: int) -> None:
    """Print the tables."""
    names = [*members, COMMITTEE]
    sets = list(compared.lines[COMMITTEE])
    results: dict[str, dict[str, FloatArray]] = {name: {} for name in names}
    weights: list[dict[str, float]] = []
    for apart in sets:
        for name in names:
            found, after = curve(compared.lines[name][apart], compared.base(name, apart), counts, seeds, length)
            results[name][apart] = found
            if name == COMMITTEE:
                weights.append(counted(after, compared.members))
    zero = {name: {key: float(found[:, 0].mean()) for key, found in results[name].items()} for name in members}
    print(f"\n{'set':<12}{'reviewed':>9}{'committee':>11}{'best member':>13}  difference  95% over seeds   all members")
    differences = []
    for apart in sets:
        chosen = best_elsewhere(zero, members, apart)
        differences.append(results[COMMITTEE][apart] - results[chosen][apart])
        for at, count in enumerate(counts):
            each = "  ".join(f"{name} {results[name][apart][:, at].mean():.3f}" for name in members)
            row(apart, count, results[COMMITTEE][apart][:, at], results[chosen][apart][:, at], f"{chosen}; {each}")
    if len(sets) > 1:
        mean = np.mean(differences, axis=0)
        for at, count in enumerate(counts):
            low, high = interval(mean[:, at])
            print(f"{'mean':<12}{count:>9}{'':>24}  {mean[:, at].mean():>+10.3f}  {low:+.3f}..{high:+.3f}")
    print(f"\nsizes of slopes after {max(counts)} reviews, mean of the sets: " + ", ".join(
        f"{name} {np.mean([w[name] for w in weights]):.2f}" for name in weights[0]
    ))  # fmt: skip


def row(name: str, count: int, ours: FloatArray, other: FloatArray, members: str) -> None:
    """One line of the table."""
    low, high = interval(ours - other)
    print(f"{name:<12}{count:>9}{ours.mean():>11.3f}{other.mean():>13.3f}  {(ours - other).mean():>+10.3f}"
          f"  {low:+.3f}..{high:+.3f}   {members}", flush=True)  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["gain", "speed"], default="gain")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="of labelled sets")
    parser.add_argument("--sets", nargs="*", help="names of its folders; none = all")
    parser.add_argument("--members", nargs="+", default=["patch", "poly", "nearest_neighbour"])
    parser.add_argument("--reviews", type=int, nargs="+", default=[0, 25, 100])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--noise", action="store_true", help="one more member, whose scores are drawn at random")
    parser.add_argument("--points", type=int, default=0, help="of each series, the first so many (speed); 0 = all")
    parser.add_argument("--second", nargs="*", default=[], help="members that give a second opinion (speed)")
    parser.add_argument("--per-hour", type=float, nargs="+", default=[0.01, 1.0], help="their budgets (speed)")
    given = parser.parse_args()
    bench = workbench(settings(compose()))
    folders = [str(p) for p in sorted(given.data.iterdir()) if p.is_dir() and (not given.sets or p.name in given.sets)]
    print(f"load {os.getloadavg()[0]:.1f}; members {', '.join(given.members)}{' and noise' * given.noise}", flush=True)
    sets = open_sets(bench, folders, given.points if given.what == "speed" else 0)
    if given.what == "speed":
        speed(bench, sets, given.members, given.second, given.per_hour)
        return
    compared = Compared(made(bench, given.members, given.noise), sets)
    compare(compared, given.members, given.reviews, given.seeds, bench.windows.length)


if __name__ == "__main__":
    main()
