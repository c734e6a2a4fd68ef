"""Every window that a loop ever queued, read from where people review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.reviews import Choice, ReviewedWindow
from tsad.loop.detect import DETECT
from tsad.loop.opening import open_loop
from tsad.loop.pull import DATASET
from tsad.loop.queue import queue_of
from tsad.loop.runner import finished

if TYPE_CHECKING:
    from tsad.review.base import Reviewer
    from tsad.tracking.runs import Iteration, LoopStore


@dataclass(frozen=True, eq=False)
class Reviews:
    """Every window that a loop ever queued, as people left it.

    Attributes:
        own: the workbench under the config of the loop's newest iteration with a queue, ``iteration``.
        numbers: whose queue each window was last in, by the window's id.
    """

    own: Workbench
    loop: LoopStore
    iteration: Iteration
    reviewer: Reviewer
    reviewed: Sequence[ReviewedWindow]
    numbers: dict[str, int]

    @property
    def current(self) -> list[ReviewedWindow]:
        """Those of the newest queue."""
        return [r for r in self.reviewed if self.numbers[r.window.window_id] == self.iteration.number]

    @property
    def collected(self) -> bool:
        """Whether the newest queue has become a dataset version."""
        return finished(self.iteration, DATASET) is not None


def reviews_of(bench: Workbench) -> Reviews:
    """All queues of the loop, read from where people review.

    Raises:
        LoopError: no iteration has a queue yet.
        ReviewError: Label Studio unreachable, token refused, project gone.
    """
    loop = open_loop(bench)
    drawn = [it for it in loop.iterations() if it.finished(DETECT.name) is not None]
    if not drawn:
        raise LoopError(f"loop {loop.name} has no queue yet", "Run tsad iterate first.")
    own = bench.thaw(drawn[-1].config_yaml)
    choices: dict[str, Choice] = {}
    numbers: dict[str, int] = {}
    for iteration in drawn:
        record = iteration.finished(DETECT.name)
        assert record is not None
        for choice in queue_of(own, record):
            choices[choice.window.window_id], numbers[choice.window.window_id] = choice, iteration.number
    reviewer = own.make_reviewer()
    return Reviews(own, loop, drawn[-1], reviewer, reviewer.look(list(choices.values())), numbers)
