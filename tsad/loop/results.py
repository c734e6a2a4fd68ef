"""What each stage of an iteration answers, as its run keeps it in ``result.json``.

Field names are the keys of that file, and later versions of the package go on with open iterations: a new field needs a
default, an old one keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tsad.core.results import Result
from tsad.core.reviews import ReviewState
from tsad.metrics.gate import Decision
from tsad.metrics.paired import PairedGain

BASE_ROLE, ADAPTED_ROLE, IMPORTED_ROLE = "base", "adapted", "imported"  # tag tsad.role of a version


@dataclass(frozen=True, eq=False)
class Detected(Result):
    """DETECT: the champion over all series, and the review queue drawn from it.

    Attributes:
        champion: number of the registered version; ``model_version`` names it in full.
        queued, gold_queued: windows to review for training, and for the gold set where people make it.
        proposed: of the queued ones, those that show a proposed interval; ``None`` in a store of before.
        left: windows that nobody has reviewed and that were not drawn either.
        gold_version: dataset version of the gold set; ``None`` before people have reviewed it.
        points, intervals: of all series, counted.
        outage: that the source could not be reached and the cache answered, in words; else "".
        not_written_back: why the source has not all detections, in words; else "".
        beside: model versions that propose beside the champion; left_out: why others of ``review.beside`` do not.
        source_state: digest of what the source held; "" = not known.
    """

    champion: int
    model_version: str
    threshold: float
    queued: int
    gold_queued: int
    gold_version: str | None
    series: int
    points: int
    intervals: int
    outage: str = ""
    not_written_back: str = ""
    proposed: int | None = None
    left: int = 0
    beside: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    source_state: str = ""

    @property
    def split(self) -> str:
        """What the queue holds, in words; "" for an empty one."""
        return split_in_words(self.queued, self.proposed, self.gold_queued)


def split_in_words(queued: int, proposed: int | None, gold: int) -> str:
    """What a queue holds; as the fields of :class:`Detected`."""
    shown = "" if proposed in (None, queued) else f" ({proposed} show an interval)"
    parts = [f"{queued} windows with proposals{shown}"] if queued else []
    parts += [f"{gold} blind ones that score the model"] if gold else []
    return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Pushed(Result):
    """PUSH: windows of the queue, and how many tasks were made for them just now."""

    windows: int
    created: int


@dataclass(frozen=True, eq=False)
class Undecided(Result):
    """A window that people have answered without a truth: all skipped it, or they disagree. ns UTC, half-open.

    Attributes:
        state: ``SKIPPED``, or ``CONFLICT``, which is drawn again; in a store of before "", which never is.
    """

    point_id: str
    start: int
    end: int
    state: str = ""


@dataclass(frozen=True, eq=False)
class Collected(Result):
    """DATASET: the training dataset version that the reviews made.

    Attributes:
        windows, positive: of the whole version, and those with an interval.
        parent: the version that it adds to.
        states: windows of this iteration's queue by ``ReviewState``; in a store of before its gold windows, too.
        gold_states: its gold windows alike.
        gold_windows, gold_positive: of the gold set, and those with an interval; 0 in a store of before.
        undecided: windows of the queue that people have answered, though no dataset version holds them.
        people: who have answered windows of the queue, counted; 0 in a store of before.
    """

    version: str
    windows: int
    gold_version: str
    parent: str | None
    positive: int
    states: Mapping[str, int]
    outage: str = ""
    gold_states: Mapping[str, int] = field(default_factory=dict)
    gold_windows: int = 0
    gold_positive: int = 0
    undecided: tuple[Undecided, ...] = ()
    people: int = 0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`; a store of before calls some states otherwise."""
        states = {ReviewState(name).value: count for name, count in values["states"].items()}
        return super().from_json({**values, "states": states})

    @property
    def learned_from(self) -> str:
        """What there is to learn from, and what scores the model, in words."""
        text = f"{self.windows} windows to learn from ({self.positive} with an anomaly)"
        gold = f", {self.gold_windows} that score the model ({self.gold_positive} with an anomaly)"
        return text + (gold if self.gold_windows else "")

    @property
    def pending(self) -> int:
        """Windows that nobody has answered."""
        return self.states[ReviewState.PENDING.value]


@dataclass(frozen=True, eq=False)
class Withdrawn(Result):
    """WITHDRAW: tasks without an annotation that were taken back."""

    withdrawn: int


@dataclass(frozen=True, eq=False)
class LoggedModel(Result):
    """A model in MLflow that can be registered: its URI, and the tags of its version."""

    model_uri: str
    tags: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Trained(Result):
    """TRAIN: an adapter, a threshold or neither.

    Attributes:
        trained: whether there is a new adapter; ``reason`` says why not.
        model: what to register; ``None`` where nothing was learned.
    """

    trained: bool
    reason: str
    metrics: Mapping[str, float]
    threshold: float
    model: LoggedModel | None
    dataset_version: str


@dataclass(frozen=True, eq=False)
class Registered(Result):
    """REGISTER: number of the challenger; ``None`` where nothing was learned."""

    challenger: int | None
    reason: str


@dataclass(frozen=True, eq=False)
class Scored(Result):
    """EVALUATE: ``champion`` and, where there is one, ``challenger`` on the gold set.

    Attributes:
        intervals: true ones in the gold set, each counted once.
        scores: metrics of each.
        versions: their numbers.
        paired: by metric; empty without a challenger.
    """

    gold_version: str
    intervals: int
    scores: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, int]
    paired: Mapping[str, PairedGain] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Promoted(Decision):
    """PROMOTE: what the gate decided; number and gold metrics of the champion after it."""

    champion: int
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Reported(Result):
    """REPORT: iterations that the chart shows."""

    iterations: int
