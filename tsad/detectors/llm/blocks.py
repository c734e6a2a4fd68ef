"""Series cut into blocks as prompts show them, shortened where they are long, and the way back to every point."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsad.core.reduction import kept_positions
from tsad.core.series import Series
from tsad.core.types import IntArray
from tsad.core.windows import window_starts
from tsad.detectors.llm.reader import Block
from tsad.detectors.numeric import is_constant


@dataclass(frozen=True, eq=False)
class Piece:
    """A block and where it lies.

    Attributes:
        start, stop: positions in the series, half-open.
        first: position in the series of each point of the block, and last ``stop``: [L + 1].
        channels: which channels of the series it shows.
    """

    block: Block
    start: int
    stop: int
    first: IntArray
    channels: tuple[int, ...]

    @property
    def key(self) -> str:
        """SHA-256 (hex) of what the model is shown: values and names."""
        sha = hashlib.sha256(repr((self.block.channels, self.block.values.shape)).encode())
        sha.update(np.ascontiguousarray(self.block.values).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How series are cut.

    Attributes:
        length: points of the series in a block.
        stride: points between the starts of neighbouring blocks.
        most: points that a block shows; of longer ones so many are kept by ``reduce``.
        reduce: ``m4`` (first, last, lowest and highest of each bin) or ``minmax``.
        channels: of a series in one prompt; those beyond come into further ones.
    """

    length: int
    stride: int
    most: int
    reduce: str
    channels: int


def pieces(series: Series, cutting: Cutting, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
    """The blocks of the positions ``[start, stop)``, those left out in which no channel varies.

    Channels that are constant over the whole series are never shown.
    """
    stop = len(series) if stop is None else stop
    varying = [c for c, values in enumerate(series.values.T) if not is_constant(values)]
    for first in range(0, len(varying), cutting.channels):
        members = tuple(varying[first : first + cutting.channels])
        for begin in window_starts(stop - start, cutting.length, cutting.stride):
            low, high = start + begin, min(start + begin + cutting.length, stop)
            values = series.values[low:high][:, list(members)]
            if any(not is_constant(column) for column in values.T):
                yield piece_of(series, low, high, members, cutting)


def piece_of(series: Series, start: int, stop: int, members: tuple[int, ...], cutting: Cutting) -> Piece:
    """The block of these positions and channels, shortened where it is long."""
    values = series.values[start:stop][:, list(members)]
    kept = kept_positions(values, cutting.most, cutting.reduce)
    names = tuple(series.channels[c] for c in members)
    first = np.append(start + kept, stop)
    return Piece(Block(np.ascontiguousarray(values[kept]), names), start, stop, first, members)
