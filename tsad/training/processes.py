"""Training in one process or in several that ``accelerate launch`` has started."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from tsad.core.errors import TrainingError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

LET_GO = 0.5  # seconds


def rank_of_launch() -> int:
    """This process's number among those that ``accelerate launch`` has started; 0 = the first, or the only one."""
    return int(os.environ.get("RANK") or 0)


def _part() -> None:
    """Leave the other processes while Python still runs.

    Gloo's threads let go of tensors a little after whoever waited for them goes on. One that does so while Python ends
    is ended by it in the midst of C++, which aborts a process whose work is all done and kept. Joining them would be
    the cure, but torch ends them only with the last reference to the group, and keeps some of its own after DDP and
    FSDP; so they are left alone with the interpreter for LET_GO seconds. What they need of it is microseconds.
    """
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    time.sleep(LET_GO)


class Processes:
    """The processes that train together, this one among them; each takes its share of every batch.

    Raises:
        TrainingError: started for DeepSpeed.

    Attributes:
        count: of processes; ``rank``: this one's number from 0 on.
        sharded: whether each holds a part of the weights only (FSDP).
    """

    def __init__(self) -> None:
        from accelerate import Accelerator

        if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
            raise TrainingError(
                "accelerate was told to use DeepSpeed, which nothing here drives: gradients would not be shared",
                "Launch with docs/accelerate/fsdp.yaml, or without a config file (accelerate launch --multi_gpu).",
            )
        self._accelerator = Accelerator(device_placement=False)
        self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
        if self.count > 1:
            atexit.register(_part)
        self.sharded = self.count > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"

    def shard(self, model: Any) -> None:
        """Under FSDP, cut the weights up in place: each process keeps its part of every block and gathers the others'
        when the block is at work. Before an optimiser sees them.

        By torch's own ``fully_shard``, which accelerate calls on GPUs alone.
        """
        if not self.sharded:
            return
        from peft import PeftModel
        from torch.distributed.fsdp import fully_shard

        network = model.get_base_model() if isinstance(model, PeftModel) else model
        blocks = set(getattr(network, "_no_split_modules", None) or ())
        for module in network.modules():
            if type(module).__name__ in blocks:
                fully_shard(module)
        fully_shard(network)

    def wrap(self, model: torch.nn.Module) -> Any:
        """The model whose backward pass averages gradients over the processes."""
        if self.count == 1 or self.sharded:
            return model
        return self._accelerator.prepare_model(model, device_placement=False)

    def apart(self, wrapped: Any) -> AbstractContextManager[Any]:
        """Gradients are not averaged yet: more passes of this step follow."""
        return self._accelerator.no_sync(wrapped) if self.count > 1 and not self.sharded else nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass of a share of the batch; averaging over the processes is undone, shares add up."""
        (loss * self.count).backward()

    def total(self, value: float, device: torch.device) -> float:
        """The sum over the processes."""
        import torch

        if self.count == 1:
            return value
        return float(self._accelerator.reduce(torch.tensor(value, device=device), reduction="sum"))

    def agreed(self, figures: dict[str, float]) -> dict[str, float]:
        """The first process's, so that all decide alike."""
        from accelerate.utils import broadcast_object_list

        told = [figures]
        if self.count > 1:
            broadcast_object_list(told, from_process=0)
        return told[0]

    def cut(self, rows: Sequence[T], most: int | None) -> list[tuple[Sequence[T], bool]]:
        """This process's rows in pieces of at most ``most``, and whether each counts.

        Every process gets as many pieces, since all go through the network together: where it has no more rows of its
        own it goes through the batch's first, which does not count.
        """
        own, longest = rows[self.rank :: self.count], -(-len(rows) // self.count)
        size = most or longest
        pieces = [own[k : k + size] for k in range(0, longest, size)]
        return [(piece or rows[:1], bool(piece)) for piece in pieces]
