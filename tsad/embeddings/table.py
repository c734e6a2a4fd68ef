"""Vectors of one embedding, and which of them lie near each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tsad.core.errors import EmbeddingError
from tsad.core.types import BoolArray, FloatArray, IntArray

FARTHEST = 2.0  # distance of two directions that are opposite


@dataclass(frozen=True, eq=False)
class Embedded:
    """What one embedding made of windows or stretches.

    Attributes:
        identity: of the embedding: its recipe, or the digest of its base weights.
        vectors: [N, D].
    """

    identity: str
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    def with_others(self, others: Embedded) -> Embedded:
        """These and the others, in this order.

        Raises:
            EmbeddingError: they are of another base.
        """
        if others.identity != self.identity:
            raise EmbeddingError(
                f"vectors of {others.identity[:24]} cannot be compared with those of {self.identity[:24]}",
                "Embed both with one base: the cache keeps each under its own digest.",
            )
        return Embedded(self.identity, np.concatenate((self.vectors, others.vectors)))

    @cached_property
    def directions(self) -> FloatArray:
        """[N, D] of length 1; 0 stays 0."""
        vectors = np.asarray(self.vectors, np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        return vectors / np.where(lengths > 1e-12, lengths, 1.0)[:, None]

    def distances(self, rows: IntArray) -> FloatArray:
        """From each of the named vectors to all, 0..2; what never varies is as far from the rest as it gets. [K, N]."""
        own, every = self.directions[rows], self.directions
        near = np.clip(own @ every.T, -1.0, 1.0)
        away = np.sqrt(2.0 - 2.0 * near)
        still: BoolArray = ~np.asarray(every.any(axis=1))
        mine = still[rows]
        away[mine[:, None] != still[None, :]] = FARTHEST
        away[mine[:, None] & still[None, :]] = 0.0
        return away

    def nearest(self, rows: IntArray) -> FloatArray:
        """From every vector to the nearest of the named ones; the farthest there is where none is named. [N]."""
        return self.distances(rows).min(axis=0) if len(rows) else np.full(len(self), FARTHEST)


def centre_radii(table: Embedded, count: int, first: int, known: IntArray) -> FloatArray:
    """How far each vector lies from what came before it in a greedy k-centre order. [N] in 0..2.

    The order starts from the ``known`` vectors (or ``first`` without any) and takes the vector farthest from all taken
    so far, ``count`` times (Gonzalez 1985, Clustering to minimize the maximum intercluster distance). Those that are
    not taken have the distance to the nearest taken one, which is never larger.
    """
    nearest, radii = table.nearest(known), np.full(len(table), -1.0)
    taken: BoolArray = np.zeros(len(table), bool)
    taken[known] = True
    for number in range(min(count, int((~taken).sum()))):
        best = first if number == 0 and not len(known) else int(np.where(taken, -1.0, nearest).argmax())
        radii[best], taken[best] = nearest[best], True
        nearest = np.minimum(nearest, table.distances(np.array([best]))[0])
    return np.where(radii >= 0, radii, nearest)


def near_identical(outlines: list[FloatArray], within: float) -> IntArray:
    """Groups of windows whose outlines differ by at most ``within`` anywhere from that of the group's first. [N].

    A group bears the number of its first window. Outlines of different sizes are never alike.
    """
    groups = np.arange(len(outlines), dtype=np.int64)
    sizes = np.array([len(outline) for outline in outlines])
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        values = np.stack([outlines[k] for k in members])
        key = values[:, int(values.std(axis=0).argmax())]  # who differs here by more differs by more
        order = np.argsort(key, kind="stable")
        ordered, free = key[order], np.ones(len(members), bool)
        lows = np.searchsorted(ordered, key - within)
        highs = np.searchsorted(ordered, key + within, side="right")
        for first in range(len(members)):
            if free[first]:
                near = order[lows[first] : highs[first]]
                near = near[free[near]]
                own = near[(np.abs(values[near] - values[first]) <= within).all(axis=1)]
                free[own] = False
                groups[members[own]] = members[first]
    return groups


def likeness_of(away: FloatArray) -> FloatArray:
    """Distances as likeness: 1 = the same, 0 = as far as it gets or farther."""
    likeness: FloatArray = (1.0 - away / FARTHEST).clip(0, 1)
    return likeness


def twins_of(reviewed: list[FloatArray], open_ones: list[FloatArray], within: float) -> tuple[IntArray, BoolArray]:
    """Groups of open windows that are all but the same, and which of them people have answered in another one.

    Args:
        reviewed, open_ones: outlines, as for :func:`near_identical`.

    Returns:
        [N] and [N], of the open ones.
    """
    groups = near_identical([*reviewed, *open_ones], within)[len(reviewed) :]
    return groups, groups < len(reviewed)
