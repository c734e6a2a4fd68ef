"""What a task shows beside the champion's intervals, to be seen and not to be answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tsad.core.reviews import Choice
from tsad.core.types import ANOMALY, Interval, Origin, Proposal
from tsad.review.positions import intervals_to_labelled_runs


@dataclass(frozen=True)
class Layer:
    """Intervals that are drawn read-only over a window, in a colour of their own.

    Attributes:
        name: whose they are, as people read it in the list of regions.
        intervals: each with its confidence and note.
        note: of all of them, e.g. the model version.
    """

    name: str
    intervals: tuple[Interval, ...]
    note: str = ""


def layer_name(origin: Origin) -> str:
    """A detector version in short: ``patch 3``, or ``chatts base``."""
    return f"{origin.detector} {origin.model_version.rpartition(':')[2]}".strip()


def layers_of(choice: Choice) -> tuple[Layer, ...]:
    """What others than the champion propose, a layer each; what somebody before proposes too is not drawn again."""
    seen = {_points(choice, i) for p in choice.proposals[:1] for i in p.intervals}
    layers = []
    for proposal in choice.proposals[1:]:
        own = [i for i in _noted(choice, proposal) if _points(choice, i) not in (*seen, ())]
        seen |= {_points(choice, i) for i in own}
        layers.append(Layer(layer_name(proposal.origin), tuple(own), proposal.origin.model_version))
    return tuple(layers)


def champions(choice: Choice) -> tuple[Interval, ...]:
    """The champion's intervals, with a note of who else proposes the same."""
    return _noted(choice, choice.proposals[0]) if choice.proposals else ()


def _noted(choice: Choice, own: Proposal) -> tuple[Interval, ...]:
    """Its intervals; the note of each says who else proposes the very same points, how surely and as which kind.

    A committee's own note holds the votes of its members already, whose proposals bear its version.
    """
    noted = []
    for interval in own.intervals:
        equal = [
            f"= {layer_name(p.origin)} {i.score:.2f} {'' if i.label in (ANOMALY, interval.label) else i.label}".rstrip()
            for p in choice.proposals
            if p is not own and p.origin.model_version != choice.proposals[0].origin.model_version
            for i in p.intervals if _points(choice, i) == _points(choice, interval) != ()
        ]  # fmt: skip
        noted.append(replace(interval, note="; ".join(text for text in (interval.note, *equal) if text)))
    return tuple(noted)


def _points(choice: Choice, interval: Interval) -> tuple[tuple[int, int], ...]:
    """The positions in the window that an interval covers."""
    return tuple((a, b) for a, b, _ in intervals_to_labelled_runs(choice.window, [interval]))
