"""One training run of any network: evaluations, the best adapter, checkpoints, stops; a step is the tuner's own."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.adapters import lora, saved
from tsad.core.control import StopRequested
from tsad.core.errors import TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Recorder, Trainable
from tsad.core.pulse import Pulse
from tsad.core.reviews import DatasetVersion, Purpose
from tsad.core.tuning import Tuned, TuningCall
from tsad.training import checkpoints
from tsad.training.batches import Split, split
from tsad.training.checkpoints import TrainingState
from tsad.training.datasets import masks
from tsad.training.schedule import check_finite, learning_rate
from tsad.training.seeding import preserved, seed_all
from tsad.training.validation import Validation

if TYPE_CHECKING:
    import torch

log = logging.getLogger("tsad")


def tuned(
    make: Callable[[Split], Session], version: DatasetVersion, options: AdapterOptions, call: TuningCall,
    recorder: Recorder,
) -> Tuned:  # fmt: skip
    """All that a session does, from the split into training and validation windows to the adapter on disk.

    Args:
        make: the session over these windows.

    Raises:
        TrainingError: gold windows; and as the session does.
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
        session = make(parts)
        reason = session.run()
        session.save(call.folder / "adapter")
    shutil.rmtree(session.folder, ignore_errors=True)  # a rest would only be resumed to the same end
    state = session.state
    metrics = _counts(parts, positive) | state.best | session.figures
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


