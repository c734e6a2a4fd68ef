"""The learning curve's memory: series examined anew with what the reviews called normal, as the loop does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.core.memory import normal_memory
from tsad.core.series import Window
from tsad.core.types import BoolArray
from tsad.steps.curve_protocol import Line, Split, answers, subject_of

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer


@dataclass(frozen=True, eq=False)
class Recall:
    """What reviews do beside correcting the proposer.

    Attributes:
        detector: without a memory.
        most: points remembered of each series; 0 = no memory.
    """

    detector: Detector
    most: int

    def after(self, split: Split, count: int, noise: float, base: Proposer) -> Split:
        """The split as it looks after ``count`` windows; as it is where nothing reads or makes a memory."""
        if not count or not self.most or not (self.detector.remembers or base.remembers):
            return split
        _, said = answers(split, count, noise)
        windows: list[tuple[Window, BoolArray]] = []
        for one, at in split.line.slices():
            own = (w for w in split.windows[:count].tolist() if at.start <= w[0] < at.stop)
            windows += [(Window(one.series, a - at.start, b - at.start), said[a:b]) for a, b in own]
        memory = normal_memory(windows, self.most)
        remembering = self.detector.with_memory(memory)
        subjects = [
            subject_of(remembering, one.series, one.seen.truth) if memory.of(one.series.point_id) else one
            for one in split.line.subjects
        ]
        return split.seen_anew(Line(split.line.name, subjects))
