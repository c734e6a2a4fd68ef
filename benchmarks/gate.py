"""How often the gate promotes a challenger that is no better: the whole rule, on gold sets made to order.

    python -m benchmarks.gate [--trials N]

Every challenger here is a null: on the series it is judged for, it has the same expected interval F1 and composite
F1 as the champion. ``same`` decides anew about every interval by the same skill; ``near`` about three in ten of them;
``trade`` finds more intervals and pays with false alarms. In ``series`` each version has a skill of its own on every
series, drawn from one distribution: nothing is gained over series, much on the ones that happen to be gold. The rule
answers for that where there are enough series to be swapped as wholes; with fewer, its promise is for those series
alone, and the figure, marked by a star, says how far that is from a promise for others.

Printed per null and gold set: share of challengers promoted, beside alpha and the standard error. The rule is that
of ``conf/gold/default.yaml``, and a trial takes the gate's own code.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.config import compose, settings
from tsad.core.options import GoldOptions
from tsad.metrics.gate import Decision, decide, level_of
from tsad.metrics.paired import least_series, paired_tests
from tsad.metrics.units import Unit

SLOT, LENGTH, PAD = 120, 16, 8  # points per true interval and its surroundings, of an interval, and beyond it
NULLS = ("same", "near", "trade", "series")
GOLD_SETS = ((1, 8), (1, 40), (2, 12), (4, 6), (5, 6), (8, 4), (20, 3), (50, 3))  # series, true intervals in each
REDRAWN = 0.3  # near: share of decisions that the challenger takes anew
SPREAD = 0.7  # series: standard deviation of a version's skill over series, in logits


@dataclass(frozen=True)
class Skill:
    """How a version answers: chances of finding an interval and of a false alarm beside it, and points too many."""

    recall: float
    alarms: float
    pad: float


CHAMPION = Skill(0.5, 0.4, PAD)


def traded(recall: float) -> Skill:
    """The skill with another recall and the champion's expected interval F1 and composite F1.

    Interval F1 is 2 r / (1 + r + a) with recall r and alarms a per interval; composite F1 is the harmonic mean of r and
    point precision, r L / (r (L + pad) + a L). Both equations are solved for a and pad.
    """
    ratio = 2 * CHAMPION.recall / (1 + CHAMPION.recall + CHAMPION.alarms)
    alarms = 2 * recall / ratio - 1 - recall
    composite = _harmonic(CHAMPION.recall, _precision(CHAMPION))
    precision = composite * recall / (2 * recall - composite)
    pad = LENGTH / precision - LENGTH - alarms * LENGTH / recall
    return Skill(recall, alarms, pad)


def _precision(skill: Skill) -> float:
    return skill.recall * LENGTH / (skill.recall * (LENGTH + skill.pad) + skill.alarms * LENGTH)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b)


def null_units(rng: np.random.Generator, null: str, series: int, intervals: int) -> tuple[list[Unit], list[Unit]]:
    """A gold set as champion and challenger answer it: one unit per series, a true interval per slot."""
    champion: list[Unit] = []
    challenger: list[Unit] = []
    for number in range(series):
        truth = np.zeros((intervals, SLOT), bool)
        truth[:, 20 : 20 + LENGTH] = True
        skills = CHAMPION, traded(0.6) if null == "trade" else CHAMPION
        if null == "series":
            skills = _of_series(rng), _of_series(rng)
        before, after = (_answers(rng, skill, intervals) for skill in skills)
        if null == "near":
            kept = rng.random(intervals) >= REDRAWN
            after[kept] = before[kept]
        for units, answers in ((champion, before), (challenger, after)):
            units.append(Unit(f"s{number}", truth.ravel(), answers.ravel()))
    return champion, challenger


def _of_series(rng: np.random.Generator) -> Skill:
    odds = np.array([p / (1 - p) for p in (CHAMPION.recall, CHAMPION.alarms)]) * np.exp(SPREAD * rng.normal(size=2))
    recall, alarms = (odds / (1 + odds)).tolist()
    return Skill(recall, alarms, CHAMPION.pad)


def _answers(rng: np.random.Generator, skill: Skill, intervals: int) -> np.ndarray:
    """What a version proposes in each slot, [intervals, SLOT] bool."""
    at, proposed = np.arange(SLOT), np.zeros((intervals, SLOT), bool)
    hit, alarm = rng.random(intervals) < skill.recall, rng.random(intervals) < skill.alarms
    stop = 20 + LENGTH + rng.integers(0, max(1, round(2 * skill.pad)) + 1, intervals)
    proposed |= hit[:, None] & (at >= 20) & (at < stop[:, None])
    begin = rng.integers(75, 95, intervals)
    return proposed | (alarm[:, None] & (at >= begin[:, None]) & (at < begin[:, None] + LENGTH))


def verdict(gold: GoldOptions, champion: Sequence[Unit], challenger: Sequence[Unit], intervals: int) -> Decision:
    """The gate's, as EVALUATE and PROMOTE come to it."""
    gains = paired_tests(
        champion, challenger, (gold.metric, gold.guard), level=level_of(gold), resamples=gold.resamples, seed=gold.seed
    )
    return decide(gold, intervals=intervals, gains=gains)


def promoted_share(gold: GoldOptions, null: str, series: int, intervals: int, trials: int) -> float:
    """Share of null challengers that the gate promotes."""
    promoted = 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, NULLS.index(null), series, intervals])
        promoted += verdict(gold, *null_units(rng, null, series, intervals), series * intervals).promoted
    return promoted / trials


def main() -> int:
    parser = argparse.ArgumentParser(description="False promotions of the gate, simulated.")
    parser.add_argument("--trials", type=int, default=300, help="challengers per null and gold set")
    trials, started = parser.parse_args().trials, time.perf_counter()
    gold = settings(compose(["gold=default"])).gold
    limit, wholes = gold.alpha, least_series(gold.alpha / 2)
    error = np.sqrt(limit * (1 - limit) / trials)
    print(f"gold.alpha={limit:g}, gold.margin={gold.margin:g}; {trials} challengers each, standard error {error:.3f}")
    print("series x intervals  " + "".join(f"{null:>9}" for null in NULLS))
    beyond = 0
    for series, intervals in GOLD_SETS:
        shares = {null: promoted_share(gold, null, series, intervals, trials) for null in NULLS}
        outside = {null: null == "series" and series < wholes for null in NULLS}
        beyond += sum(share > limit + 2 * error and not outside[null] for null, share in shares.items())
        cells = "".join(f"{share:8.3f}{'*' if outside[null] else ' '}" for null, share in shares.items())
        print(f"{series:6} x {intervals:<11}{cells}", flush=True)
    print(f"* fewer than {wholes} series: promised for those series alone")
    print(f"{beyond} above alpha by more than two standard errors; {time.perf_counter() - started:.0f} s")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
