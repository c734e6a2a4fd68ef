"""Teach a small network from reviewed windows: a plain, seeded, resumable LoRA training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.reviews import DatasetVersion
from tsad.core.tuning import Tuned, TuningCall
from tsad.training.batches import BalancedDraws, Split
from tsad.training.seeding import generator, seed_all
from tsad.training.session import Session, tuned
from tsad.training.validation import to_device

if TYPE_CHECKING:
    import torch

# What a network that is trained whole, on one device and in float32 leaves no room for.
_LARGE_ONLY: tuple[tuple[str, Any], ...] = (
    ("quantisation", "none"), ("optimiser", "adamw"), ("gradient_checkpointing", False), ("micro_batch", None),
)  # fmt: skip


class SmallTuner:
    """The :class:`~tsad.core.tuning.Tuner` for networks that fit one device whole; the loop is ours."""

    def check(self, options: AdapterOptions) -> None:
        """Refuse options of the large detectors.

        Raises:
            TrainingError: naming the first of them.
        """
        wrong = [(key, usual) for key, usual in _LARGE_ONLY if getattr(options, key) != usual]
        wrong += [("precision", "auto")] if options.precision == "bf16" else []
        if wrong:
            key, usual = wrong[0]
            raise TrainingError(
                f"adapter.{key} is {getattr(options, key)}, which only large detectors are trained with",
                f"Use adapter=lora (adapter.{key}={'null' if usual is None else str(usual).lower()}).",
            )

    def fit(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall,
        recorder: Recorder,
    ) -> Tuned:  # fmt: skip
        """Train a LoRA adapter on a dataset version; the same arguments give the same adapter, byte for byte.

        (On one machine with one number of threads.) Each step takes ``batch_size`` windows: ``replay_share`` of
        them synthetic, from ``detector.replay`` where there is one, the others reviewed, every second one with an
        anomaly. The two losses are averaged by these shares. AdamW, linear warm-up, cosine decay to zero. Every
        ``eval_every`` steps the validation windows are scored; training stops after ``patience`` evaluations without a
        lower validation loss, and the adapter of the lowest one is kept. Where the reviews are too few for a validation
        set (see :func:`~tsad.training.batches.split`) all steps run and the last adapter is kept. Whether it is better
        than what is in use is for the gate on the gold set to say.

        Args:
            recorder: receives ``train_loss``, ``learning_rate``, ``grad_norm``, ``examples_per_second`` and
                ``validation_*`` at every evaluation; the call's listener hears of steps between them too.

        Raises:
            TrainingError: gold windows, options that cannot be honoured, a loss that is not finite, a foreign
                checkpoint.
            WeightsError: the adapter to go on from is damaged or does not fit.
            StorageError: disk full.
            StopRequested: the call's control asked for it; the same call goes on from there.
        """
        self.check(options)

        def session(parts: Split) -> Session:
            return _SmallSession(detector, version, options, call, parts, recorder)

        return tuned(session, version, options, call, recorder)


class _SmallSession(Session):
    """Steps over windows that are encoded anew each time."""

    def __init__(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall, parts: Split,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        super().__init__(detector, version, options, call, parts, recorder)
        self.train = parts.train
        self.draws = BalancedDraws([bool(version.windows[k].intervals) for k in parts.train], options.seed)

    def make_optimizer(self) -> torch.optim.Optimizer:
        import torch

        options = self.options
        return torch.optim.AdamW(self.trained, options.settled("learning_rate"), weight_decay=options.weight_decay)

    def step(self) -> float:
        options, step = self.options, self.state.step
        rng = generator(options.seed, 5, step)
        seed_all(options.seed, 6, step)
        self.training_mode()
        self.set_rate()
        reviewed = options.batch_size - self.replays
        chosen = [self.train[k] for k in self.draws.at(step * reviewed, reviewed)]
        rows = self.detector.encode([self.windows[k] for k in chosen], [self.masks[k] for k in chosen], rng)
        loss = self._backward(rows, reviewed / options.batch_size)
        if self.replays:
            loss += self._backward(self.replay(self.replays, rng), self.replays / options.batch_size)
        norm = self.clipped()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.losses.append(loss)
        return norm

    def _backward(self, rows: Sequence[Any], share: float) -> float:
        batch = self.detector.collate(rows)
        loss = self.model(**to_device(batch, self.device)).loss * share
        value = self.finite("loss", float(loss.detach()))
        loss.backward()
        return value

