"""Distance of each sub-sequence to its nearest neighbours among sampled ones: linear in the length of the series."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from tsad.detectors.evidence.course import Course, Tail
from tsad.detectors.evidence.ranks import MARK, Floats, between

DIMENSIONS = 32  # a longer sub-sequence is averaged down to this many values
REFERENCES = 384  # of one group; the mean of the nearest in two groups is steadier than the nearest of all
LONG = 1 << 18  # points: of longer series one group must do
FURTHEST = 1e30
BLOCK = 512  # sub-sequences compared at once: their distances stay in the processor's cache
SHARE = 4  # sub-sequences begin every quarter of their length
REACHED = 1024  # points that a block of a continued pass reaches over: what is made in vain is bounded
LEAD = 16  # points before the first that has changed that get a distance, too: minima over 8 of them are taken
MOST = 4096  # references of one group, where one odd cycle in very many is looked for


class _Plan(NamedTuple):
    """How the sub-sequences of a series are compared: kept in its state.

    Attributes:
        length: points of a sub-sequence; ``rate`` of them are averaged to one of ``width`` values.
        groups: of references; 0 = the series is too short to compare.
    """

    length: float
    rate: float
    width: float
    groups: float

    @property
    def stride(self) -> int:
        """Values between two sub-sequences."""
        return -(-int(self.width) // SHARE)


class _Units(NamedTuple):
    """What deviations and levels are measured by: kept in the state."""

    deviation: float
    level: float


class _Compared(NamedTuple):
    """Sub-sequences of a series and those that they are compared with.

    Attributes:
        own: [N, width], the ``first`` and those after it.
        references: [groups, K] positions.
        block: sub-sequences compared at once.
        fixed: whether a shorter block is filled up.
    """

    plan: _Plan
    units: _Units
    own: Floats
    first: int
    references: np.ndarray
    block: int
    fixed: bool


def neighbour_distances(
    values: Floats, length: float, *, shape: bool, amplitude: bool = True, references: int = REFERENCES
) -> list[Floats]:
    """Per point, how far the sub-sequences over it lie from the most similar ones elsewhere. [T] -> list of [T].

    Two distances: of the shape alone (each sub-sequence scaled by its own spread), and of shape with amplitude and
    level. References, so many per group, are drawn with a fixed seed; those that overlap do not count.
    Zeros for series too short to compare.
    """
    kinds = ("shape",) * shape + ("amplitude",) * amplitude
    return [t.values for t in neighbour_tails(Course(), "", Tail(values), length, kinds=kinds, references=references)]


def neighbour_tails(
    course: Course, name: str, tail: Tail, length: float, *, kinds: tuple[str, ...] = ("amplitude",),
    references: int = REFERENCES,
) -> list[Tail]:  # fmt: skip
    """:func:`neighbour_distances` of what has changed; a distance per kind: ``shape``, ``amplitude``.

    Args:
        name: under which references, units and running sums are kept.
        references: per group.
    """
    kept = course.state
    plan = _Plan(*kept.numbers(f"{name}.plan", lambda: _planned(tail.total, length, references)))
    if not plan.groups:
        return [Tail(np.zeros(len(tail.values), np.float32), tail.begin, tail.changed) for _ in kinds]
    width, rate, stride = int(plan.width), plan.rate, plan.stride
    half = (int(max(1, plan.length / 2)) | 1) // 2
    # sub-sequences: the first that has changed, and the first that moving means of them go back to
    changed = max(0, -(-(max(0, int(tail.changed / rate) - 1) - width + 1) // stride)) if tail.changed else 0
    reached = max(0, int(((changed - 1) * stride + width / 2) * rate)) if changed else 0
    back = max(0, (reached - half - LEAD) // MARK * MARK - half)
    first = max(0, int((back / rate - width / 2) / stride) - 1) if tail.begin and changed else 0
    coarse = _resampled(course, f"{name}.sums", tail, plan, first * stride)
    every = np.lib.stride_tricks.sliding_window_view(coarse, width)
    own, starts = every[::stride], np.arange(first * stride, first * stride + len(every), stride)
    units = _Units(*kept.numbers(f"{name}.units", lambda: _measured(coarse, own)))
    (drawn,) = kept.arrays(f"{name}.references", lambda: (_drawn(len(every), plan, references),))
    block = BLOCK if not course.fixed else int(np.clip(REACHED / (stride * rate), 8, BLOCK))
    compared = _Compared(plan, units, own, first, drawn, block, course.fixed)
    begin = 0 if first == 0 else max(0, int(np.ceil((starts[0] + width / 2) * rate)))
    tails = []
    for kind in kinds:
        make = functools.partial(_targets, every, drawn, units, kind)
        (described,) = kept.arrays(f"{name}.{kind}", make)
        distances = _nearest(compared, described, kind)
        spread_out = between(np.arange(begin, tail.total), (starts + width / 2) * rate, distances)
        moved = course.box(f"{name}.{kind}.sums", Tail(spread_out, begin, max(begin, reached)), plan.length / 2, LEAD)
        tails.append(moved.map(lambda v: v / np.float32(np.sqrt(width))))
    return tails


def _planned(total: int, length: float, references: int) -> _Plan:
    length = float(np.clip(length, 8, max(8, total // 4)))
    rate = max(1.0, length / DIMENSIONS)
    width, count = round(length / rate), int(total / rate)
    groups = 1 if total > LONG or references < REFERENCES else 2
    return _Plan(length, rate, width, groups if count >= 2 * width + 8 else 0)


def _measured(coarse: Floats, own: Floats) -> _Units:
    spread = own[:: max(1, len(own) // 8192)].std(axis=1)
    unit = float(np.median(spread)) + 1e-3 * float(coarse.std()) + 1e-9
    return _Units(unit, float(np.median(coarse)))


def _targets(every: Floats, drawn: np.ndarray, units: _Units, kind: str) -> tuple[Floats]:
    return (_describe(every[drawn.ravel()], units, kind),)


def _drawn(count: int, plan: _Plan, references: int) -> np.ndarray:
    """Where the references begin, of ``count`` sub-sequences at every value. [groups, K]."""
    groups = int(plan.groups)
    drawn = np.random.default_rng(0).permutation(count)[: groups * references]
    return np.sort(drawn[: len(drawn) // groups * groups].reshape(groups, -1), axis=1)


def _resampled(course: Course, name: str, tail: Tail, plan: _Plan, first: int) -> Floats:
    """Means over ``rate`` points, from the ``first`` on. [T] -> [T / rate - first]."""
    rate, count = plan.rate, int(tail.total / plan.rate)
    if rate == 1.0:
        return tail.since(first)
    held = int(first * rate) // MARK * MARK
    total = course.running(name, tail.since(held), held)
    edges = np.interp(np.arange(first, count + 1) * rate, np.arange(held, held + len(total)), total)
    return (np.diff(edges) / rate).astype(np.float32)


def _describe(rows: Floats, units: _Units, kind: str) -> Floats:
    """What is compared: [N, width] of shapes, or [N, width + 1] of deviations and the weighted level."""
    middle = rows.mean(axis=1, keepdims=True)
    away = rows - middle
    if kind == "shape":
        return away / np.maximum(away.std(axis=1, keepdims=True), 0.25 * units.deviation)
    weight = 0.5 * np.sqrt(rows.shape[1])
    return np.asarray(np.concatenate((away, (middle - units.level) * weight), axis=1) / units.deviation, np.float32)


def _nearest(compared: _Compared, described: Floats, kind: str) -> Floats:
    """Mean distance of each sub-sequence to the nearest reference of each group, [N]."""
    import torch

    plan, own, block = compared.plan, compared.own, compared.block
    targets, groups = torch.from_numpy(described), len(compared.references)
    near, flat = 0.75 * own.shape[1], compared.references.ravel()
    squares = (targets * targets).sum(1)
    out = np.empty(len(own), np.float32)
    for begin in range(compared.first // block * block, compared.first + len(own), block):
        low, high = max(0, begin - compared.first), min(len(own), begin + block - compared.first)
        inside = own[low:high]
        lead = compared.first + low - begin
        if compared.fixed:
            filled = np.zeros((block, own.shape[1]), np.float32)
            filled[lead : lead + high - low] = inside
            inside = filled
        else:
            lead = 0
        rows = torch.from_numpy(_describe(inside, compared.units, kind))
        table = torch.addmm(squares[None], rows, targets.T, alpha=-2)
        starts = (compared.first + low - lead + np.arange(len(rows))) * plan.stride
        _leave_out(table, starts, flat, near)
        best = table.view(len(rows), groups, -1).amin(2) + (rows * rows).sum(1, keepdim=True)
        usable = best < FURTHEST / 2
        distance = (best.clamp(min=0).sqrt() * usable).sum(1) / usable.sum(1).clamp(min=1)
        out[low:high] = distance.numpy()[lead : lead + high - low]
    return out


def _leave_out(table: object, starts: np.ndarray, references: np.ndarray, near: float) -> None:
    """Set the distances between overlapping sub-sequences beyond reach, in place."""
    import torch

    assert isinstance(table, torch.Tensor)
    columns = np.flatnonzero((references > starts[0] - near) & (references < starts[-1] + near))
    if len(columns) == 0:
        return
    low = np.searchsorted(starts, references[columns] - near, side="right")
    high = np.searchsorted(starts, references[columns] + near, side="left")
    count = np.maximum(high - low, 0)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    table.numpy()[rows, np.repeat(columns, count)] = FURTHEST


def cycle_references(points: float) -> int:
    """References per group to find one odd cycle of so many points: of longer ones fewer are compared."""
    return int(np.clip(6 * points, REFERENCES, MOST))
