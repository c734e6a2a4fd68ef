"""Teach a large network from reviewed windows: rows of tokens, LoRA or QLoRA, one process or several (accelerate)."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tsad.adapters import lora
from tsad.adapters.memory import GIB, gpu_at_hand
from tsad.core.control import StopRequested
from tsad.core.errors import MissingPackageError, TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Answering, Recorder, Row, Trainable
from tsad.core.reviews import DatasetVersion
from tsad.core.tuning import UNTAUGHT, MemoryPlan, Tuned, TuningCall
from tsad.files.locate import install_extra
from tsad.training import checkpoints
from tsad.training.batches import NaturalDraws, Split
from tsad.training.processes import Processes
from tsad.training.seeding import generator, seed_all
from tsad.training.session import Session, tuned
from tsad.training.validation import to_device

if TYPE_CHECKING:
    import torch

log = logging.getLogger("tsad")


class LargeTuner:
    """The :class:`~tsad.core.tuning.Tuner` of detectors whose networks answer in tokens (core.protocols.Answering)."""

    def check(self, options: AdapterOptions) -> None:
        """Refuse options that nothing here can honour.

        Raises:
            MissingPackageError: 4-bit bases and 8-bit optimisers without bitsandbytes.
            TrainingError: bf16 on a GPU that has none.
        """
        for key, value in (("quantisation", "nf4"), ("optimiser", "adamw_8bit")):
            if getattr(options, key) == value and importlib.util.find_spec("bitsandbytes") is None:
                raise MissingPackageError(
                    f"adapter.{key}={value} needs bitsandbytes, which is not installed",
                    f"Run: {install_extra('qlora')}",
                )
        if options.precision == "bf16" and gpu_at_hand() and not _has_bf16():
            raise TrainingError("adapter.precision is bf16, which this GPU has not", "Use adapter.precision=auto.")

    def fit(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall,
        recorder: Recorder,
    ) -> Tuned:  # fmt: skip
        """Train an adapter on a dataset version; on one CPU the same arguments give the same adapter, byte for byte.

        Reviewed windows become rows (``detector.rows``); every epoch goes through all of them, so that windows without
        an anomaly keep their share. A step takes ``batch_size`` rows, ``replay_share`` of them synthetic where the
        detector has some, ``micro_batch`` at a time; each answer token of the batch weighs the same however it is cut
        up. Rows longer than ``max_tokens`` do not train: they are named in the log and counted (``rows_too_long``).
        AdamW, linear warm-up, cosine decay to zero. Every ``eval_every`` steps the detector answers the validation
        windows; training stops after ``patience`` evaluations without a lower validation loss (1 - interval F1), and
        the adapter of the lowest one is kept.

        Args:
            recorder: receives ``train_loss``, ``learning_rate``, ``grad_norm``, ``examples_per_second`` and
                ``validation_*`` at every evaluation; the call's listener hears of steps between them too.

        Raises:
            TrainingError: a detector that makes no rows, gold windows, no row that fits, a full GPU, options that
                cannot be honoured, a loss that is not finite, a foreign checkpoint.
            MissingPackageError: see :meth:`check`.
            WeightsError: base or adapter are damaged or do not fit.
            StorageError: disk full.
            StopRequested: the call's control asked for it; the same call goes on from there.
        """
        import torch

        self.check(options)
        if not isinstance(detector, Answering):
            raise TrainingError(
                f"{type(detector).__name__} makes no rows of tokens", "Let its class name another tuner."
            )
        plan = _planned(detector, options)

        def session(parts: Split) -> Session:
            made = _LargeSession(detector, version, options, call, parts, recorder)
            made.planned = plan.total if plan else None
            return made

        try:
            return tuned(session, version, options, call, recorder)
        except torch.cuda.OutOfMemoryError as error:
            raise _full(error, plan) from error


def _has_bf16() -> bool:
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _planned(detector: Trainable, options: AdapterOptions) -> MemoryPlan | None:
    """The detector's memory plan, its warnings said and held against the GPU at hand."""
    make = getattr(detector, "memory_plan", None)
    plan: MemoryPlan | None = make(options) if make and options.enabled else None
    if plan is None:
        return None
    for text in plan.warnings:
        log.warning("%s", text)
    gpu = gpu_at_hand()
    if gpu and plan.total > gpu[1]:
        log.warning(
            "training %s is planned to take %.1f GiB, %s has %.1f. %s", plan.base, plan.total, *gpu, _smaller(plan)
        )
    return plan


