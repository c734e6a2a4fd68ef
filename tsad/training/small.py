"""Teach a small network from reviewed windows: a plain, seeded, resumable LoRA training loop."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters import lora, saved
from tsad.core.control import StopRequested
from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.reviews import DatasetVersion, Purpose
from tsad.core.tuning import Tuned, TuningCall
from tsad.training import checkpoints
from tsad.training.batches import BalancedDraws, Split, split
from tsad.training.checkpoints import TrainingState
from tsad.training.datasets import masks
from tsad.training.seeding import generator, preserved, seed_all
from tsad.training.validation import Validation, to_device

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

log = logging.getLogger("tsad")


class SmallTuner:
    """The :class:`~tsad.core.tuning.Tuner` for networks that fit one device whole; the loop is ours."""

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
            recorder: receives ``train_loss``, ``learning_rate``, ``grad_norm`` and ``validation_*`` as they come.

        Raises:
            TrainingError: gold windows, options that cannot be honoured, a loss that is not finite, a foreign
                checkpoint.
            WeightsError: the adapter to go on from is damaged or does not fit.
            StorageError: disk full.
            StopRequested: the call's control asked for it; the same call goes on from there.
        """
        if version.purpose != Purpose.TRAIN:
            raise TrainingError(f"Dataset version {version.digest} is a gold set", "Gold windows never train.")
        reason = _too_little(version, options)
        if reason:
            log.info("no training: %s", reason)
            return Tuned(None, {}, 0, False, reason)
        began = time.perf_counter()
        positive = [bool(r.intervals) for r in version.windows]
        parts = split([r.window.point_id for r in version.windows], positive, options.validation_share, options.seed)
        recorder.tags({"training.validation": parts.kind})
        with preserved():
            session = _Session(detector, version, options, call, parts, recorder)
            reason = session.run()
            lora.save(session.model, call.folder / "adapter")
        shutil.rmtree(session.folder, ignore_errors=True)  # a rest would only be resumed to the same end
        state = session.state
        metrics = _counts(parts, positive) | state.best
        metrics |= {"train_loss": state.train_loss, "best_step": float(state.best_step)}
        if state.start_loss is not None:
            metrics["validation_loss_start"] = state.start_loss
        metrics["train_seconds"] = time.perf_counter() - began
        return Tuned(call.folder / "adapter", metrics, state.step, session.resumed, reason)


def _counts(parts: Split, positive: list[bool]) -> dict[str, float]:
    """Windows, and windows with an anomaly, on either side."""
    return {
        f"{side}_{what}": float(sum(flags[k] for k in members))
        for side, members in (("train", parts.train), ("validation", parts.validation))
        for what, flags in (("windows", [True] * len(positive)), ("positive", positive))
    }


