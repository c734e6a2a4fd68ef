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


class Verbs(Protocol):
    """What the command line knows of its verbs, for those that start them otherwise; safe to use from threads."""

    def names(self) -> list[str]:
        """Every verb, sorted."""

    def schema(self, verb: str) -> Mapping[str, Any]:
        """What the verb takes, as JSON Schema. Raises ConfigError where there is none of that name."""

    def check(self, verb: str, overrides: Sequence[str]) -> Any:
        """Compose and check everything that this call would; returns its options, nothing is built.

        Returns:
            ``config.Settings``.

        Raises:
            ConfigError: an unknown verb or key, a value that does not fit, a secret.
        """

    def bench(self, verb: str, overrides: Sequence[str]) -> Any:
        """The workbench of such a call, which nobody watches. Returns ``config.Workbench``; raises as check."""


@dataclass(frozen=True)
class Standing:
    """Where the whole service stands, and how much it does at once.

    Attributes:
        overrides: words of the command line that its requests start from, e.g. ``loop.name=plant``.
    """

    at: Address
    token: str
    bounds: Bounds
    overrides: tuple[str, ...] = ()


class Serving(Protocol):
    """Serves HTTP while its block runs, and gives the URL; whoever starts a call hands it in."""

    def hooks(self, at: Address, secret: str, hint: Callable[[], None]) -> AbstractContextManager[str]:
        """Listens for webhooks that bear the secret; each one calls ``hint``, which answers at once."""

    def backend(
        self, at: Address, token: str, model: Predicting, hint: Callable[[], None], bounds: Bounds
    ) -> AbstractContextManager[str]:
        """Label Studio's ML backend; the token is the password of HTTP Basic."""

    def whole(self, standing: Standing, bench: Any) -> AbstractContextManager[str]:
        """The whole service: data, jobs, predictions, live metrics, the page and Label Studio's backend.

        Args:
            bench: the ``config.workbench.Workbench`` of the call that serves.
        """
