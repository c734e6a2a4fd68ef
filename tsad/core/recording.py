"""A recorder for work that nobody keeps: the helping processes of a training, measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any


class NoRecord:
    """Takes everything that a :class:`~tsad.core.protocols.Recorder` takes, and keeps nothing."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...

    def tags(self, values: Mapping[str, str]) -> None: ...

    def json(self, value: Any, path: str) -> None: ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def figure(self, figure: Any, path: str) -> None: ...

    def table(self, rows: Sequence[Mapping[str, Any]], path: str) -> None: ...

    def system_metrics(self) -> AbstractContextManager[Any]:
        return nullcontext()
