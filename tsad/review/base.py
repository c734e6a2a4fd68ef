"""What every reviewer answers; ``conf/review`` chooses by ``_target_``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from tsad.agreement.deciding import ConsensusRule
from tsad.core.context import Context
from tsad.core.errors import ReviewError
from tsad.core.option_model import Configured, Options
from tsad.core.options import ReviewOptions
from tsad.core.reviews import Choice, ReviewedWindow
from tsad.core.types import Interval

Callback = Literal["webhook", "backend"]


class Reviewer(Configured, ABC):
    """Who answers the windows of a queue.

    Attributes:
        people: whether people answer, in their own time: what nobody has answered can be withdrawn.
        needs_labels: whether the answers come from the series' labels, which no artifact carries.
        context: who watches the call that it answers.
    """

    group = "review"
    people: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    options_model: ClassVar[type[Options]] = ReviewOptions
    settings: ReviewOptions
    context: Context

    @classmethod
    def of_loop(cls, options: Any, *, loop: str, home: Path) -> Self:
        """The reviewer of a loop.

        Args:
            options: what ``options_model`` says. loop: its name. home: the store's folder.

        Raises:
            ReviewError: its address or token is not there.
        """
        return cls(options)

    def __init__(self, options: ReviewOptions | None = None, **given: Any) -> None:
        self.settings, self.context = self.configured(options, given), Context()

    @abstractmethod
    def push(self, choices: Sequence[Choice]) -> int:
        """Take a queue; how many windows are new."""

    @abstractmethod
    def pull(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        """Every window of ``choices`` as it was left, in the same order; ``PENDING`` where nobody answered."""

    def withdraw(self, choices: Sequence[Choice]) -> int:
        """Take back what nobody has answered or begun to; how many windows. Nothing where nothing waits."""
        return 0

    def settle(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """Ask people again about what they disagree on, of windows as they were pulled; how many are newly asked for.

        Nothing where nobody has to be asked: who answers alone never disagrees.
        """
        return 0

    def look(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        """As :meth:`pull`, but a window that was withdrawn since is ``PENDING``."""
        return self.pull(choices)

    def user(self) -> str:
        """Id of the annotator in whose name batch actions answer.

        Raises:
            ReviewError: this reviewer takes no batch actions; so do the three methods below.
        """
        raise self._no_batches()

    def answer(self, answers: Sequence[tuple[Choice, tuple[Interval, ...]]], batch: str) -> int:
        """Answer windows that nobody has answered, marked as this batch's; how many. Done again it answers none."""
        raise self._no_batches()

    def ask(self, choices: Sequence[Choice]) -> int:
        """Tell people that they are asked about these windows as an audit of a batch; how many are told newly."""
        raise self._no_batches()

    def take_back(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """Delete every answer to these windows, as they were pulled, so that people are asked again; how many."""
        raise self._no_batches()

    def connect(self, kind: Callback, url: str, secret: str) -> None:
        """Have this reviewer's own system call ``url``: to tell of answers, or for pre-annotations; twice is once.

        Raises:
            ReviewError: nothing is there that could call.
            ConfigError: it calls no address of this kind; names what to set.
        """
        raise ReviewError(f"{type(self).__name__} calls nobody", "Leave the webhook out, or use review=label_studio.")

    def disconnect(self, kind: Callback, url: str) -> None:
        """Have it call ``url`` no more; nothing where it does not."""

    def _no_batches(self) -> ReviewError:
        return ReviewError(f"{type(self).__name__} takes no batch actions", "They are for review=label_studio.")

    @property
    def rule(self) -> ConsensusRule:
        """How several people's answers become one."""
        return ConsensusRule(self.settings.agreement_iou)

    @property
    def project_url(self) -> str:
        """Where people review; "" where nobody has to go anywhere."""
        return ""
