"""Training in one process or in several that ``accelerate launch`` has started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Processes:
    """The processes that train together, this one among them; each takes its share of every batch.

    Attributes:
        count: of processes; ``rank``: this one's number from 0 on.
    """

    def __init__(self) -> None:
        from accelerate import Accelerator

        self._accelerator = Accelerator(device_placement=False)
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index

    def wrap(self, model: torch.nn.Module) -> Any:
        """The model whose backward pass averages gradients over the processes; itself where there is one."""
        return self._accelerator.prepare_model(model, device_placement=False) if self.count > 1 else model

    def apart(self, wrapped: Any) -> AbstractContextManager[Any]:
        """Gradients are not averaged yet: more passes of this step follow."""
        return self._accelerator.no_sync(wrapped) if self.count > 1 else nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass of a share of the batch; averaging over the processes is undone, shares add up."""
        self._accelerator.backward(loss * self.count)

    def total(self, value: float, device: torch.device) -> float:
        """The sum over the processes."""
        import torch

        if self.count == 1:
            return value
        return float(self._accelerator.reduce(torch.tensor(value, device=device), reduction="sum"))

    def cut(self, rows: Sequence[T], most: int | None) -> list[tuple[Sequence[T], bool]]:
        """This process's rows in pieces of at most ``most``, and whether each counts.

        Every process gets as many pieces, since all go through the network together: where it has no more rows of its
        own it goes through the batch's first, which does not count.
        """
        own, longest = rows[self.rank :: self.count], -(-len(rows) // self.count)
        size = most or longest
        pieces = [own[k : k + size] for k in range(0, longest, size)]
        return [(piece or rows[:1], bool(piece)) for piece in pieces]
