"""Which reviewed windows validate, and which train at which step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.training.seeding import generator

MIN_POSITIVE = 2  # windows with an anomaly needed on the validation side; fewer say nothing about overfitting


@dataclass(frozen=True)
class Split:
    """Positions of the windows that train and that validate.

    Attributes:
        kind: ``series`` (no series on both sides), ``windows`` (series may be on both sides) or ``none``.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    kind: str


def split(points: Sequence[str], positive: Sequence[bool], share: float, seed: int) -> Split:
    """Set about ``share`` of the windows aside for validation, stratified by whether they hold an anomaly.

    Whole series are set aside where that leaves both sides enough positive windows, so that neighbouring
    windows of one series do not leak; else single windows. Where even that leaves fewer than two positive windows
    to validate on, or more to validate than to train on, nothing is set aside and training runs its full steps.

    Args:
        points: point_id of each window.
        positive: whether each window holds an anomaly.
        share: of the windows; 0 = none.
    """
    flags = np.asarray(positive, bool)
    everything = tuple(range(len(flags)))
    want = {True: round(share * int(flags.sum())), False: round(share * int((~flags).sum()))}
    if want[True] < MIN_POSITIVE:
        return Split(everything, (), "none")
    rng = generator(seed, 1)
    for kind, chosen in (
        ("series", _by_series(points, flags, want, rng)), ("windows", _by_window(flags, want, rng))
    ):  # fmt: skip
        inside = int(flags[sorted(chosen)].sum()) if chosen else 0
        if inside >= MIN_POSITIVE and int(flags.sum()) - inside >= inside and 2 * len(chosen) <= len(flags):
            return Split(tuple(k for k in everything if k not in chosen), tuple(sorted(chosen)), kind)
    return Split(everything, (), "none")


def _by_series(
    points: Sequence[str], flags: np.ndarray, want: dict[bool, int], rng: np.random.Generator
) -> set[int]:
    """Series in random order, each taken while it overshoots neither count by more than one half."""
    members: dict[str, list[int]] = {}
    for k, point in enumerate(points):
        members.setdefault(point, []).append(k)
    names = sorted(members)
    left = dict(want)
    chosen: set[int] = set()
    for at in rng.permutation(len(names)):
        group = members[names[int(at)]]
        counts = {flag: sum(bool(flags[k]) == flag for k in group) for flag in (True, False)}
        useful = any(counts[f] and left[f] > 0 for f in counts)
        if useful and all(counts[f] <= max(left[f], 0) + (want[f] + 1) // 2 for f in counts):
            chosen.update(group)
            left = {f: left[f] - counts[f] for f in left}
    return chosen


def _by_window(flags: np.ndarray, want: dict[bool, int], rng: np.random.Generator) -> set[int]:
    chosen: set[int] = set()
    for flag, count in want.items():
        chosen.update(int(k) for k in rng.permutation(np.flatnonzero(flags == flag))[:count])
    return chosen


class NaturalDraws:
    """Endless batches in which each row comes as often as any other: windows without an anomaly keep their share.

    Every epoch is a fresh random order. With ``lengths``, stretches of it of ``POOL`` batches are sorted by length and
    cut into batches, which then come in random order: rows of a batch are of like length, so little is padding. The
    last batch of an epoch holds what is left.
    """

    POOL = 16

    def __init__(self, rows: int, size: int, seed: int, lengths: Sequence[int] | None = None) -> None:
        self._rows, self._size, self._seed = rows, size, seed
        self._lengths = None if lengths is None else np.asarray(lengths)

    def at(self, step: int) -> list[int]:
        """The batch of a step; it depends on the seed and the step alone."""
        epoch, place = divmod(step, -(-self._rows // self._size))
        rng = generator(self._seed, 2, epoch)
        order = rng.permutation(self._rows)
        if self._lengths is None:
            batches = [order[k : k + self._size] for k in range(0, self._rows, self._size)]
        else:
            pools = [order[k : k + self._size * self.POOL] for k in range(0, self._rows, self._size * self.POOL)]
            by_length = [pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools]
            cut = [pool[k : k + self._size] for pool in by_length for k in range(0, len(pool), self._size)]
            batches = [cut[k] for k in rng.permutation(len(cut))]
        return [int(row) for row in batches[place]]


class BalancedDraws:
    """Endless draws in which every second window holds an anomaly, whatever their share among the reviews.

    A window with an anomaly is thus drawn with weight 1 / (2 x number of such windows), any other with
    1 / (2 x number of others); each class is gone through in a fresh random order before it repeats. Where one
    class is empty, all draws come from the other. Inclusion probabilities play no part: a loss weighted by
    them would rest on the few rarely chosen windows, and P(abnormal | values) does not depend on how the window
    was chosen. They weight estimates (gold P/R/F1) instead.
    """

    def __init__(self, positive: Sequence[bool], seed: int) -> None:
        flags = np.asarray(positive, bool)
        self._classes = [c for c in (np.flatnonzero(flags), np.flatnonzero(~flags)) if len(c)]
        self._seed = seed

    def at(self, first: int, count: int) -> list[int]:
        """Draws ``first`` .. ``first + count - 1``; they depend on the seed and their number alone."""
        return [self._draw(number) for number in range(first, first + count)]

    def _draw(self, number: int) -> int:
        cursor, kind = divmod(number, len(self._classes))
        members = self._classes[kind]
        epoch, place = divmod(cursor, len(members))
        order = generator(self._seed, 2, kind, epoch).permutation(len(members))
        return int(members[order[place]])
