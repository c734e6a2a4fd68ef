"""Candidate intervals of a series: peaks of the score, and of the evidence that the score overlooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.types import IntArray
from tsad.detectors.evidence.examined import Examined

DENSITY = 60  # candidates per 10,000 points from the score
EXTRA = 8  # ... and from each kind of evidence in places without one
FEWEST = 20
SOURCES = ("score", "amplitude", "short_energy", "neighbour", "short_neighbour", "energy")
DROP = 0.5  # log odds below its peak at which a candidate ends
EVIDENCE_DROP = 0.3
GAP = 6  # points that may dip below within a candidate
APART = 4  # points between two candidates, at least
REACH = 256  # points on either side of its peak, at most
LOWEST, HIGHEST = 1e-4, 1 - 1e-4  # scores: their log odds stay finite


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate intervals of one series in order of time; they do not overlap.

    Attributes:
        runs: [K, 2] half-open positions; bounded in length, so that none can win by covering everything.
        peaks: [K] position of what made it a candidate.
        sources: [K] index into :data:`SOURCES`; beyond them, of a committee's members in turn.
    """

    runs: IntArray
    peaks: IntArray
    sources: IntArray

    def __len__(self) -> int:
        return len(self.runs)


def log_odds(scores: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Scores 0..1 as log odds within about -9..9, float32. Any shape."""
    clipped = np.clip(np.asarray(scores, np.float64), LOWEST, HIGHEST)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float32)


def find_candidates(examined: Examined) -> Candidates:
    """Candidates in linear time: at most 60 per 10,000 points from the score, and 8 from each of five statistics.

    Those of a detector that makes its own are taken as they are.
    """
    if examined.own is not None:
        runs = examined.own.runs
        made = [(int(a), int(b), int(a + b) // 2, 0) for a, b in runs]
        return _table([*made, *_of_members(examined, made)])
    total = len(examined.scores)
    taken = np.zeros(total, bool)
    rows: list[tuple[int, int, int, int]] = []
    for source, name in enumerate(SOURCES):
        if source == 0:
            height, density, floor = log_odds(examined.scores), DENSITY, float("-inf")
        else:
            height, density, floor = np.abs(examined.row(name)), EXTRA, 1.0
        most = max(FEWEST if source == 0 else 2, int(density * total / 10_000))
        rows += _peaks(height, taken, DROP if source == 0 else EVIDENCE_DROP, most, floor, source)
    return _table([*rows, *_of_members(examined, rows)])


def _table(rows: list[tuple[int, int, int, int]]) -> Candidates:
    table = np.array(sorted(rows), np.int64).reshape(-1, 4)
    return Candidates(table[:, :2], table[:, 2], table[:, 3])


Row = tuple[int, int, int, int]


def _of_members(examined: Examined, rows: Sequence[Row]) -> list[Row]:
    """Candidates that other members of a committee have where there is none yet: of each its most probable ones."""
    taken = np.zeros(len(examined.scores), bool)
    for first, last, _, _ in rows:
        taken[first:last] = True
    found: list[Row] = []
    most = max(2, int(EXTRA * len(taken) / 10_000))
    for place, opinion in enumerate(examined.opinions[1:], start=len(SOURCES)):
        left = most
        for k in np.argsort(-opinion.probability, kind="stable"):
            start, stop = (int(v) for v in opinion.runs[k])
            if not left:
                break
            if taken[start:stop].any():
                continue
            taken[start:stop] = True
            found.append((start, stop, (start + stop) // 2, place))
            left -= 1
    return found


def _peaks(
    height: npt.NDArray[np.float32], taken: npt.NDArray[np.bool_], drop: float, most: int, floor: float, source: int
) -> list[tuple[int, int, int, int]]:
    """(start, stop, peak, source) of the highest peaks outside what is taken, which then is taken too."""
    tops = _block_tops(height)
    low = float(height.min())
    tops = tops[(height[tops] > floor) & (height[tops] > low)]
    tops = tops[np.argsort(-height[tops], kind="stable")]
    found: list[tuple[int, int, int, int]] = []
    for top in tops:
        if len(found) >= most:
            break
        if taken[top]:
            continue
        start, stop = _extent(height, taken, int(top), drop)
        taken[max(0, start - APART) : stop + APART] = True
        found.append((start, stop, int(top), source))
    return found


def _block_tops(height: npt.NDArray[np.float32], block: int = 8) -> IntArray:
    """The position of the highest point of each block of 8."""
    spare = -len(height) % block
    padded = np.pad(height, (0, spare), constant_values=-np.inf) if spare else height
    table = padded.reshape(-1, block)
    return np.asarray(table.argmax(axis=1) + np.arange(len(table)) * block, np.int64)


def _extent(
    height: npt.NDArray[np.float32], taken: npt.NDArray[np.bool_], top: int, drop: float
) -> tuple[int, int]:
    """Where the height stays within ``drop`` of the peak; dips of up to 6 points do not end it."""
    first, last = max(0, top - REACH), min(len(height), top + REACH + 1)
    high = (height[first:last] >= height[top] - drop) & ~taken[first:last]
    at = top - first
    right = _reach(high[at:])
    left = _reach(high[at::-1])
    return top - left, top + right + 1


def _reach(high: npt.NDArray[np.bool_]) -> int:
    """Steps from the first point to the last one before a gap of more than 6 low points."""
    where = np.flatnonzero(high)
    jumps = np.flatnonzero(np.diff(where) > GAP)
    return int(where[jumps[0]] if len(jumps) else where[-1]) if len(where) else 0
