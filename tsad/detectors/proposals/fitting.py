"""Default weights from labelled series: what the calibrator starts from before anybody has reviewed anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.memory import normal_memory
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND, BoolArray, FloatArray
from tsad.detectors.proposals.calibrator import (
    FIRST_RIDGE,
    RIDGE,
    Calibrator,
    Defaults,
    averaged,
    fit_defaults,
)
from tsad.detectors.proposals.choose import USUAL_GAP, best_threshold, touches
from tsad.detectors.proposals.features import committee, memory
from tsad.detectors.proposals.features.table import FEATURES, FIRST_EDITION, PLACE
from tsad.detectors.proposals.proposer import Look, Proposer, look_at
from tsad.metrics.figures import counts_of, f1_of

if TYPE_CHECKING:
    from tsad.detectors.base import Detector

SYNTHETIC = ((48, 768), (48, 2048), (32, 4096), (12, 16384))  # series and points of each: four more groups
SEED = 777  # no stream of pre-training starts from it
FEWEST, MOST = 1, 8  # windows of a series that are answered where its memory is made up


@dataclass(frozen=True, eq=False)
class LabelledLook:
    """A series as a proposer sees it, with its labels.

    Attributes:
        truth: [T] bool.
    """

    look: Look
    truth: BoolArray

    @property
    def confirmed(self) -> BoolArray:
        """Which candidates share a point with something abnormal, [K]."""
        return touches(self.look.candidates.runs, self.truth)


def labelled_looks(detector: Detector, series: Iterable[tuple[Series, BoolArray]]) -> Iterator[LabelledLook]:
    """Candidates of one labelled series at a time; its scores and evidence are not kept."""
    for one, truth in series:
        yield LabelledLook(look_at(one, next(iter(detector.examine([one])))), truth)


def remembering_look(
    detector: Detector, series: Series, truth: BoolArray, length: int, most: int
) -> LabelledLook:
    """The series as it looks after reviews: one to eight windows drawn at random, answered from its labels.

    The draw is the same for the same series.

    Args:
        length: points of a window.
        most: points that are remembered.
    """
    rng = np.random.default_rng((SEED, len(series), int(truth.sum())))
    count = int(rng.integers(FEWEST, MOST + 1))
    starts = rng.integers(max(1, len(series) - length + 1), size=count)
    windows = [Window(series, int(a), min(int(a) + length, len(series))) for a in starts]
    known = normal_memory(((w, truth[w.start : w.stop]) for w in windows), most)
    return LabelledLook(look_at(series, next(iter(detector.with_memory(known).examine([series])))), truth)


def synthetic_groups(
    detector: Detector, sizes: Sequence[tuple[int, int]] = SYNTHETIC, seed: int = SEED
) -> dict[str, list[LabelledLook]]:
    """Candidates of synthetic series, by the series' length.

    Args:
        sizes: (series, points each) of each group.
        seed: another one than training's, so that the detector has not seen them.
    """
    from tsad.synthetic.generator import make_batch

    groups: dict[str, list[LabelledLook]] = {}
    for number, (count, length) in enumerate(sizes):
        batch = make_batch(np.random.default_rng((seed, number)), count, length)
        stamps = np.arange(length, dtype=np.int64) * NS_PER_SECOND
        values = [row.astype(np.float64)[:, None] for row in batch.values]
        series = [Series(f"synthetic-{length}-{k}", stamps, v) for k, v in enumerate(values)]
        found = zip(series, detector.examine(series), batch.labels, strict=True)
        groups[f"synthetic-{length}"] = [LabelledLook(look_at(s, e), label) for s, e, label in found]
    return groups


def fit_proposer(groups: Sequence[Sequence[LabelledLook]], unseen: Sequence[Sequence[LabelledLook]] = ()) -> Proposer:
    """A proposer before any review, its weights from labelled groups of series that all count the same.

    Args:
        groups: e.g. one per labelled set, and some synthetic ones; those without a candidate do not count.
        unseen: the groups whose candidates the threshold is chosen from, by their probabilities alone; none = all.
    """
    tables = [_table(group) for group in groups]
    calibrator = Calibrator(default_weights([table for table in tables if len(table[1])]))
    proposer = Proposer(calibrator, 0.5)
    rated = [proposer.rate(one.look) for group in unseen or groups for one in group]
    threshold, _ = best_threshold(rated, USUAL_GAP)
    return Proposer(calibrator, threshold)


def fit_without(
    name: str, groups: Mapping[str, Sequence[LabelledLook]], synthetic: Sequence[Sequence[LabelledLook]]
) -> Proposer:
    """A proposer before any review that has not seen the labels of one of the groups: of the others and synthetic ones.

    Its threshold is chosen from the others' candidates, where there is none from those of synthetic series.
    """
    others = [looks for other, looks in groups.items() if other != name]
    return fit_proposer([*others, *synthetic], others or synthetic)


def default_weights(groups: Sequence[tuple[FloatArray, BoolArray]]) -> Defaults:
    """The mean log odds of weights of all features and of those of the first edition.

    The former alone rank the development sets as well, but start so near to what one of them (NAB) needs that the first
    12 windows make it worse; the mean gains on all sets, and on real sets kept aside more evenly. What people have
    called normal counts only where some of the series were looked at with it: a feature that was always 0 has no scale.
    """
    optional = (*memory.NAMES, *committee.NAMES)
    seen = [name for name in optional if any(table[:, PLACE[name]].any() for table, _ in groups)]
    names = [name for name in FEATURES if name not in optional or name in seen]
    return averaged(fit_defaults(groups, FIRST_EDITION, FIRST_RIDGE), fit_defaults(groups, names, RIDGE))


def _table(group: Sequence[LabelledLook]) -> tuple[FloatArray, BoolArray]:
    kept = [one for one in group if len(one.look.candidates)]
    if not kept:
        return np.zeros((0, 0)), np.zeros(0, bool)
    return np.concatenate([one.look.features for one in kept]), np.concatenate([one.confirmed for one in kept])


def pooled_f1(proposer: Proposer, group: Sequence[LabelledLook]) -> tuple[float, float]:
    """Interval F1 and composite F1 of what is proposed of whole series, counts pooled over them."""
    counts = np.zeros(7)
    for one in group:
        runs, _ = proposer.proposals(proposer.rate(one.look), len(one.truth))
        counts += counts_of(runs_of(one.truth), runs, len(one.truth))
    return f1_of(counts)
