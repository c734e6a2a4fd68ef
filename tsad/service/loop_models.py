"""What pre-annotates the tasks of any loop: each loop's champion, asked in the process with the models."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsad.core.serving import Predicting
from tsad.loop.hints import Hints
from tsad.service.model_process import ModelProcess

UNKNOWN = {"model_version": "", "problem": ""}


@dataclass(frozen=True, eq=False)
class LoopModel:
    """See :class:`~tsad.core.serving.Predicting`.

    Attributes:
        seconds: that an answer about the version may take.
    """

    process: ModelProcess
    loop: str
    seconds: float

    def label(self) -> str:
        """See :class:`~tsad.core.serving.Predicting`."""
        asked = self.process.ask("label", {"loop": self.loop}, until=time.monotonic() + self.seconds)
        return str(asked.result().about["label"])

    def state(self) -> Mapping[str, Any]:
        """See :class:`~tsad.core.serving.Predicting`; of a loop that nobody has asked about nothing is known."""
        return self.process.states.get(self.loop, UNKNOWN)

    def predict(self, tasks: Sequence[Mapping[str, Any]], template: str, until: float) -> list[dict[str, Any]]:
        """See :class:`~tsad.core.serving.Predicting`."""
        about = {"loop": self.loop, "tasks": list(tasks), "template": template}
        made: list[dict[str, Any]] = self.process.ask("tasks", about, until=until).result().about["results"]
        return made


def models_of(
    process: ModelProcess, home: Path, seconds: float
) -> Callable[[str], tuple[Predicting, Callable[[], None]]]:
    """What pre-annotates a loop's tasks, and what is hinted of it; of loops that nobody asked about hints are none."""

    def of(loop: str) -> tuple[Predicting, Callable[[], None]]:
        def hint() -> None:
            if loop in process.states:
                Hints(home, loop).give()

        return LoopModel(process, loop, seconds), hint

    return of
