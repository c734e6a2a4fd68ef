"""What rooms expect of each other without importing each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tsad.core.reviews import ReviewedWindow
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, Detection, FloatArray, Interval, Origin

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


class Recorder(Protocol):
    """Where a step writes what people will compare; ``tracking`` fills it in with an MLflow run."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...

    def tags(self, values: Mapping[str, str]) -> None: ...

    def json(self, value: Any, path: str) -> None: ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def figure(self, figure: Figure, path: str) -> None: ...

    def table(self, rows: Sequence[Mapping[str, Any]], path: str) -> None: ...


class Progress(Protocol):
    """How far long work is: a bar in the terminal, the progress of a job."""

    def task(
        self, name: str, total: int | None = None, done: int = 0
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A part of the work while its block runs; the block calls what it is given with the number of items done
        so far, those done before included.

        Args:
            name: what is being done, in a word or two, e.g. ``training``.
            total: items in all; ``None`` = unknown.
            done: items that were done before.
        """

    def note(self, text: str) -> None:
        """One line for whoever watches: something long has begun, ended or waits."""


class Listener(Protocol):
    """Hears the figures of training while it goes on: a job's live curve, event files for TensorBoard."""

    def heard(self, values: Mapping[str, float], step: int) -> None:
        """Take figures of one step, e.g. ``train_loss``; NaN and infinity may be among them.

        Called from any thread, and waited for: it answers at once.
        """


class Control(Protocol):
    """What long work asks at every safe point, i.e. where it may end or wait without losing anything."""

    def safe_point(self) -> None:
        """Wait while paused; raise :class:`~tsad.core.control.StopRequested` where it is to stop."""

    def checkpoint_asked(self) -> bool:
        """Whether to keep the state now, where the work can; asked once, answered once."""


class Examining(Protocol):
    """What proposals are made from: a detector's scores or its own candidates, alone or with the series' evidence.

    ``scored`` tells which of ``score`` and ``candidates`` it answers; ``examine`` gives one
    ``detectors.evidence.examined.Examined`` per series.
    """

    @property
    def scored(self) -> bool: ...

    def score(self, series: Sequence[Series]) -> list[FloatArray]: ...

    def candidates(self, series: Series) -> tuple[Interval, ...]: ...

    def examine(self, series: Sequence[Series]) -> Iterator[Any]: ...


class Embedding(Protocol):
    """What describes stretches of values by vectors, so that it can be said which are alike.

    ``name`` is what people choose it by, ``identity`` what its vectors depend on beside the values: a recipe, or the
    digest of base weights. Vectors of different identity are never compared.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """A vector of each stretch. [L] each, NaN where missing -> [N, D]."""


class Proposing(Protocol):
    """What turns a detector's knowledge of series into proposals, each under one origin."""

    @property
    def origin(self) -> Origin: ...

    @property
    def threshold(self) -> float: ...

    def propose(self, detector: Examining, series: Sequence[Series]) -> Iterator[Detection]:
        """What it proposes of each series, in the order given, one at a time."""


@runtime_checkable
class Trainable(Protocol):
    """A detector whose network takes a LoRA adapter.

    ``network()`` is a fresh copy of the base on the CPU or GPU, without an adapter. ``encode`` turns windows and
    their truth (masks [L] bool each) into one row per window, whatever a row is; ``collate`` makes a batch of rows: the
    keyword arguments of the network, whose output has a ``.loss``. A tensor of it need not be indexed by example.

    A detector may also offer ``replay(count, rng)``, rows of synthetic windows against forgetting, and
    ``validate(network, windows, masks)``, metrics that take the place of the validation loss: among them
    ``validation_loss``, lower = better (e.g. 1 - F1 of generated answers).
    """

    def network(self) -> torch.nn.Module: ...

    def encode(
        self, windows: Sequence[Window], masks: Sequence[BoolArray], rng: np.random.Generator
    ) -> Sequence[Any]: ...

    def collate(self, rows: Sequence[Any]) -> Mapping[str, Any]: ...


class Row(Protocol):
    """One training row of a detector that answers in tokens: a prompt and its answer; a window may give several.

    Attributes:
        tokens: of the whole row, placeholders expanded, the answer included.
        window_id: of the window it was made of.
        positive: whether its answer holds an interval.
    """

    @property
    def tokens(self) -> int: ...

    @property
    def window_id(self) -> str: ...

    @property
    def positive(self) -> bool: ...


@runtime_checkable
class Answering(Trainable, Protocol):
    """A detector whose network answers in tokens; it is trained on rows, and validated by what it generates.

    ``rows`` makes them of reviewed windows, ``collate`` gives the network's keyword arguments, right-padded, with
    ``labels`` on the answers only (-100 elsewhere). ``network()`` is the fresh base, quantised where the detector's
    options say so. ``validate`` generates answers: ``validation_interval_f1`` and others, among them
    ``validation_loss`` = 1 - F1. ``replay(count, rng)``, where there is one, gives rows too.
    """

    def rows(self, reviewed: Sequence[ReviewedWindow]) -> Sequence[Row]: ...

    def collate(self, rows: Sequence[Row]) -> Mapping[str, Any]: ...

    def network(self) -> torch.nn.Module: ...

    def validate(
        self, network: torch.nn.Module, windows: Sequence[Window], masks: Sequence[BoolArray]
    ) -> Mapping[str, float]: ...
