"""Of several answers of one person only the latest counts."""

from __future__ import annotations

from collections.abc import Iterable

from tsad.core.reviews import Annotation


def latest(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The last answer of each annotator, in the order of submission; of equal times the later in the given order.

    A refusal to judge is an answer too: it replaces her earlier ones.
    """
    ordered = sorted(annotations, key=lambda a: a.submitted_at)  # stable
    last = {a.annotator: a for a in ordered}
    return [a for a in ordered if last[a.annotator] is a]


def by_people(annotations: Iterable[Annotation]) -> list[Annotation]:
    """As :func:`judged`, without what a batch action answered."""
    return [a for a in judged(annotations) if not a.batch]


def judged(annotations: Iterable[Annotation]) -> list[Annotation]:
    """As :func:`latest`, without those who refused to judge.

    What a batch action answered counts only where no person judged that very window.
    """
    judgements = [a for a in latest(annotations) if not a.skipped]
    return [a for a in judgements if not a.batch] or judgements
