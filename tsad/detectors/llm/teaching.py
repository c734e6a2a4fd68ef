"""Windows that tiny language models are taught on: the generator's, and plain ones to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, BoolArray, FloatArray, IntArray
from tsad.detectors.llm.blocks import Piece
from tsad.detectors.llm.reader import Block
from tsad.synthetic.anomalies import KINDS
from tsad.synthetic.generator import make_batch

Taught = Literal["plain", "obvious", "all"]
OBVIOUS = ("spike", "dip", "level shift", "noise burst", "dropout", "decaying shock")
POOL = 512  # windows that are made at once
BLOCK = (8, 56)  # points of a plain window's block
FILL = 1e-9


@dataclass(frozen=True, eq=False)
class Lesson:
    """Windows with their truth: [N, L] values without gaps, [N, L] abnormal."""

    values: FloatArray
    labels: BoolArray

    def __len__(self) -> int:
        return len(self.values)


def lesson(seed: int, number: int, length: int, taught: Taught) -> Lesson:
    """The ``number``-th pool of windows of a seed; the same each time.

    ``plain``: noise, and in four of five windows a block three units high. ``obvious``: the generator's windows that
    hold nothing but six obvious kinds. ``all``: all of them.
    """
    draw = np.random.default_rng((seed, number, ("plain", "obvious", "all").index(taught)))
    if taught == "plain":
        return _plain(draw, length)
    values, labels = _generated(draw, length, taught == "obvious")
    while len(values) < POOL:
        more, theirs = _generated(draw, length, taught == "obvious")
        values, labels = np.concatenate([values, more]), np.concatenate([labels, theirs])
    return Lesson(values[:POOL], labels[:POOL])


@lru_cache(maxsize=8)
def cached_lesson(seed: int, number: int, length: int, taught: Taught) -> Lesson:
    """:func:`lesson`, the last few kept: neighbouring steps read one pool."""
    return lesson(seed, number, length, taught)


def _plain(draw: np.random.Generator, length: int) -> Lesson:
    values, labels = draw.standard_normal((POOL, length)) * 0.3, np.zeros((POOL, length), bool)
    for row in np.flatnonzero(draw.random(POOL) < 0.8):
        size = int(draw.integers(*BLOCK))
        start = int(draw.integers(4, length - size - 4))
        values[row, start : start + size] += 3.0
        labels[row, start : start + size] = True
    return Lesson(values * draw.choice((-1.0, 1.0), (POOL, 1)), labels)


def _generated(draw: np.random.Generator, length: int, obvious: bool) -> tuple[FloatArray, BoolArray]:
    batch = make_batch(draw, POOL, length)
    values, kinds = batch.values.astype(np.float64), batch.kinds.copy()
    for row in np.flatnonzero(np.isnan(values).any(axis=1)):  # not every model can see gaps: they are no anomaly here
        gap = np.isnan(values[row])
        values[row, gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), values[row, ~gap])
        kinds[row, gap] = 0
    if obvious:
        others = [k for k, name in enumerate(KINDS) if k and name not in OBVIOUS]
        kept = ~np.isin(kinds, others).any(axis=1)
        values, kinds = values[kept], kinds[kept]
    values *= draw.choice((-1.0, 1.0), (len(values), 1))
    return values, kinds > 0


def pieces_of(taught: Lesson) -> Iterator[Piece]:
    """The windows as blocks."""
    length = taught.values.shape[1]
    for values in taught.values:
        yield Piece(Block(values[:, None], ("value",)), 0, length, np.arange(length + 1), (0,))


def series_of(values: FloatArray) -> Series:
    """A window as a series of one point a second. [L] -> [L, 1]."""
    stamps: IntArray = np.arange(len(values), dtype=np.int64) * NS_PER_SECOND
    return Series("synthetic", stamps, values[:, None])
