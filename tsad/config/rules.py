"""What no group can refuse alone: combinations over groups."""

from __future__ import annotations

from typing import Any, cast

from tsad.config.parts import Chosen
from tsad.config.validation import Fault
from tsad.core.options import ReviewOptions, SamplingOptions


def combinations(parts: dict[str, Chosen[Any]]) -> list[Fault]:
    """What is wrong between groups that are each right.

    A group that a verb does not use is accepted: ``adapter.enabled`` with a detector that cannot be trained is
    fine for ``detect``, and ``train`` says that it has nothing to train.
    """
    faults = []
    gold, review = parts["gold"].kind, parts["review"].kind
    waited = cast(ReviewOptions, parts["review"].options).min_reviewed
    drawn = cast(SamplingOptions, parts["sampling"].options).windows
    if gold.needs_people and not review.people:
        found = f"gold asks people ({gold.__name__}), and review is {review.__name__}: there is nobody to ask"
        faults.append(Fault(found, "Use gold=labels, or review=label_studio."))
    if waited > drawn:
        faults.append(
            Fault(
                f"review.min_reviewed is {waited} but sampling.windows is {drawn}",
                "The loop would wait for ever; lower review.min_reviewed.",
            )
        )
    return faults
