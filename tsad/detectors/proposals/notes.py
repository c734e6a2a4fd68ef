"""What people read beside a committee's proposals: the rarest piece of evidence, and what each member says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.detectors.evidence.examined import Examined, Opinion
from tsad.detectors.proposals.reasons import Language, rarest

SILENT = {"en": "not asked", "zh": "未询问"}


def with_reasons(
    series: Series, intervals: Sequence[Interval], examined: Examined, language: Language
) -> tuple[Interval, ...]:
    """The intervals with the first sentence on their evidence: whoever judges them sees no more of it than the note."""
    runs = intervals_to_runs(intervals, series.timestamps).tolist()
    told = [rarest(series, examined, (start, stop), language)[:1] for start, stop in runs]
    return tuple(_noted(interval, *why) for interval, why in zip(intervals, told, strict=True))


def with_votes(
    series: Series, intervals: Sequence[Interval], opinions: Sequence[Opinion], language: Language
) -> tuple[Interval, ...]:
    """The intervals with what each member says of them, and a language model why, at the end of their notes."""
    runs = intervals_to_runs(intervals, series.timestamps).tolist()
    voted = []
    for interval, (start, stop) in zip(intervals, runs, strict=True):
        told = ((o.name, o.vote(start, stop), o.reason(interval.start, interval.end)) for o in opinions)
        votes = ", ".join(
            f"{name} {SILENT[language] if vote is None else f'{vote:.0%}'}{f' ({reason})' if reason else ''}"
            for name, vote, reason in told
        )
        voted.append(_noted(interval, votes))
    return tuple(voted)


def _noted(interval: Interval, *texts: str) -> Interval:
    return replace(interval, note="; ".join(text for text in (interval.note, *texts) if text))
