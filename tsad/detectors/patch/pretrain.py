"""Pre-training of the patch network on synthetic series alone: seeded, no real data, one core will do.

Fresh series all the time; each example is a random crop with its evidence, at a random scale, turned, reversed or with
holes. The recipe, its seed and the generator's version go into ``config.json`` beside the weights.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tsad.core.context import Context
from tsad.core.control import StopRequested
from tsad.core.errors import ConfigError, StorageError
from tsad.core.protocols import Recorder
from tsad.core.pulse import Pulse
from tsad.detectors import checkpoint_file
from tsad.detectors.devices import resolve_device
from tsad.detectors.patch.crops import ExampleStream, Seen, held_out
from tsad.detectors.patch.loading import SHIPPED, WEIGHTS, load_base
from tsad.detectors.patch.pretrain_options import NetworkOptions, PretrainOptions, Recipe
from tsad.files.hashing import digest_of_file, digest_of_text
from tsad.synthetic.coupled import MACHINE_KINDS as KINDS

if TYPE_CHECKING:
    import torch

    from tsad.detectors.patch.model import PatchModel

    Check = Callable[[Path, Mapping[str, float]], Mapping[str, float]]

PACE_STEPS = 100  # before them nobody knows how fast it goes
CHECKPOINT = "pretrain.checkpoint.safetensors"
OLD_CHECKPOINT = "pretrain.checkpoint.pt"  # by torch.save, as tsad wrote it up to 0.1: not read any more
VALIDATION = 256  # held-out crops, from a generator of their own


def pretrain(
    options: PretrainOptions, folder: Path, *, context: Context | None = None, check: Check | None = None,
    recorder: Recorder | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train a network and write ``config.json`` and ``model.safetensors`` to ``folder``.

    Warm-up, constant rate, linear cooldown (Haegele et al. 2024, arXiv 2405.18392), so that the run can be ended
    whenever time is up.

    Args:
        context: progress goes there; its control is asked at every step.
        check: is told the folder of the weights just saved and their figures, and gives more, e.g. on labelled real
            series; nothing is fitted to them.
        recorder: gets the recipe as params, loss and validation figures as metrics.

    Returns:
        ``loss`` (mean of the last 100 steps), ``validation_loss``, ``validation_auc_pr``, ``steps`` and ``seconds``.

    Raises:
        ConfigError: ``compile`` without CUDA, ``folder`` holds the checkpoint of another recipe, or the weights to
            begin from are of a network of another shape.
        WeightsError: those are missing or damaged.
        DetectorError: CUDA asked for where there is none.
        StorageError: ``folder`` cannot be written.
        StopRequested: the context's control asked for it; the same call goes on from there.
    """
    import torch

    from tsad.detectors.patch.model import PatchModel

    device, recipe = resolve_device(options.device), options.recipe()
    if options.compile and device != "cuda":
        raise ConfigError(f"pretrain: compile=true on {device}", "Set compile=false: it pays on CUDA only.")
    torch.manual_seed(options.seed)
    model = PatchModel(options.config())
    if options.start:
        recipe = replace(recipe, start=_begin_from(options.start, model))
    if recorder is not None:
        noted = {k: v for k, v in asdict(recipe).items() if k != "kinds"}
        sizes = {f"network.{key}": value for key, value in options.network.model_dump().items()}
        sizes |= {"network.kinds": len(KINDS), "network.evidence": len(options.config().evidence)}
        recorder.params(noted | {"device": device, "compile": options.compile} | sizes)
    torch.nn.Module.to(model, device)  # in place
    return _Run(model, recipe, Path(folder), options, context or Context()).run(check, recorder)


