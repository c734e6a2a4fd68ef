"""What passes between those who answer HTTP and those who know what to answer, without importing each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Address:
    """Where to listen; port 0 = any free one."""

    host: str
    port: int


@dataclass(frozen=True)
class Bounds:
    """How much is done at once.

    Attributes:
        running: requests that are worked on. waiting: that wait for their turn; more are refused.
        seconds: that one may take. body: its most bytes.
    """

    running: int
    waiting: int
    seconds: float
    body: int


class Predicting(Protocol):
    """What pre-annotates tasks of Label Studio as they are opened. Safe to use from several threads."""

    def label(self) -> str:
        """``<model>:<version>`` of the version that answers now; answers at once.

        Raises:
            TsadError: none can answer.
        """

    def state(self) -> Mapping[str, Any]:
        """How it stands, of JSON's types only; answers at once."""

    def predict(self, tasks: Sequence[Mapping[str, Any]], template: str, until: float) -> list[dict[str, Any]]:
        """A prediction for each task, in their order; one that cannot be had has ``error`` instead of ``result``.

        Args:
            tasks: as Label Studio sends them, with ``id`` and ``data``. template: the project's labelling config.
            until: ``time.monotonic()`` from which on nobody waits for it; no task is begun then.

        Raises:
            TsadError: nothing can be answered at all.
        """


class Serving(Protocol):
    """Serves HTTP while its block runs, and gives the URL; whoever starts a call hands it in."""

    def hooks(self, at: Address, secret: str, hint: Callable[[], None]) -> AbstractContextManager[str]:
        """Listens for webhooks that bear the secret; each one calls ``hint``, which answers at once."""

    def backend(
        self, at: Address, token: str, model: Predicting, hint: Callable[[], None], bounds: Bounds
    ) -> AbstractContextManager[str]:
        """Label Studio's ML backend; the token is the password of HTTP Basic."""
