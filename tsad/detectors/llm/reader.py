"""What a language model reads: blocks of a series in a prompt, and batches of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.tuning import UNTAUGHT
from tsad.core.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch



@dataclass(frozen=True, eq=False)
class Block:
    """A stretch of a series as one prompt shows it.

    Attributes:
        values: [L, C] float64, NaN where missing, in the series' own unit.
        channels: C names.
    """

    values: FloatArray
    channels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Prompted:
    """A block put into a prompt.

    Attributes:
        ids: tokens, with as many placeholders as the network puts patches there; they end where the answer begins.
        payload: what goes in beside the tokens, as the reader wants it.
    """

    ids: list[int]
    payload: Any


class Wording(ABC):
    """What stands for a block in a prompt's text, and which points of the block the units of an answer are."""

    @abstractmethod
    def marks(self, block: Block) -> str:
        """What stands for the block in a prompt's text."""

    @abstractmethod
    def units(self, points: int) -> int:
        """How many flags an answer has for a block of so many points."""

    def edges(self, points: int) -> IntArray:
        """First point of each unit and, last, the number of points: [units + 1]."""
        units = self.units(points)
        return -(-np.arange(units + 1, dtype=np.int64) * points // units)

    def position_edges(self, points: int) -> IntArray:
        """First point of each position that intervals count in and, last, the number of points: [positions + 1].

        The points themselves, unless the reader says otherwise.
        """
        return np.arange(points + 1, dtype=np.int64)


class Reader(Wording):
    """Turns blocks into what a network takes.

    Attributes:
        tokenizer: of the checkpoint; ``None`` = it says what stands in a prompt, but makes no tokens of it.
    """

    tokenizer: Any

    @cached_property
    def plain_tokens(self) -> torch.Tensor:
        """Which tokens of the tokenizer may stand inside a reason; looked through once. [V] bool."""
        from tsad.detectors.llm.decode import plain_tokens

        return plain_tokens(self.tokenizer, len(self.tokenizer))

    @abstractmethod
    def read(self, block: Block, text: str) -> Prompted:
        """The block in a prompt.

        Args:
            text: the whole text with the block's marks in it, as the chat template gives it.

        Raises:
            DetectorError: a text without the marks; an image that takes more tokens than there may be.
        """

    @abstractmethod
    def beside(self, prompted: Sequence[Prompted], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors of a batch that go in beside its ``input_ids`` and ``attention_mask`` [N, S]."""

    def collate(
        self, prompted: Sequence[Prompted], answers: Sequence[Sequence[int]] | None = None
    ) -> dict[str, torch.Tensor]:
        """A batch of prompts, padded on the left; with their answers padded on the right, with ``labels`` on these.

        Args:
            answers: token ids; an id below 0 is a token that is written (as ``-1 - id``) and not taught.
        """
        import torch

        rows = [list(p.ids) for p in prompted]
        if answers is not None:
            rows = [row + [a if a >= 0 else -1 - a for a in own] for row, own in zip(rows, answers, strict=True)]
        width, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.full((len(rows), width), pad)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for k, row in enumerate(rows):
            part = slice(0, len(row)) if answers is not None else slice(width - len(row), width)
            ids[k, part], mask[k, part] = torch.tensor(row), 1
        batch = {"input_ids": ids, "attention_mask": mask}
        if answers is not None:
            batch["labels"] = torch.full((len(rows), width), UNTAUGHT)
            for k, own in enumerate(answers):
                first = len(prompted[k].ids)
                taught = torch.tensor([a if a >= 0 else UNTAUGHT for a in own])
                batch["labels"][k, first : first + len(own)] = taught
        return batch | self.beside(prompted, batch)