def _begin_from(start: str, model: PatchModel) -> str:
    """Give the network the weights of a folder, and its score the folder's blend; the weights' SHA-256.

    Raises:
        ConfigError: they are of a network of another shape or see other evidence; names what differs.
        WeightsError: they are missing or damaged.
    """
    folder = SHIPPED if start == "shipped" else Path(start).expanduser()
    network = load_base(folder)
    own, theirs = (one.config.to_dict() for one in (model, network))
    shape = ("kinds", "evidence", *NetworkOptions.model_fields)
    told = {**theirs, "evidence": f"{len(theirs['evidence'])} rows"}
    differs = ", ".join(f"{key} ({told[key]})" for key in shape if own[key] != theirs[key])
    if differs:
        raise ConfigError(
            f"the weights of {folder} are of a network with another {differs}",
            "Give network.* and without as they were there, or start from random weights (start='').",
        )
    model.load_state_dict(network.state_dict())
    model.config.blend = network.config.blend
    return digest_of_file(folder / WEIGHTS)


class _Run:
    """The optimiser's steps, with intermediate weights and figures on the way."""

    def __init__(
        self, model: PatchModel, recipe: Recipe, folder: Path, options: PretrainOptions, context: Context
    ) -> None:
        self.model, self.folder, self.options, self.context = model, folder, options, context
        self.optimiser = _optimiser(model, recipe)
        self.stream = ExampleStream(recipe.seed, recipe.batch_size, Seen.by(model.config), workers=options.workers)
        self.first, self.recipe = _restore(folder, recipe, model, self.optimiser, self.stream)
        self.step, self.losses = self.first, deque[float](maxlen=100)
        self.pulse = Pulse(context, recipe.batch_size)
        self.started = time.monotonic()

    def run(self, check: Check | None, recorder: Recorder | None) -> dict[str, float]:
        """All remaining steps; the figures of the last save."""
        figures = dict[str, float]()
        device = str(self.model.device)
        rng = np.random.default_rng((self.recipe.seed, 1 << 31))
        validation = held_out(rng, VALIDATION, Seen.by(self.model.config))
        network = _compiled(self.model) if self.options.compile else self.model
        with self.context.progress.task("pre-training", self.recipe.steps, self.step) as reached:
            while self.step < self.recipe.steps:
                self._safe_point()
                self._mind_the_clock()
                with self.pulse.step():
                    batch = self.stream.batch(device)
                    loss, stride = _step(network, self.optimiser, self.recipe, self.step, batch)
                self.losses.append(loss)
                self.step += 1
                self.pulse.tell({"step_loss": loss, **stride}, self.step)
                if self.step % self.options.save_every == 0 or self.step == self.recipe.steps:
                    figures = self._save(validation, check)
                    if recorder is not None:
                        recorder.metrics({**stride, **figures, **self.pulse.rate()}, self.step)
                reached(self.step)
        self.stream.close()
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return figures

    def _safe_point(self) -> None:
        """Between two steps: wait, or stop with nothing lost."""
        if self.context.control.checkpoint_asked():
            self._checkpoint()
        try:
            self.context.control.safe_point()
        except StopRequested:
            self._checkpoint()
            self.stream.close()
            raise

    def _mind_the_clock(self) -> None:
        """Begin the cooldown when it would end about at the limit of time."""
        limit, recipe = self.options.max_seconds, self.recipe
        if limit and self.first + PACE_STEPS <= self.step < recipe.steps - recipe.cooldown:
            per_step = (time.monotonic() - self.started) / (self.step - self.first)
            if (self.step - self.first + recipe.cooldown) * per_step > limit:
                self.recipe = replace(recipe, steps=self.step + recipe.cooldown)

    def _save(self, validation: list[dict[str, torch.Tensor]], check: Check | None) -> dict[str, float]:
        figures = {"loss": float(np.mean(self.losses)), **validate(self.model, validation)}
        figures |= {"steps": float(self.step), "seconds": time.monotonic() - self.started}
        save(self.model, self.folder, self.recipe, self.step)
        if check is not None:
            figures |= check(self.folder, figures)
        self._checkpoint()
        return figures

    def _checkpoint(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _checkpoint(self.folder, self.recipe, self.step, self.model, self.optimiser, self.stream)


def _compiled(model: PatchModel) -> PatchModel:
    import torch

    return cast("PatchModel", torch.compile(model))


def _checkpoint(
    folder: Path, recipe: Recipe, step: int, model: PatchModel, optimiser: torch.optim.Optimizer, stream: ExampleStream
) -> None:
    head = {"recipe": _identity(recipe, model), "steps": recipe.steps, "step": step, "stream": stream.state()}
    checkpoint_file.write(folder / CHECKPOINT, head, model, optimiser)


def _restore(
    folder: Path, recipe: Recipe, model: PatchModel, optimiser: torch.optim.Optimizer, stream: ExampleStream
) -> tuple[int, Recipe]:
    """The step to go on from, 0 where the folder holds no checkpoint, and the recipe with its end.

    A cooldown that had begun is ended where it would have been.

    Raises:
        ConfigError: the checkpoint is of another recipe, of an older tsad, or damaged.
    """
    if (folder / OLD_CHECKPOINT).is_file():
        raise ConfigError(
            f"{folder / OLD_CHECKPOINT} is the checkpoint of an older tsad, which this one does not read",
            "End that run with the tsad it was begun with, choose another folder, or delete the file.",
        )
    path = folder / CHECKPOINT
    if not path.is_file():
        return 0, recipe
    state = checkpoint_file.read_head(path)
    differs = [k for k, v in _identity(recipe, model).items() if state["recipe"].get(k, v) != v]
    if differs:
        raise ConfigError(
            f"{path} belongs to a run with another {', '.join(differs)}", "Choose another folder, or delete the file."
        )
    checkpoint_file.restore(path, model, optimiser)
    stream.restore(state["stream"])
    if state["step"] > state["steps"] - recipe.cooldown:
        recipe = replace(recipe, steps=state["steps"])
    return int(state["step"]), recipe


def _identity(recipe: Recipe, model: PatchModel) -> dict[str, Any]:
    """What must be equal for a run to go on; its end may move."""
    told = {k: v for k, v in asdict(recipe).items() if k not in ("steps", "kinds", "warmup", "cooldown")}
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())
    return told | {"network": digest_of_text(repr(shapes))}


