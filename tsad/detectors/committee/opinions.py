"""What one member of a committee makes of a series: candidates with probabilities, and how high it scores where."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tsad.core.errors import DetectorError
from tsad.core.intervals import confidence_along
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray, Interval
from tsad.detectors.base import Detector
from tsad.detectors.evidence.examined import Examined, Opinion, Own
from tsad.detectors.proposals.proposer import default_proposer, described, look_at

HIGHEST = 4.0  # of a height: one point in ten thousand scores as high, or a confidence of 1


def opinion_of(
    name: str, member: Detector, series: Series, examined: Examined, asked: Sequence[slice] | None = None
) -> Opinion:
    """The opinion of a member, on the evidence that the first one has found.

    Its candidates are rated as they would be before any review: what reviews teach is how far that is to be believed.

    Args:
        name: in the committee.
        examined: what the first member knows of the series.
        asked: stretches that it is shown, disjoint, in order; ``None`` = the whole series.

    Raises:
        DetectorError: it fails, or gives something else than a finite score in 0..1 per point.
    """
    parts = [slice(0, len(series))] if asked is None else list(asked)
    views = [series.slice(part.start, part.stop) for part in parts]
    seen = np.zeros(len(series), bool)
    for part in parts:
        seen[part] = True
    if member.scored:
        scores: FloatArray = np.zeros(len(series))
        for part, given in zip(parts, _scores(name, member, views), strict=True):
            scores[part] = given
        own = None
        height: FloatArray = HIGHEST * scores if asked is not None else surprise(scores)
    else:
        told = [interval for view in views for interval in _candidates(name, member, view)]
        scores, own = confidence_along(told, series.timestamps), Own.of(told, series.timestamps)
        height = HIGHEST * scores
    view = replace(
        examined, scores=scores, own=own, kinds=None, state=None, opinions=(),
        channels=tuple(replace(channel, logits=()) for channel in examined.channels),
    )  # fmt: skip
    rated = default_proposer(member.rated_as)
    look = rated.rate(look_at(series, view))
    if asked is not None:
        inside = seen[look.runs[:, 0]] & seen[look.runs[:, 1] - 1]
        look = replace(look, runs=look.runs[inside], probability=look.probability[inside])
    proposed = rated.chosen(series, look)
    if own is not None:
        proposed = described(proposed, own.intervals)
    return Opinion(
        name, look.runs, look.probability, height.astype(np.float32), proposed, None if asked is None else seen,
        () if own is None else own.intervals,
    )  # fmt: skip


def own_opinion(name: str, member: Detector, series: Series, examined: Examined) -> Opinion:
    """That of the member which has examined the series."""
    rater = default_proposer(member.rated_as)
    rated = rater.rate(look_at(series, examined))
    height = surprise(examined.scores).astype(np.float32)
    return Opinion(name, rated.runs, rated.probability, height, rater.chosen(series, rated))


def silent(name: str, length: int) -> Opinion:
    """Of a member that was not asked, or failed where the others may go on without it."""
    nobody: BoolArray = np.zeros(length, bool)
    return Opinion(name, np.zeros((0, 2), np.int64), np.zeros(0), np.zeros(length, np.float32), (), nobody)


def surprise(scores: FloatArray) -> FloatArray:
    """How unusual each score is within its series: -log10 of the share of points that score as high, 0..4. [T]."""
    ordered = np.sort(scores)
    above = len(scores) - np.searchsorted(ordered, scores, side="left")
    return np.asarray(np.clip(-np.log10(above / len(scores)), 0.0, HIGHEST) * (scores > 0))


def _scores(name: str, member: Detector, views: Sequence[Series]) -> list[FloatArray]:
    """One array of scores per view, checked: what does not fit would shift every other member's opinion."""
    given = [np.asarray(scores, np.float64) for scores in member.score(views)]
    if len(given) != len(views):
        raise DetectorError(f"member {name} of the committee answered {len(given)} of {len(views)} series", _mend(name))
    for view, scores in zip(views, given, strict=True):
        if scores.shape != (len(view),):
            shape = "x".join(map(str, scores.shape)) or "one"
            raise DetectorError(
                f"member {name} of the committee gave {shape} scores for the {len(view)} points of {view.point_id}",
                _mend(name),
            )
        strange = ~np.isfinite(scores) | (scores < 0) | (scores > 1)
        if strange.any():
            raise DetectorError(
                f"member {name} of the committee scores {view.point_id} {scores[strange][0]} at point "
                f"{int(strange.argmax())}, which is no number in 0..1", _mend(name),
            )  # fmt: skip
    return given


def _candidates(name: str, member: Detector, view: Series) -> tuple[Interval, ...]:
    told = tuple(member.candidates(view))
    if any(after.start < before.end for before, after in itertools.pairwise(told)):
        raise DetectorError(
            f"member {name} of the committee has overlapping candidates of {view.point_id}", _mend(name)
        )
    return told


def _mend(name: str) -> str:
    return f"Mend detector {name}, leave it out of detector.members, or set detector.when_failing=leave_out."