class Session(ABC):
    """One training run: the network, its optimiser and how far it has come.

    Attributes:
        figures: metrics of the run beside its losses.
    """

    def __init__(
        self, detector: Trainable, version: DatasetVersion, options: AdapterOptions, call: TuningCall, parts: Split,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self.detector, self.options, self.recorder = detector, options, recorder
        self.folder, self.context = call.folder / "checkpoint", call.context
        self.windows, self.masks = [r.window for r in version.windows], masks(version)
        self.figures: dict[str, float] = {}
        self.pulse = Pulse(call.context, options.batch_size)
        self.validation: Validation | None = None
        if chosen := parts.validation:
            windows, truths = [self.windows[k] for k in chosen], [self.masks[k] for k in chosen]
            self.validation = Validation(detector, windows, truths, options)
        seed_all(options.seed, 4)
        self.model: Any = _model(self.fresh(), options, call.start_adapter, _base(detector).get("id", ""))
        self.device = next(self.model.parameters()).device
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = self.make_optimizer()
        self.replay, self.replays = _replay(detector, options)
        self.fingerprint = _fingerprint(detector, version, options, call.start_adapter)
        kept = checkpoints.restore(self.folder, self.fingerprint, self.model, self.optimizer)
        self.resumed, self.state = kept is not None, kept or TrainingState()
        if kept:
            log.info("training goes on from step %d of %s", kept.step, self.folder)

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of ``self.trained``."""

    @abstractmethod
    def step(self) -> float:
        """One optimiser step; its loss goes to ``state.losses``. Returns the norm of the gradient before clipping."""

    def fresh(self) -> torch.nn.Module:
        """A fresh base network."""
        return self.detector.network()

    def save(self, folder: Path) -> None:
        """Write the adapter."""
        lora.save(self.model, folder)

    def run(self) -> str:
        """All remaining steps; returns why training ended. The best adapter state is in the model then."""
        options, state = self.options, self.state
        if self.validation and state.start_loss is None:
            start = self.score()
            state.start_loss = start["validation_loss"]
            self.recorder.metrics(start, 0)
        reason = f"all {options.steps} steps"
        with self.context.progress.task("training", options.steps, state.step) as reached:
            while state.step < options.steps:
                self.safe_point()
                with self.pulse.step():
                    norm = self.step()
                state.step += 1
                self.pulse.tell({"step_loss": state.losses[-1], **self._stride(norm)}, state.step)
                if state.step % options.eval_every == 0 or state.step == options.steps:
                    self._evaluate(norm)
                if self.validation and state.stale >= options.patience:
                    reason = f"no lower validation loss since step {state.best_step}"
                    break
                if options.checkpoint_every and state.step % options.checkpoint_every == 0:
                    self.checkpoint()
                reached(state.step)
        if state.best_adapter:
            self.put_back(state.best_adapter)
        return reason

    def put_back(self, adapter: Mapping[str, torch.Tensor]) -> None:
        """Make the model's adapter one of before (``checkpoints.adapter_state``)."""
        self.model.load_state_dict(adapter, strict=False)

    def safe_point(self) -> None:
        """Between two steps: wait, or stop with nothing lost."""
        control = self.context.control
        if control.checkpoint_asked():
            self.checkpoint()
        try:
            control.safe_point()
        except StopRequested:
            self.checkpoint()
            log.info("training stops at step %d; the same command goes on from there", self.state.step)
            raise

    def checkpoint(self) -> None:
        """Keep how far the run is."""
        checkpoints.write(self.folder, self.fingerprint, self.state, self.model, self.optimizer)

    def set_rate(self) -> None:
        """Give the optimiser this step's learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.state.step, self.options)

    def finite(self, what: str, value: float) -> float:
        """The value.

        Raises:
            TrainingError: it is infinite or no number.
        """
        check_finite(what, value, self.state.step, self.options)
        return value

    def training_mode(self) -> None:
        """Training mode, but frozen layers keep their running statistics: those would change the base unseen."""
        from torch.nn.modules.batchnorm import _NormBase

        self.model.train()
        for module in self.model.modules():
            if isinstance(module, _NormBase) and not any(p.requires_grad for p in module.parameters()):
                module.eval()

    def clipped(self) -> float:
        """Clip the gradients; returns their norm before."""
        import torch

        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.options.grad_clip or math.inf)
        return self.finite("gradient", float(checkpoints.whole(norm)))

    def _evaluate(self, norm: float) -> None:
        """Log where training stands; keep the adapter if its validation loss is the lowest so far."""
        state = self.state
        state.train_loss = sum(state.losses) / len(state.losses)
        state.losses = []
        values = {"train_loss": state.train_loss, **self._stride(norm), **self.pulse.rate()}
        if self.validation:
            scored = self.score()
            values |= scored
            state.stale += 1
            if not state.best or scored["validation_loss"] < state.best["validation_loss"]:
                state.best, state.best_step, state.stale = scored, state.step, 0
                state.best_adapter = checkpoints.adapter_state(self.model)
        else:
            state.best_step = state.step
        self.recorder.metrics(values, state.step)

    def _stride(self, norm: float) -> dict[str, float]:
        """How the last step was taken; ``norm``: of its gradient, before clipping."""
        return {"learning_rate": learning_rate(self.state.step - 1, self.options), "grad_norm": norm}

    def score(self) -> dict[str, float]:
        """Metrics of the validation windows; none where there are none."""
        if self.validation is None:
            return {}
        scored = self.validation.evaluate(self.model)
        self.finite("validation loss", scored["validation_loss"])
        return scored


def _replay(detector: Trainable, options: AdapterOptions) -> tuple[Any, int]:
    """What makes synthetic rows, and how many of each batch."""
    count = min(round(options.replay_share * options.batch_size), options.batch_size - 1)
    replay = getattr(detector, "replay", None)
    if replay is None and count:
        log.info("%s has no windows to replay: every batch is reviewed windows alone", type(detector).__name__)
    return replay, count if replay is not None else 0


def _model(network: torch.nn.Module, options: AdapterOptions, start_adapter: Path | None, base: str) -> torch.nn.Module:
    if start_adapter is None:
        return lora.attach(network, options, base)
    wanted = _settings(network, options)
    for key, present in saved.settings_of(start_adapter).items():
        if present != wanted.get(key) and wanted.get(key) != lora.ALL_LINEAR:  # on disk all-linear is a list of names
            raise TrainingError(
                f"adapter.{key} is {wanted.get(key)}, but the adapter to go on from ({start_adapter}) has {present}",
                f"Set adapter.start_from=base, or adapter.{key} to what it has.",
            )
    return lora.load(network, start_adapter, trainable=True, dropout=options.dropout)


def _settings(network: torch.nn.Module, options: AdapterOptions) -> Mapping[str, Any]:
    """What the options say of an adapter, as ``saved.settings_of`` tells what one has."""
    return {
        "method": options.method, "r": options.r, "alpha": options.alpha, "dora": options.dora,
        "target_modules": lora.spelt_targets(network, options),
        "modules_to_save": sorted(options.settled("modules_to_save")),
    }  # fmt: skip


def _fingerprint(
    detector: Trainable, version: DatasetVersion, options: AdapterOptions, start_adapter: Path | None
) -> str:
    """What a checkpoint must share with the run that goes on from it, as JSON."""
    return json.dumps({
        "dataset": version.digest, "base": _base(detector).get("sha256", ""),
        "start_adapter": saved.weights_digest(start_adapter) if start_adapter else "",
        **{f"adapter.{key}": value for key, value in options.identity().items()},
    })  # fmt: skip


def _base(detector: Trainable) -> dict[str, str]:
    """The base's ``id`` and ``sha256``, from detectors that know them."""
    reference: Any = getattr(detector, "base_reference", None)
    return dict(reference()) if reference else {}
