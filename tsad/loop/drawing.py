"""The review queue of an iteration: which windows nobody has answered, which are drawn, and what they show."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.intervals import clip, point_scores
from tsad.core.options.windows import MIN_LENGTH
from tsad.core.overview import overview_of
from tsad.core.proposing import to_intervals
from tsad.core.reviews import Choice, DatasetVersion, Purpose, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Detection, Interval, Proposal
from tsad.core.windows import cut_between, outside, without_overlap
from tsad.loop.gold import draw_for_people
from tsad.loop.pool import EarlierReviews, ScoredSeries, pool_of
from tsad.loop.runner import Carried, Turn

if TYPE_CHECKING:
    from tsad.core.options import ThresholdOptions

log = logging.getLogger("tsad")

NOTHING = EarlierReviews()
FIRST_SHARE = 0.25  # of the queue's windows that get a proposal where none reaches the threshold


@dataclass(frozen=True, eq=False)
class Queue:
    """Windows drawn for people, in the order in which they see them.

    Attributes:
        left: windows that could have been drawn, but were not.
    """

    choices: list[Choice]
    left: int

    def count(self, purpose: Purpose) -> int:
        """Windows of that purpose."""
        return sum(c.purpose == purpose for c in self.choices)

    def with_carried(self, carried: Carried) -> Queue:
        """The queue with what people have answered of iterations that were given up, in its place among the rest."""
        from tsad.review.order import in_order

        return Queue(in_order([*self.choices, *carried.answered, *carried.blind]), self.left)

    @property
    def proposed(self) -> int:
        """Windows that show a proposed interval."""
        return sum(bool(c.proposal) for c in self.choices)


def unreviewed(
    turn: Turn, series: Sequence[Series], gold: DatasetVersion | None, known: DatasetVersion | None
) -> list[Window]:
    """Windows over the time that nobody has answered and that may train; only of labelled series for a reviewer that
    needs labels.

    An answer is about its stretch of time, whatever the length of windows was when it was given: it is not asked for
    again, and where it covers a part of a window, the rest is a window of its own. Not among them are gold windows,
    either, nor those that people have skipped. Those that people disagree about are.
    """
    from tsad.review.splits import reviewable

    bench = turn.bench
    taken: dict[str, list[tuple[int, int]]] = {}
    for window in (r.window for r in known.windows) if known is not None else ():
        taken.setdefault(window.point_id, []).append(window.span)
    for skipped in (u for u in turn.undecided() if u.state != ReviewState.CONFLICT):
        taken.setdefault(skipped.point_id, []).append((skipped.start, skipped.end))
    length = bench.windows.length
    least = min(MIN_LENGTH, length // 2)  # a whole cut leaves no shorter ones either
    windows = reviewable([w for s in series for w in cut_between(s, length, taken.get(s.point_id, ()), least)])
    if gold is not None:
        windows = without_overlap(windows, [r.window for r in gold.windows])
    if bench.reviewer.needs_labels:
        silent = {w.point_id for w in windows if w.series.labels is None}
        if silent and len(silent) < len({w.point_id for w in windows}):
            log.warning("%d series without labels are not put to the reviewer, who answers from labels", len(silent))
            windows = [w for w in windows if w.point_id not in silent]
    return windows


def contested(turn: Turn, windows: Sequence[Window]) -> frozenset[str]:
    """Ids of the windows that people left undecided because they disagree."""
    conflicts = [u for u in turn.undecided() if u.state == ReviewState.CONFLICT]
    clear = {w.window_id for w in outside(windows, ((u.point_id, (u.start, u.end)) for u in conflicts))}
    return frozenset(w.window_id for w in windows) - clear


def draw_queue(
    bench: Workbench, number: int, windows: Sequence[Window], scored: ScoredSeries, *, blind: bool,
    before: EarlierReviews = NOTHING,
) -> Queue:
    """The queue of iteration ``number``: windows with proposals to learn from and, with ``blind``, gold ones without.

    Args:
        before: what people have reviewed; windows that they disagreed about come first.

    Raises:
        LoopError: there are too few windows for both.
    """
    from tsad.review.order import in_order

    gold: list[Choice] = []
    if blind:
        gold = draw_for_people(bench, windows, scored.peaks(windows))
        if not gold:
            raise LoopError(
                f"{len(windows)} window to review: one has to score the model and another has to teach it",
                "Bring longer series or more of them, or shorter windows (windows.length).",
            )
        windows = without_overlap(windows, [c.window for c in gold])
    chosen = _choose(bench, number, windows, scored, before)
    return Queue(_for_people(in_order([*gold, *chosen]), number), len(windows) - len(chosen))


def _for_people(choices: Sequence[Choice], number: int) -> list[Choice]:
    """The choices of iteration ``number`` with the whole of their series in little: the queue keeps excerpts only."""
    overviews = {id(s): overview_of(s) for s in {id(c.window.series): c.window.series for c in choices}.values()}
    return [replace(c, iteration=number, overview=overviews[id(c.window.series)]) for c in choices]


def _choose(
    bench: Workbench, number: int, windows: Sequence[Window], scored: ScoredSeries, before: EarlierReviews
) -> list[Choice]:
    """Windows to learn from: those in conflict or disputed, then the sampler's; each with proposal and probability."""
    from tsad.review.sampling import disputed_first

    if not windows:
        return []
    pool = pool_of(bench, windows, scored, before)
    seed = bench.sampling.seed + number
    known = [w.window_id in before.conflicts for w in windows]
    picked = disputed_first(pool, bench.strategy, seed, known)
    choices = [
        Choice(windows[k], probability, strategy, Purpose.TRAIN, (), float(pool.scores[k]))
        for k, probability, strategy in picked
    ]
    return _with_proposals(choices, scored)


def _with_proposals(choices: Sequence[Choice], scored: ScoredSeries) -> list[Choice]:
    """Each choice with what the champion proposes for it; where it proposes nothing for any, what comes nearest to it.

    People who see nothing but empty windows correct nothing; so the best quarter of the windows then shows candidates
    below the threshold, each with its own low probability.
    """
    own = {id(s): (s, d) for s, d in zip(scored.series, scored.detections, strict=True)}
    proposals = [clip(own[id(c.window.series)][1].intervals, *c.window.span) for c in choices]
    peaks = sorted((c.score for c in choices if c.score > 0), reverse=True)
    if peaks and not any(proposals):
        level = peaks[: max(1, round(FIRST_SHARE * len(choices)))][-1]
        proposals = [
            clip(_from(level, *own[id(c.window.series)], scored.runs), *c.window.span) for c in choices
        ]  # fmt: skip
    return [
        replace(c, proposals=(Proposal(proposed, detection.origin), *proposals_of(detection, c.window)[1:]))
        for c, proposed in zip(choices, proposals, strict=True)
        for detection in (own[id(c.window.series)][1],)
    ]


def proposals_of(detection: Detection, window: Window) -> tuple[Proposal, ...]:
    """What a detection proposes of a window, and behind it what each member of a committee does by itself."""
    every = (Proposal(detection.intervals, detection.origin), *detection.opinions)
    return tuple(replace(one, intervals=clip(one.intervals, *window.span)) for one in every)


def _from(level: float, series: Series, detection: Detection, runs: ThresholdOptions) -> tuple[Interval, ...]:
    """Candidates of at least this probability; of a detection without candidates the points that score as much."""
    if detection.candidates is not None:
        return tuple(c for c in detection.candidates if c.score >= level)
    shortest = runs.model_copy(update={"min_length": 0})
    return to_intervals(point_scores(detection, series.timestamps), series.timestamps, level, shortest)
