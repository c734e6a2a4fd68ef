"""Scoring windows with a detector version, and turning gold windows into units the metrics take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.context import Context
from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.reviews import DatasetVersion, ReviewedWindow
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, FloatArray, Interval
from tsad.metrics.units import Unit

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Judged
    from tsad.tracking.pyfunc_model import LoadedVersion


def score_windows(detector: Detector, windows: Sequence[Window]) -> list[FloatArray]:
    """Scores [L] (or confidence) of each window; its whole series (or excerpt) is scored once, as context."""
    unique: dict[int, Series] = {id(w.series): w.series for w in windows}
    scores = dict(zip(unique, detector.confidence(list(unique.values())), strict=True))
    return [scores[id(w.series)][w.start : w.stop] for w in windows]


def judged_series(detector: Detector, windows: Sequence[ReviewedWindow], context: Context) -> list[Judged]:
    """Each series (or excerpt) with reviewed windows as the proposer learns from it, examined once."""
    from tsad.detectors.proposals.proposer import Judged, look_at

    series, members = _by_series(windows)
    found = []
    examined_series = zip(series, members, detector.examine(series), strict=True)
    for one, own, examined in context.each(examined_series, "learning from reviews", len(series)):
        seen, truth = np.zeros((2, len(one)), bool)
        for reviewed in own:
            part = slice(reviewed.window.start, reviewed.window.stop)
            seen[part], truth[part] = True, truth_mask(reviewed)
        found.append(Judged(look_at(one, examined), one.timestamps, seen, truth))
    return found


def truth_mask(reviewed: ReviewedWindow) -> BoolArray:
    """Which points of the window people call abnormal, [L] bool."""
    return intervals_to_mask(reviewed.intervals, reviewed.window.timestamps)


@dataclass(frozen=True, eq=False)
class GoldStretch:
    """A contiguous stretch of the gold set, and what one version says of it.

    Attributes:
        unit: as the metrics take it.
        series: the stretch alone.
        truth: what people call abnormal in it.
        intervals, candidates: proposed ones, and all that were considered with their confidence; none where the
            detector makes no candidates.
    """

    unit: Unit
    series: Series
    truth: tuple[Interval, ...]
    intervals: tuple[Interval, ...]
    candidates: tuple[Interval, ...]


def gold_stretches(version: LoadedVersion, gold: DatasetVersion, context: Context) -> list[GoldStretch]:
    """What a version says of the gold set, by contiguous stretches of equally likely windows.

    Adjacent windows chosen with certainty are joined, so that an interval over a window's border
    counts once. The threshold is the version's own: it never sees the gold set.
    """
    series, grouped = _by_series(gold.windows)
    found: list[GoldStretch] = []
    detected = zip(series, version.detections(series), grouped, strict=True)
    for one, said, members in context.each(detected, "scoring gold series", len(series)):
        predicted, scores = intervals_to_mask(said.intervals, one.timestamps), said.scores
        for stretch in _stretches(members):
            a, b = stretch[0].window.start, stretch[-1].window.stop
            unit = Unit(
                group=one.point_id, truth=np.concatenate([truth_mask(r) for r in stretch]), predicted=predicted[a:b],
                scores=None if scores is None else scores[a:b], weight=1.0 / stretch[0].choice.probability,
            )  # fmt: skip
            span = (stretch[0].window.span[0], stretch[-1].window.span[1])
            truth = clip([i for r in stretch for i in r.intervals], *span)
            candidates = clip(said.candidates or (), *span)
            found.append(GoldStretch(unit, one.slice(a, b), truth, clip(said.intervals, *span), candidates))
    return found


def _by_series(windows: Sequence[ReviewedWindow]) -> tuple[list[Series], list[list[ReviewedWindow]]]:
    """Each series (or excerpt) once, with its windows."""
    members: dict[int, list[ReviewedWindow]] = {}
    for reviewed in windows:
        members.setdefault(id(reviewed.window.series), []).append(reviewed)
    return [own[0].window.series for own in members.values()], list(members.values())


def _stretches(members: Sequence[ReviewedWindow]) -> list[list[ReviewedWindow]]:
    """Windows of one series in runs that touch and were all chosen with certainty."""
    runs: list[list[ReviewedWindow]] = []
    for reviewed in sorted(members, key=lambda r: r.window.start):
        certain = reviewed.choice.probability >= 1.0
        if (
            runs
            and certain
            and runs[-1][-1].choice.probability >= 1.0
            and runs[-1][-1].window.stop == reviewed.window.start
        ):
            runs[-1].append(reviewed)
        else:
            runs.append([reviewed])
    return runs
