"""Which windows a look or a batch action is about, and which of them people check all the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.types import Interval
from tsad.files.hashing import digest_of_text

AUDIT = "audit"  # why people are asked about a window that a batch action would have answered


@dataclass(frozen=True)
class WindowFilter:
    """Windows of a queue; what is ``None`` lets every window pass.

    Attributes:
        state: how people have left it. window: what ids begin with.
        score_above, score_below: bounds of the confidence people see, the first inclusive.
        detector, version: the champion's; a version in full or by its number. point: a pattern of identifiers.
        kind: named by the proposal or by the truth.
        batch: run of the batch action that answered them; its first digits will do.
    """

    state: ReviewState | None = None
    score_above: float | None = None
    score_below: float | None = None
    detector: str | None = None
    version: str | None = None
    point: str | None = None
    kind: str | None = None
    window: tuple[str, ...] | None = None
    batch: str | None = None

    @property
    def plain(self) -> bool:
        """Whether every window passes."""
        return self == WindowFilter()

    def passes(self, reviewed: ReviewedWindow) -> bool:
        """Whether the window is among them."""
        choice = reviewed.choice
        blind = choice.purpose is Purpose.GOLD  # a bound of the score would tell what the model thinks
        if blind and (self.score_above, self.score_below, self.detector, self.version) != (None,) * 4:
            return False
        return all((
            self.state in (None, reviewed.state),
            self.score_above is None or choice.confidence >= self.score_above,
            self.score_below is None or choice.confidence < self.score_below,
            self.detector is None or (choice.origin is not None and choice.origin.detector == self.detector),
            self.version is None or self.version in _versions(choice),
            self.point is None or fnmatchcase(choice.window.point_id, self.point),
            self.kind is None or self.kind in kinds_of(reviewed),
            self.window is None or choice.window.window_id.startswith(self.window),
            self.batch is None or any(is_of_batch(a, self.batch) for a in reviewed.annotations),
        ))  # fmt: skip


def is_of_batch(annotation: Annotation, run: str) -> bool:
    """Whether the batch action of this run made the annotation."""
    return f"run {run}" in annotation.batch


def kinds_of(reviewed: ReviewedWindow) -> tuple[str, ...]:
    """Kinds that the proposal or the truth names, sorted."""
    named: Iterable[Interval] = (*(reviewed.choice.proposal or ()), *reviewed.intervals)
    return tuple(sorted({i.label for i in named}))


def audited(names: Sequence[str], share: float) -> frozenset[str]:
    """Of the windows that an action would answer those that people judge instead: a share by chance, at least one.

    The same windows every time, whoever asks, and of a larger share or among more windows those of before as well; so
    an action that was killed, or is done again, takes none of them back.

    Args:
        names: ids of windows. share: 0..1; 0 = none.
    """
    chances = {name: int(digest_of_text(f"{AUDIT}|{name}")[:13], 16) / 16**13 for name in names}
    chosen = frozenset(name for name, chance in chances.items() if chance < share)
    return chosen or frozenset(sorted(chances, key=lambda name: chances[name])[:1] if share > 0 else ())


def _versions(choice: Choice) -> tuple[str, ...]:
    """What the champion's version of a choice is called: in full, and its number."""
    version = choice.origin.model_version if choice.origin else ""
    return version, version.rpartition(":")[2]
