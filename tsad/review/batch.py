"""Which windows a look or a batch action is about, and which of them people check all the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tsad.core.reviews import Choice, ReviewedWindow, ReviewState
from tsad.core.types import Interval
from tsad.files.hashing import digest_of_text

AUDIT = "audit"  # why people are asked about a window that a batch action would have answered


@dataclass(frozen=True)
class WindowFilter:
    """Windows of a queue; what is ``None`` lets every window pass.

    Attributes:
        state: how people have left it. window: ids.
        score_above, score_below: bounds of the confidence people see, the first inclusive.
        detector: the champion's detector or version. point: a pattern of identifiers.
        kind: named by the proposal or by the truth.
    """

    state: ReviewState | None = None
    score_above: float | None = None
    score_below: float | None = None
    detector: str | None = None
    point: str | None = None
    kind: str | None = None
    window: tuple[str, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether every window passes."""
        return self == WindowFilter()

    def passes(self, reviewed: ReviewedWindow) -> bool:
        """Whether the window is among them."""
        choice = reviewed.choice
        return all((
            self.state in (None, reviewed.state),
            self.score_above is None or choice.confidence >= self.score_above,
            self.score_below is None or choice.confidence < self.score_below,
            self.detector is None or self.detector in _names(choice),
            self.point is None or fnmatchcase(choice.window.point_id, self.point),
            self.kind is None or self.kind in kinds_of(reviewed),
            self.window is None or choice.window.window_id in self.window,
        ))  # fmt: skip


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


def _names(choice: Choice) -> tuple[str, ...]:
    """What the champion of a choice is called: detector, version in full, number of it."""
    if choice.origin is None:
        return ()
    version = choice.origin.model_version
    return choice.origin.detector, version, version.rpartition(":")[2]