def _refuse_whole(options: AdapterOptions) -> None:
    """What cannot be cut up between processes.

    Raises:
        TrainingError: naming the option.
    """
    for key, value in (("quantisation", "nf4"), ("optimiser", "adamw_8bit"), ("method", "full")):
        if getattr(options, key) == value:
            raise TrainingError(
                f"adapter.{key}={value} under FSDP, which cannot cut that up between processes",
                "Use adapter=lora, or launch without FSDP (accelerate launch --multi_gpu).",
            )


def _keep_little(network: Any) -> None:
    """Keep few activations, not re-entrant: gradients reach the adapters though nothing before them needs one."""
    if begin := getattr(network, "activation_checkpointing_enable", None):  # what transformers calls it from 5.2x on
        begin(activation_checkpointing_kwargs={"use_reentrant": False})
    else:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def peak_told(peak: float, planned: float | None) -> str:
    """The measured peak beside the plan, both in GiB."""
    return f"peak {peak:.1f} GiB, planned {'nothing' if planned is None else f'{planned:.1f} GiB'}"


def _smaller(plan: MemoryPlan | None) -> str:
    """What to type for less memory."""
    left = [f"{s.option} (saves {s.saved:.1f} GiB)" for s in plan.savings if not s.used] if plan else []
    if plan and not left:
        return "Every option that saves memory is on: use a smaller base, or shorter windows."
    return f"Try {', '.join(left) or 'adapter=qlora, adapter.micro_batch=1'}."


def _full(error: Exception, plan: MemoryPlan | None) -> TrainingError:
    planned = f" (planned: {plan.total:.1f} GiB)" if plan else ""
    return TrainingError(f"The GPU is full{planned}: {str(error).splitlines()[0]}", _smaller(plan))


