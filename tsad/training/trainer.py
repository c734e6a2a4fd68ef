"""Teach a detector's network from reviewed windows: a plain, seeded, resumable LoRA training loop."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.reviews import DatasetVersion, Purpose
from tsad.training import adapters, checkpoints
from tsad.training.batches import BalancedDraws, Split, split
from tsad.training.checkpoints import Progress
from tsad.training.datasets import masks
from tsad.training.seeding import generator, preserved, seed_all
from tsad.training.validation import Validation, to_device

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

log = logging.getLogger("tsad")


@dataclass(frozen=True)
class TrainResult:
    """What a training run made.

    Attributes:
        adapter: folder of the adapter; ``None`` where there was nothing to train, and ``reason`` says why.
        metrics: counts, losses and validation metrics of the adapter that was kept, seconds.
        steps: optimiser steps taken (fewer than asked where it stopped early).
        resumed: whether it went on from a checkpoint.
        reason: why there is no adapter, or why training stopped.
    """

    adapter: Path | None
    metrics: dict[str, float]
    steps: int
    resumed: bool
    reason: str


def train(
    detector: Trainable,
    version: DatasetVersion,
    options: AdapterOptions,
    *,
    start_adapter: Path | None,
    folder: Path,
    recorder: Recorder,
) -> TrainResult:
    """Train a LoRA adapter on a dataset version; the same arguments give the same adapter, byte for byte.

    (On one machine with one number of threads.) Each step takes ``batch_size`` windows: ``replay_share`` of
    them synthetic, from ``detector.replay``, the others reviewed, every second one with an anomaly. The two
    losses are averaged by these shares. AdamW, linear warm-up, cosine decay to zero. Every ``eval_every`` steps
    the validation windows are scored; training stops after ``patience`` evaluations without a lower validation
    loss, and the adapter of the lowest one is kept. Where the reviews are too few for a validation set (see
    :func:`~tsad.training.batches.split`) all steps run and the last adapter is kept. Whether it is better than
    what is in use is for the gate on the gold set to say.

    Args:
        start_adapter: the adapter to go on from; ``None`` starts from the base.
        folder: receives ``adapter/``, and ``checkpoint/`` until the end; the same call on the same folder
            goes on from the checkpoint and ends with the same adapter as an uninterrupted run.
        recorder: receives ``train_loss``, ``learning_rate``, ``grad_norm`` and ``validation_*`` as they come.

    Raises:
        TrainingError: gold windows, options that cannot be honoured, a loss that is not finite, a foreign checkpoint.
        WeightsError: ``start_adapter`` is damaged or does not fit.
        StorageError: disk full.
    """
    _refuse_gold(version)
    reason = _too_little(version, options)
    positive = [bool(r.intervals) for r in version.windows]
    if reason:
        log.info("no training: %s", reason)
        return TrainResult(None, {}, 0, False, reason)
    began = time.perf_counter()
    parts = split([r.window.point_id for r in version.windows], positive, options.validation_share, options.seed)
    counts = {
        f"{side}_{what}": float(sum(flags[k] for k in members))
        for side, members in (("train", parts.train), ("validation", parts.validation))
        for what, flags in (("windows", [True] * len(positive)), ("positive", positive))
    }
    recorder.tags({"training.validation": parts.kind})
    with preserved():
        session = _Session(detector, version, options, parts, start_adapter, Path(folder) / "checkpoint", recorder)
        reason = session.run()
        adapters.save(session.model, Path(folder) / "adapter")
    shutil.rmtree(Path(folder) / "checkpoint", ignore_errors=True)  # a rest would only be resumed to the same end
    progress = session.progress
    metrics = counts | progress.best | {"train_loss": progress.train_loss, "best_step": float(progress.best_step)}
    if progress.start_loss is not None:
        metrics["validation_loss_start"] = progress.start_loss
    metrics["train_seconds"] = time.perf_counter() - began
    return TrainResult(Path(folder) / "adapter", metrics, progress.step, session.resumed, reason)


class _Session:
    """One training run: the network, its optimiser and how far it has come."""

    def __init__(
        self,
        detector: Trainable,
        version: DatasetVersion,
        options: AdapterOptions,
        parts: Split,
        start_adapter: Path | None,
        folder: Path,
        recorder: Recorder,
    ) -> None:
        import torch

        self.detector, self.options, self.recorder, self.folder = detector, options, recorder, folder
        self.windows, self.masks = [r.window for r in version.windows], masks(version)
        self.train = parts.train
        self.draws = BalancedDraws([bool(version.windows[k].intervals) for k in parts.train], options.seed)
        self.validation: Validation | None = None
        if parts.validation:
            chosen = parts.validation
            self.validation = Validation(
                detector, [self.windows[k] for k in chosen], [self.masks[k] for k in chosen],
                options.batch_size, options.seed,
            )  # fmt: skip
        seed_all(options.seed, 4)
        self.model = _model(detector, options, start_adapter)
        self.device = next(self.model.parameters()).device
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, options.learning_rate, weight_decay=options.weight_decay)
        self.replays = min(round(options.replay_share * options.batch_size), options.batch_size - 1)
        self.progress, self.best = Progress(), dict[str, torch.Tensor]()
        self.fingerprint = _fingerprint(detector, version, options, start_adapter)
        saved = checkpoints.restore(folder, self.fingerprint, self.model, self.optimizer)
        self.resumed = saved is not None
        if saved:
            self.progress, self.best = saved
            log.info("training goes on from step %d of %s", self.progress.step, folder)

    def run(self) -> str:
        """All remaining steps; returns why training ended. The best adapter state is in the model then."""
        options, progress = self.options, self.progress
        if self.validation and progress.start_loss is None:
            start = self._score()
            progress.start_loss = start["validation_loss"]
            self.recorder.metrics(start, 0)
        reason = f"all {options.steps} steps"
        with _bar(options.steps, progress.step) as advance:
            while progress.step < options.steps:
                norm = self._step()
                progress.step += 1
                if progress.step % options.eval_every == 0 or progress.step == options.steps:
                    self._evaluate(norm)
                if self.validation and progress.stale >= options.patience:
                    reason = f"no lower validation loss since step {progress.best_step}"
                    break
                if options.checkpoint_every and progress.step % options.checkpoint_every == 0:
                    checkpoints.write(
                        self.folder, self.fingerprint, progress, self.model, self.optimizer, self.best
                    )
                advance()
        if self.best:
            self.model.load_state_dict(self.best, strict=False)
        return reason

    def _step(self) -> float:
        """One optimiser step; returns the norm of the gradient before clipping."""
        import torch

        options, step = self.options, self.progress.step
        rng = generator(options.seed, 5, step)
        seed_all(options.seed, 6, step)
        _training_mode(self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        reviewed = options.batch_size - self.replays
        chosen = [self.train[k] for k in self.draws.at(step * reviewed, reviewed)]
        batch = self.detector.encode([self.windows[k] for k in chosen], [self.masks[k] for k in chosen], rng)
        loss = self._backward(batch, reviewed / options.batch_size)
        if self.replays:
            loss += self._backward(self.detector.replay(self.replays, rng), self.replays / options.batch_size)
        limit = options.grad_clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, limit))
        if not math.isfinite(norm):
            raise _not_finite("gradient", norm, step, options)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.losses.append(loss)
        return norm

    def _backward(self, batch: Mapping[str, torch.Tensor], share: float) -> float:
        loss = self.model(**to_device(batch, self.device)).loss * share
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _not_finite("loss", value, self.progress.step, self.options)
        loss.backward()
        return value

    def _evaluate(self, norm: float) -> None:
        """Log where training stands; keep the adapter if its validation loss is the lowest so far."""
        progress = self.progress
        progress.train_loss = sum(progress.losses) / len(progress.losses)
        progress.losses = []
        rate = learning_rate(progress.step - 1, self.options)
        values = {"train_loss": progress.train_loss, "learning_rate": rate, "grad_norm": norm}
        if self.validation:
            scored = self._score()
            values |= scored
            progress.stale += 1
            if not progress.best or scored["validation_loss"] < progress.best["validation_loss"]:
                progress.best, progress.best_step, progress.stale = scored, progress.step, 0
                self.best = checkpoints.adapter_state(self.model)
        else:
            progress.best_step = progress.step
        self.recorder.metrics(values, progress.step)

    def _score(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        scored = self.validation.evaluate(self.model)
        if not math.isfinite(scored["validation_loss"]):
            raise _not_finite("validation loss", scored["validation_loss"], self.progress.step, self.options)
        return scored


def learning_rate(step: int, options: AdapterOptions) -> float:
    """Linear warm-up over ``warmup * steps`` steps, then half a cosine down to zero; ``step`` counts from 0."""
    rise = round(options.warmup * options.steps)
    if step < rise:
        return options.learning_rate * (step + 1) / rise
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, options.steps - rise)))


def _model(detector: Trainable, options: AdapterOptions, start_adapter: Path | None) -> PeftModel:
    if start_adapter is None:
        return adapters.attach(detector.network(), options, _base(detector).get("id", ""))
    for key, found in adapters.settings_of(start_adapter).items():
        wanted = getattr(options, key)
        wanted = sorted(wanted) if isinstance(wanted, list) else wanted
        if found != wanted:
            raise TrainingError(
                f"adapter.{key} is {wanted}, but the adapter to go on from ({start_adapter}) has {found}",
                f"Set adapter.start_from=base, or adapter.{key} to what it has.",
            )
    return adapters.load(detector.network(), start_adapter, trainable=True, dropout=options.dropout)


def _training_mode(model: torch.nn.Module) -> None:
    """Training mode, but frozen layers keep their running statistics: those would change the base unseen."""
    from torch.nn.modules.batchnorm import _NormBase

    model.train()
    for module in model.modules():
        if isinstance(module, _NormBase) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def _refuse_gold(version: DatasetVersion) -> None:
    if version.purpose != Purpose.TRAIN:
        raise TrainingError(f"Dataset version {version.version} is a gold set", "Gold windows never train.")


def _too_little(version: DatasetVersion, options: AdapterOptions) -> str:
    """Why there is nothing to train, or an empty string."""
    total, positive = len(version.windows), sum(bool(r.intervals) for r in version.windows)
    if not options.enabled:
        return "adapter.enabled is false"
    if total < options.min_windows:
        return f"{total} usable reviewed windows, adapter.min_windows asks for {options.min_windows}"
    if positive < options.min_positive:
        return f"{positive} reviewed windows with an anomaly, adapter.min_positive asks for {options.min_positive}"
    return ""


def _fingerprint(
    detector: Trainable, version: DatasetVersion, options: AdapterOptions, start_adapter: Path | None
) -> str:
    """What a checkpoint must share with the run that goes on from it, as JSON."""
    return json.dumps({
        "dataset": version.version, "base": _base(detector).get("sha256", ""),
        "start_adapter": adapters.weights_digest(start_adapter) if start_adapter else "",
        **{f"adapter.{key}": value for key, value in dict(options).items()},
    })  # fmt: skip


def _base(detector: Trainable) -> dict[str, str]:
    """The base's ``id`` and ``sha256``, from detectors that know them."""
    reference: Any = getattr(detector, "base_reference", None)
    return dict(reference()) if reference else {}


def _not_finite(what: str, value: float, step: int, options: AdapterOptions) -> TrainingError:
    return TrainingError(
        f"The {what} is {value} at training step {step + 1}",
        f"Lower adapter.learning_rate (now {options.learning_rate}) or adapter.grad_clip (now {options.grad_clip}).",
    )


@contextmanager
def _bar(total: int, done: int) -> Iterator[Any]:
    """A progress bar on a terminal, nothing elsewhere; yields what to call after each step."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=total, completed=done)
        yield lambda: bar.advance(task)
