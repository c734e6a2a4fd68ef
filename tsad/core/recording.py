"""Recorders beside the store's: one for work that nobody keeps, and one whose metrics others hear too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsad.core.protocols import Listener, Recorder


class NoRecord:
    """Takes everything that a :class:`~tsad.core.protocols.Recorder` takes, and keeps nothing."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...

    def tags(self, values: Mapping[str, str]) -> None: ...

    def json(self, value: Any, path: str) -> None: ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def figure(self, figure: Any, path: str) -> None: ...

    def table(self, rows: Sequence[Mapping[str, Any]], path: str) -> None: ...

    def system_metrics(self, listeners: Sequence[Listener] = ()) -> AbstractContextManager[Any]:
        return nullcontext()


class Overheard:
    """A :class:`~tsad.core.protocols.Recorder` whose metrics are heard by others once they are recorded."""

    def __init__(self, recorder: Recorder, listeners: Sequence[Listener]) -> None:
        self._recorder, self._listeners = recorder, tuple(listeners)
        self.params, self.tags, self.json = recorder.params, recorder.tags, recorder.json
        self.file, self.figure, self.table = recorder.file, recorder.figure, recorder.table

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record them, then tell."""
        self._recorder.metrics(values, step)
        for listener in self._listeners:
            listener.heard(values, step)
