"""Pre-training of the patch network on synthetic series alone: seeded, no real data, one core will do.

Fresh series at every step; each example is a random crop at a random scale, turned, reversed, cut short or with
holes, relative to surroundings of random width. The recipe, its seed and the generator's version go into
``config.json`` beside the weights.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.errors import StorageError
from tsad.core.protocols import Recorder
from tsad.core.types import FloatArray
from tsad.detectors.patch.examples import Example, crop, to_tensors
from tsad.detectors.patch.windows import shrink
from tsad.synthetic.generator import GENERATOR_VERSION, KINDS, Batch, make_batch

if TYPE_CHECKING:
    import torch

    from tsad.detectors.patch.model import PatchModel

POINTS = 4  # each synthetic series is this many network windows long
SCALES, SCALE_SHARES = (1, 2, 4), (0.5, 0.2, 0.3)
VALIDATION = 256  # held-out crops, from a generator of their own


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What determines the weights, besides the versions of torch and NumPy."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int  # steps of rising learning rate
    cooldown: int  # last steps, of falling learning rate
    generator: str = GENERATOR_VERSION
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True, eq=False)
class Crop:
    """A labelled network window with what only synthetic series know: ``kinds`` [L] and the ``clean`` values [L]."""

    example: Example
    kinds: npt.NDArray[np.int8]
    clean: npt.NDArray[np.float32]


def pretrain(
    *,
    seed: int,
    steps: int,
    folder: Path,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.02,
    warmup: int = 150,
    cooldown: int = 500,
    max_seconds: float = 0.0,
    save_every: int = 500,
    device: str = "cpu",
    network: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
) -> dict[str, float]:
    """Train a network from random weights and write ``config.json`` and ``model.safetensors`` to ``folder``.

    Warm-up, constant rate, linear cooldown (Haegele et al. 2024, arXiv 2405.18392): intermediate weights do not depend on
    how long the run will be.

    Args:
        seed: of weights, series and crops; same seed and steps give the same weights on the same machine.
        steps: optimiser steps.
        warmup, cooldown: the learning rate rises over the first and falls to 0 over the last so many steps.
        max_seconds: start the cooldown early enough to end about then; 0 = no limit. The recipe beside the weights
            names the steps really taken, and running it with those gives the same weights.
        save_every: steps between intermediate weights in ``folder`` and validation figures.
        network: overrides of ``PatchConfig``, for tests.
        recorder: gets the recipe as params, loss and validation figures as metrics.

    Returns:
        The last validation figures and ``seconds``.

    Raises:
        StorageError: ``folder`` cannot be written.
    """
    import torch

    from tsad.detectors.patch.configuration import PatchConfig
    from tsad.detectors.patch.model import PatchModel

    recipe = Recipe(
        seed=seed, steps=steps, batch_size=batch_size, learning_rate=learning_rate,
        weight_decay=weight_decay, warmup=min(warmup, max(1, steps // 10)), cooldown=min(cooldown, max(1, steps // 3)),
    )  # fmt: skip
    if recorder is not None:
        recorder.params({k: v for k, v in asdict(recipe).items() if k != "kinds"})
    torch.manual_seed(seed)
    model = PatchModel(PatchConfig(kinds=len(KINDS), **(network or {})))
    torch.nn.Module.to(model, device)  # in place
    held_out = _validation_set(seed, model.config.length)
    started, figures, losses = time.monotonic(), dict[str, float](), deque[float](maxlen=100)
    optimiser = _optimiser(model, recipe)
    stream = ExampleStream(np.random.default_rng((seed, 1)), batch_size, model.config.length)
    step = 0
    while step < recipe.steps:
        if max_seconds and step and step < recipe.steps - recipe.cooldown:
            per_step = (time.monotonic() - started) / step
            if (step + recipe.cooldown) * per_step > max_seconds:
                recipe = replace(recipe, steps=step + recipe.cooldown)
        losses.append(_step(model, optimiser, recipe, step, stream.batch(device)))
        step += 1
        if step % save_every == 0 or step == recipe.steps:
            figures = {"loss": float(np.mean(losses)), **validate(model, held_out)}
            figures["seconds"] = time.monotonic() - started
            save(model, Path(folder), recipe, step)
            if recorder is not None:
                recorder.metrics(figures, step)
    return figures


class ExampleStream:
    """Endless training batches: half of each from series made this very step, half from recent ones."""

    def __init__(self, rng: np.random.Generator, size: int, length: int, keep: int = 64) -> None:
        self._rng, self._size, self._length = rng, size, length
        self._recent: deque[Batch] = deque(maxlen=keep)

    def batch(self, device: str) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network's ``forward``, [B, L] each."""
        fresh = max(1, self._size // 2)
        self._recent.append(make_batch(self._rng, fresh, POINTS * self._length))
        crops = [draw_crop(self._recent[-1], row, self._rng, self._length) for row in range(fresh)]
        while len(crops) < self._size:
            older = self._recent[int(self._rng.integers(len(self._recent)))]
            crops.append(draw_crop(older, int(self._rng.integers(fresh)), self._rng, self._length))
        return crop_tensors(crops, device)


def draw_crop(batch: Batch, row: int, rng: np.random.Generator, length: int) -> Crop:
    """A random crop of one synthetic series: scale, place, sign, direction, surroundings, length and holes vary."""
    scale = int(rng.choice(SCALES, p=SCALE_SHARES))
    sign, step = (int(rng.choice((-1, 1), p=(0.4, 0.6))), int(rng.choice((-1, 1), p=(0.3, 0.7))))
    values = shrink(sign * batch.values[row, ::step].astype(np.float64), scale)
    clean = shrink(sign * batch.clean[row, ::step].astype(np.float64), scale)
    kinds = batch.kinds[row, ::step].reshape(-1, scale).max(axis=1)
    size = length if rng.random() < 0.85 else int(np.exp(rng.uniform(np.log(64), np.log(length))))
    start = int(rng.integers(len(values) - size + 1))
    margin = int(rng.integers(1, 2 * length)) if rng.random() < 0.7 else len(values)
    around = slice(max(0, start - margin), start + size + margin)
    if size < length:  # a short series: nothing beyond its ends
        around = slice(start, start + size)
    values, clean, kinds, start = values[around], clean[around], kinds[around], start - around.start
    holed = _with_holes(values, rng)
    weight = np.ones(len(values), np.float32)
    example = crop(holed, kinds > 0, weight, start, length, margin)
    return Crop(
        example,
        np.pad(kinds[start : start + size], (0, length - size)),
        _normalised_clean(holed, clean, start, length, margin),
    )


def _normalised_clean(
    values: FloatArray, clean: FloatArray, start: int, length: int, margin: int
) -> npt.NDArray[np.float32]:
    """The clean twin [L] on the scale of the window it belongs to, not on its own."""
    stop = min(start + length, len(values))
    around = values[max(0, start - margin) : stop + margin]
    seen = around[np.isfinite(around)]
    level, spread = float(np.median(seen)), float(np.std(seen))
    scaled = (clean[start:stop] - level) / max(spread, 1e-9 * abs(level) + 1e-30)
    return np.pad(scaled.clip(-1e3, 1e3), (0, length - (stop - start)), mode="edge").astype(np.float32)


def _with_holes(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Some series lose single points or a few stretches, as real ones do. [N] -> [N], NaN where missing."""
    kind = rng.random()
    if kind > 0.2:
        return values
    holed = values.copy()
    if kind < 0.08:
        holed[rng.random(len(values)) < rng.uniform(0.005, 0.2)] = np.nan
        return holed if np.isfinite(holed).any() else values
    for _ in range(int(rng.integers(1, 5))):
        size = int(np.exp(rng.uniform(0, np.log(max(2, len(values) // 8)))))
        at = int(rng.integers(len(values)))
        holed[at : at + size] = np.nan
    return holed if np.isfinite(holed).any() else values


def crop_tensors(crops: list[Crop], device: str) -> dict[str, torch.Tensor]:
    """Keyword arguments of the network's ``forward``, [B, L] each."""
    import torch

    return to_tensors([c.example for c in crops], device) | {
        "kinds": torch.from_numpy(np.stack([c.kinds for c in crops])).to(device),
        "clean": torch.from_numpy(np.stack([c.clean for c in crops])).to(device),
    }


def _validation_set(seed: int, length: int) -> list[dict[str, torch.Tensor]]:
    rng = np.random.default_rng((seed, 2))
    batch = make_batch(rng, VALIDATION, POINTS * length)
    crops = [draw_crop(batch, row, rng, length) for row in range(VALIDATION)]
    return [crop_tensors(crops[k : k + 32], "cpu") for k in range(0, VALIDATION, 32)]


def validate(model: PatchModel, batches: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Loss and AUC-PR of the points of held-out synthetic windows, ``valid_loss`` and ``valid_auc_pr``."""
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
    return {"valid_loss": loss, "valid_auc_pr": float(area)}


def _optimiser(model: PatchModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, not on gains and biases."""
    import torch

    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _step(
    model: PatchModel, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, batch: dict[str, torch.Tensor]
) -> float:
    import torch

    share = min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / recipe.cooldown)
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * share
    model.train()
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(loss.detach())


def save(model: PatchModel, folder: Path, recipe: Recipe, step: int) -> None:
    """Write weights in half precision and the recipe; each file appears whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    made_by = {**asdict(recipe), "kinds": list(recipe.kinds), "step": step}
    tensors = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    model.config.recipe = made_by
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            save_file(tensors, Path(fresh) / "model.safetensors", {"format": "pt", "recipe": json.dumps(made_by)})
            model.config.save_pretrained(fresh)
            for name in ("model.safetensors", "config.json"):
                (Path(fresh) / name).replace(folder / name)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}", "Free space or choose another folder.") from error