class _LargeSession(Session):
    """Steps over rows of tokens.

    Attributes:
        planned: memory in GiB, to be told beside what is measured; ``None`` where the detector plans none.
    """

    planned: float | None = None

    def __init__(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall, parts: Split,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self.processes = Processes()  # first: it says which device is this process's
        super().__init__(detector, version, options, call, parts, recorder)
        self.answering = cast(Answering, detector)
        made = self.answering.rows([version.windows[k] for k in parts.train])
        self.rows = self._fitting(made)
        if not self.rows:
            longest = max((row.tokens for row in made), default=0)
            raise TrainingError(
                "The reviewed windows give no row: nothing varies in them" if not made else
                f"None of {len(made)} rows fits adapter.max_tokens={options.max_tokens} (longest: {longest} tokens)",
                "Raise adapter.max_tokens, or review shorter windows (windows.length).",
            )
        self.figures |= {
            "rows": float(len(self.rows)), "rows_too_long": float(len(made) - len(self.rows)),
            "tokens_per_row": sum(row.tokens for row in self.rows) / len(self.rows),
        }  # fmt: skip
        lengths = [row.tokens for row in self.rows] if options.group_by_length else None
        self.draws = NaturalDraws(len(self.rows), options.batch_size - self.replays, options.seed, lengths)
        self.wrapped = self.processes.wrap(self.model)
        self.half = options.precision == "bf16" or (
            options.precision == "auto" and self.device.type == "cuda" and _has_bf16()
        )
        self._watch_memory()

    def fresh(self) -> torch.nn.Module:
        """The base, packed as asked for, keeping few activations where that is asked for."""
        network, options = super().fresh(), self.options
        packed = lora.quantised(network)
        if packed != (options.quantisation == "nf4"):
            raise TrainingError(
                f"adapter.quantisation is {options.quantisation}, but the detector's network is "
                f"{'in 4 bits' if packed else 'not quantised'}",
                "Give detector.quantisation the same value (${adapter.quantisation} in its YAML).",
            )
        if options.gradient_checkpointing:
            if not hasattr(network, "gradient_checkpointing_enable"):
                raise TrainingError(
                    f"adapter.gradient_checkpointing is true, but {type(network).__name__} cannot do it",
                    "Use adapter.gradient_checkpointing=false.",
                )
            _keep_little(network)
        return network

    def make_optimizer(self) -> torch.optim.Optimizer:
        import torch

        if self.processes.sharded:
            _refuse_whole(self.options)
        self.processes.shard(self.model)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]  # FSDP has put others in their places
        rate, decay = self.options.settled("learning_rate"), self.options.weight_decay
        if self.options.optimiser == "adamw_8bit":
            from bitsandbytes.optim import PagedAdamW8bit

            return PagedAdamW8bit(self.trained, rate, weight_decay=decay)
        return torch.optim.AdamW(self.trained, rate, weight_decay=decay, fused=self.device.type == "cuda")

    def safe_point(self) -> None:
        """Several processes stop together, before the same step."""
        if self.processes.count == 1:
            return super().safe_point()
        stopping: StopRequested | None = None
        try:
            super().safe_point()
        except StopRequested as asked:
            stopping = asked
        if self.processes.total(float(stopping is not None), self.device):
            raise stopping or StopRequested()

    def checkpoint(self) -> None:
        """Several processes keep none: a run that they began is begun anew."""
        if self.processes.count == 1:
            super().checkpoint()

    def score(self) -> dict[str, float]:
        return self.processes.agreed(super().score())

    def put_back(self, adapter: Mapping[str, torch.Tensor]) -> None:
        if not self.processes.sharded:
            return super().put_back(adapter)
        from torch.distributed.tensor import distribute_tensor

        own = self.model.state_dict()
        for name, tensor in adapter.items():
            cut = own[name]
            cut.copy_(distribute_tensor(tensor.to(cut.device), cut.device_mesh, cut.placements))

    def save(self, folder: Path) -> None:
        """Write the adapter; of several processes the first does."""
        whole = checkpoints.adapter_state(self.model) if self.processes.sharded else None
        if self.processes.rank == 0:
            lora.save(self.model, folder, whole)

    def step(self) -> float:
        seed_all(self.options.seed, 6, self.state.step, *([self.processes.rank] if self.processes.rank else []))
        self.training_mode()
        self.set_rate()
        passes = self._passes()
        loss = 0.0
        for number, (batch, share) in enumerate(passes, start=1):
            with nullcontext() if number == len(passes) else self.processes.apart(self.wrapped):
                loss += self._backward(batch, share)
        norm = self.clipped()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.losses.append(self.finite("loss", self.processes.total(loss, self.device)))
        self._tell_memory()
        return norm

    def _passes(self) -> list[tuple[Mapping[str, Any], float]]:
        """What goes through the network one after the other in this step, each with its share of the answer tokens."""
        options, step = self.options, self.state.step
        rows = [self.rows[k] for k in self.draws.at(step)]
        if self.replays:
            rows += self._fitting(self.replay(self.replays, generator(options.seed, 5, step)))
        if options.group_by_length:
            rows.sort(key=lambda row: row.tokens)
        pieces = self.processes.cut(rows, options.micro_batch)
        batches = [self.answering.collate(piece) for piece, _ in pieces]
        answered = [float((batch["labels"][:, 1:] != UNTAUGHT).sum()) for batch in batches]
        counts = [count if counted else 0.0 for count, (_, counted) in zip(answered, pieces, strict=True)]
        whole = self.processes.total(sum(counts), self.device)
        return [(batch, count / whole) for batch, count in zip(batches, counts, strict=True)]

    def _backward(self, batch: Mapping[str, Any], share: float) -> float:
        with self._computing():
            loss = self.wrapped(**to_device(batch, self.device)).loss
        self.finite("loss", float(loss.detach()))
        self.processes.backward(loss * share)
        return float(loss.detach()) * share

    def _computing(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.half else nullcontext()

    def _fitting(self, rows: Sequence[Row]) -> list[Row]:
        """Those that are not too long; the others are named."""
        most = self.options.max_tokens
        if long := [row for row in rows if row.tokens > most]:
            named = ", ".join(f"{row.window_id} ({row.tokens} tokens)" for row in long)
            log.warning(
                "%d of %d rows are longer than adapter.max_tokens=%d and do not train: %s",
                len(long), len(rows), most, named,
            )  # fmt: skip
        return [row for row in rows if row.tokens <= most]

    def _watch_memory(self) -> None:
        import torch

        self._watching = self.device.type == "cuda"
        if self._watching:
            torch.cuda.reset_peak_memory_stats(self.device)

    def _tell_memory(self) -> None:
        """After the first step: the measured peak beside the plan."""
        import torch

        if self._watching:
            self._watching = False
            peak = self.figures["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / GIB
            if self.planned is not None:
                self.figures["planned_memory_gib"] = self.planned
            log.info("GPU memory after one step: %s", peak_told(peak, self.planned))