def validate(model: PatchModel, batches: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Loss and AUC-PR of the points of held-out synthetic windows, ``validation_loss`` and ``validation_auc_pr``."""
    import torch

    from tsad.metrics.ranking import auc_pr

    model.eval()
    loss, scores, truth = 0.0, [], []
    with torch.inference_mode():
        for batch in batches:
            out = model(**{k: v.to(model.device) for k, v in batch.items()})
            seen = batch["observed"].numpy()
            loss += float(out.loss) / len(batches)
            scores.append(out.logits.float().cpu().numpy()[seen])
            truth.append(batch["labels"].numpy()[seen])
    model.train()
    area = auc_pr(np.concatenate(truth), np.concatenate(scores).astype(np.float64))
    return {"validation_loss": loss, "validation_auc_pr": float(area)}


def _optimiser(model: PatchModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, not on gains and biases."""
    import torch

    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _step(
    model: PatchModel, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, batch: dict[str, torch.Tensor]
) -> tuple[float, dict[str, float]]:
    """One step of the optimiser: its loss, and ``learning_rate`` and ``grad_norm`` before clipping."""
    import torch

    share = min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / recipe.cooldown)
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * share
    model.train()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss = model(**batch).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(loss.detach()), {"learning_rate": recipe.learning_rate * share, "grad_norm": float(norm)}


def save(model: PatchModel, folder: Path, recipe: Recipe, step: int) -> None:
    """Write weights and recipe; see :func:`write_base`."""
    model.config.recipe = {**asdict(recipe), "kinds": list(recipe.kinds), "step": step}
    write_base(model, folder)


def write_base(model: PatchModel, folder: Path) -> None:
    """Write weights in half precision and the configuration with its recipe; each file appears whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            # the recipe goes into config.json: safetensors writes several metadata keys in random order
            save_file(tensors, Path(fresh) / "model.safetensors", {"format": "pt"})
            model.config.save_pretrained(fresh)
            for name in ("model.safetensors", "config.json"):
                (Path(fresh) / name).chmod(0o644)  # safetensors gives nobody else a right to read
                (Path(fresh) / name).replace(folder / name)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}", "Free space or choose another folder.") from error
