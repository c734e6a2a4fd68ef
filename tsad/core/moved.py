"""Where classes that old stores name by their dotted path are today: the one table, read by load and thaw."""

from __future__ import annotations

MOVED = {
    # dotted path as it was recorded -> the same today; an entry stays for good, as the stores do
    "tsad.detectors.proposals.proposer.from_state": "tsad.detectors.proposals.proposer.Proposer",
    "tsad.review.label_studio.LabelStudioReviewer": "tsad.review.label_studio.reviewer.LabelStudioReviewer",
}


def current(path: str) -> str:
    """The dotted path under which a class is found today; one that has not moved is given back as it is."""
    while path in MOVED:  # what moved twice has two entries
        path = MOVED[path]
    return path


def recorded(path: str) -> str:
    """The dotted path under which a class was first recorded: what hashes are taken of, so that they never change."""
    earlier = {new: old for old, new in MOVED.items()}
    while path in earlier:
        path = earlier[path]
    return path