class _Session:
    """One training run: the network, its optimiser and how far it has come."""

    def __init__(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall, parts: Split,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        import torch

        self.detector, self.options, self.recorder = detector, options, recorder
        self.folder, self.context = call.folder / "checkpoint", call.context
        self.windows, self.masks = [r.window for r in version.windows], masks(version)
        self.train = parts.train
        self.draws = BalancedDraws([bool(version.windows[k].intervals) for k in parts.train], options.seed)
        self.validation: Validation | None = None
        if chosen := parts.validation:
            windows, truths = [self.windows[k] for k in chosen], [self.masks[k] for k in chosen]
            self.validation = Validation(detector, windows, truths, options)
        seed_all(options.seed, 4)
        self.model = _model(detector, options, call.start_adapter)
        self.device = next(self.model.parameters()).device
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, options.learning_rate, weight_decay=options.weight_decay)
        self.replay, self.replays = _replay(detector, options)
        self.fingerprint = _fingerprint(detector, version, options, call.start_adapter)
        kept = checkpoints.restore(self.folder, self.fingerprint, self.model, self.optimizer)
        self.resumed, self.state = kept is not None, kept or TrainingState()
        if kept:
            log.info("training goes on from step %d of %s", kept.step, self.folder)

    def run(self) -> str:
        """All remaining steps; returns why training ended. The best adapter state is in the model then."""
        options, state = self.options, self.state
        if self.validation and state.start_loss is None:
            start = self._score()
            state.start_loss = start["validation_loss"]
            self.recorder.metrics(start, 0)
        reason = f"all {options.steps} steps"
        with self.context.progress.task("training", options.steps, state.step) as reached:
            while state.step < options.steps:
                self._safe_point()
                norm = self._step()
                state.step += 1
                if state.step % options.eval_every == 0 or state.step == options.steps:
                    self._evaluate(norm)
                if self.validation and state.stale >= options.patience:
                    reason = f"no lower validation loss since step {state.best_step}"
                    break
                if options.checkpoint_every and state.step % options.checkpoint_every == 0:
                    self._checkpoint()
                reached(state.step)
        if state.best_adapter:
            self.model.load_state_dict(state.best_adapter, strict=False)
        return reason

    def _safe_point(self) -> None:
        """Between two steps: wait, or stop with nothing lost."""
        control = self.context.control
        if control.checkpoint_asked():
            self._checkpoint()
        try:
            control.safe_point()
        except StopRequested:
            self._checkpoint()
            log.info("training stops at step %d; the same command goes on from there", self.state.step)
            raise

    def _checkpoint(self) -> None:
        checkpoints.write(self.folder, self.fingerprint, self.state, self.model, self.optimizer)

    def _step(self) -> float:
        """One optimiser step; returns the norm of the gradient before clipping."""
        import torch

        options, step = self.options, self.state.step
        rng = generator(options.seed, 5, step)
        seed_all(options.seed, 6, step)
        _training_mode(self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        reviewed = options.batch_size - self.replays
        chosen = [self.train[k] for k in self.draws.at(step * reviewed, reviewed)]
        rows = self.detector.encode([self.windows[k] for k in chosen], [self.masks[k] for k in chosen], rng)
        loss = self._backward(rows, reviewed / options.batch_size)
        if self.replays:
            loss += self._backward(self.replay(self.replays, rng), self.replays / options.batch_size)
        limit = options.grad_clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, limit))
        if not math.isfinite(norm):
            raise _not_finite("gradient", norm, step, options)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.losses.append(loss)
        return norm

    def _backward(self, rows: Sequence[Any], share: float) -> float:
        batch = self.detector.collate(rows)
        loss = self.model(**to_device(batch, self.device)).loss * share
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _not_finite("loss", value, self.state.step, self.options)
        loss.backward()
        return value

    def _evaluate(self, norm: float) -> None:
        """Log where training stands; keep the adapter if its validation loss is the lowest so far."""
        state = self.state
        state.train_loss = sum(state.losses) / len(state.losses)
        state.losses = []
        rate = learning_rate(state.step - 1, self.options)
        values = {"train_loss": state.train_loss, "learning_rate": rate, "grad_norm": norm}
        if self.validation:
            scored = self._score()
            values |= scored
            state.stale += 1
            if not state.best or scored["validation_loss"] < state.best["validation_loss"]:
                state.best, state.best_step, state.stale = scored, state.step, 0
                state.best_adapter = checkpoints.adapter_state(self.model)
        else:
            state.best_step = state.step
        self.recorder.metrics(values, state.step)

    def _score(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        scored = self.validation.evaluate(self.model)
        if not math.isfinite(scored["validation_loss"]):
            raise _not_finite("validation loss", scored["validation_loss"], self.state.step, self.options)
        return scored


def learning_rate(step: int, options: AdapterOptions) -> float:
    """Linear warm-up over ``warmup * steps`` steps, then half a cosine down to zero; ``step`` counts from 0."""
    rise = round(options.warmup * options.steps)
    if step < rise:
        return options.learning_rate * (step + 1) / rise
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, options.steps - rise)))


def _replay(detector: Trainable, options: AdapterOptions) -> tuple[Any, int]:
    """What makes synthetic rows, and how many of each batch."""
    count = min(round(options.replay_share * options.batch_size), options.batch_size - 1)
    replay = getattr(detector, "replay", None)
    if replay is None and count:
        log.info("%s has no windows to replay: every batch is reviewed windows alone", type(detector).__name__)
    return replay, count if replay is not None else 0


def _model(detector: Trainable, options: AdapterOptions, start_adapter: Path | None) -> PeftModel:
    if start_adapter is None:
        return lora.attach(detector.network(), options, _base(detector).get("id", ""))
    for key, present in saved.settings_of(start_adapter).items():
        wanted = getattr(options, key)
        wanted = sorted(wanted) if isinstance(wanted, list) else wanted
        if present != wanted and wanted != lora.ALL_LINEAR:  # on disk all-linear is a list of names
            raise TrainingError(
                f"adapter.{key} is {wanted}, but the adapter to go on from ({start_adapter}) has {present}",
                f"Set adapter.start_from=base, or adapter.{key} to what it has.",
            )
    return lora.load(detector.network(), start_adapter, trainable=True, dropout=options.dropout)


def _training_mode(model: torch.nn.Module) -> None:
    """Training mode, but frozen layers keep their running statistics: those would change the base unseen."""
    from torch.nn.modules.batchnorm import _NormBase

    model.train()
    for module in model.modules():
        if isinstance(module, _NormBase) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def _too_little(version: DatasetVersion, options: AdapterOptions) -> str:
    """Why there is nothing to train, or an empty string."""
    total, positive = len(version.windows), sum(bool(r.intervals) for r in version.windows)
    if not options.enabled:
        return "adapter.enabled is false"
    if total < max(1, options.min_windows):
        return f"{total} usable reviewed windows, adapter.min_windows asks for {max(1, options.min_windows)}"
    if positive < options.min_positive:
        return f"{positive} reviewed windows with an anomaly, adapter.min_positive asks for {options.min_positive}"
    return ""


def _fingerprint(
    detector: Trainable, version: DatasetVersion, options: AdapterOptions, start_adapter: Path | None
) -> str:
    """What a checkpoint must share with the run that goes on from it, as JSON."""
    return json.dumps({
        "dataset": version.digest, "base": _base(detector).get("sha256", ""),
        "start_adapter": saved.weights_digest(start_adapter) if start_adapter else "",
        **{f"adapter.{key}": value for key, value in vars(options).items()},
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
