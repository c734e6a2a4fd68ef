"""Tiny language models taught on synthetic windows, from plain ones on: seeded, resumable, one core will do."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.context import Context
from tsad.core.control import StopRequested
from tsad.core.errors import ConfigError
from tsad.core.intervals import runs_of
from tsad.core.protocols import Recorder
from tsad.core.pulse import Pulse
from tsad.detectors import checkpoint_file
from tsad.detectors.llm import measure
from tsad.detectors.llm.codec import Mark
from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
from tsad.detectors.llm.prompts import chat_text, codec_of
from tsad.detectors.llm.rows import LanguageRow, answer_of
from tsad.detectors.llm.teaching import POOL, Lesson, Taught, cached_lesson, lesson, pieces_of
from tsad.files.atomic import write_file
from tsad.synthetic.generator import GENERATOR_VERSION

if TYPE_CHECKING:
    from tsad.detectors.llm.detector import LanguageDetector

log = logging.getLogger("tsad")
CHECKPOINT, RECIPE = "pretrain.checkpoint.safetensors", "recipe.json"
HELD_OUT = 1 << 20  # numbers of pools from here on are never taught
WEIGHT_DECAY, CLIP = 0.01, 1.0
RECENT = 30  # steps whose plain loss decides when plain windows are known
REVIEWED = 0.1  # share of plain windows that stays to the end
POOL_STEPS = 64  # steps that draw from one pool


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What determines a tiny model: the same on one machine gives the same weights."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    save_every: int
    max_seconds: float
    language: LanguagePretrainOptions
    taught: str = ""  # what the names of the parameters hold that learn, a regular expression; "" = all of them
    scored: int = POOL // 2  # held-out windows that figures are of, and as many that choose the threshold

    def told(self) -> dict[str, Any]:
        """What must be equal for a run to go on; how often it saves may change."""
        return {
            "seed": self.seed, "steps": self.steps, "batch_size": self.batch_size, "warmup": self.warmup,
            "learning_rate": self.learning_rate, "generator": GENERATOR_VERSION, **self.language.model_dump(),
            **({"taught": self.taught} if self.taught else {}),
        }  # fmt: skip


@dataclass
class _Progress:
    """How far the lessons are."""

    step: int = 0
    share: float = 0.0  # how far the ramp has risen, 0..1
    plain: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=100))


def pretrain(
    detector: LanguageDetector, teaching: Teaching, folder: Path, *, context: Context | None = None,
    recorder: Recorder | None = None,
) -> dict[str, float]:  # fmt: skip
    """Teach the untrained checkpoint in ``folder`` in place; every save can be loaded as it stands.

    Args:
        detector: over that folder.
        context: progress goes there; its control is asked at every step.

    Returns:
        Figures on held-out synthetic windows: see :func:`tsad.detectors.llm.measure.figures`; ``threshold`` was chosen
        on others; ``seconds``, ``steps``.

    Raises:
        ConfigError: ``folder`` holds the checkpoint of another recipe.
        StopRequested: the context's control asked for it; the same call goes on from there.
    """
    if recorder is not None:
        recorder.params({f"teaching.{key}": value for key, value in teaching.told().items()})
    return _Run(detector, teaching, folder, context or Context(), recorder).run()


class _Run:
    def __init__(
        self, detector: LanguageDetector, teaching: Teaching, folder: Path, context: Context, recorder: Recorder | None
    ) -> None:
        import torch

        self.detector, self.teaching, self.folder, self.context = detector, teaching, folder, context
        self.recorder, self.pulse, self.stride = recorder, Pulse(context, teaching.batch_size), dict[str, float]()
        torch.manual_seed(teaching.seed)
        self.network = detector.network()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(re.search(teaching.taught, name) is not None)
        self.length = detector.settings.length
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), teaching.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
        )
        self.state = self._restored()
        self.started, self.first = time.monotonic(), self.state.step

    def _restored(self) -> _Progress:
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return _Progress()
        head = checkpoint_file.read_head(path)
        differs = sorted(k for k, v in self.teaching.told().items() if head["recipe"].get(k) != v)
        if differs:
            raise ConfigError(
                f"{path} belongs to a run with another {', '.join(differs)}",
                "Choose another folder, or delete the file.",
            )
        checkpoint_file.restore(path, self.network, self.optimiser)
        progress = _Progress(head["step"], head["share"])
        progress.plain.extend(head["plain"])
        progress.losses.extend(head["losses"])
        return progress

    def run(self) -> dict[str, float]:
        state, teaching = self.state, self.teaching
        self.network.train()
        with self.context.progress.task("pre-training", teaching.steps, state.step) as reached:
            while state.step < teaching.steps and not self._late():
                self._safe_point()
                with self.pulse.step():
                    self.stride = self._step()
                state.step += 1
                self.pulse.tell({"step_loss": state.losses[-1], **self.stride}, state.step)
                if state.step % teaching.save_every == 0 and state.step < teaching.steps:
                    self._save()
                reached(state.step)
        figures = self._save()
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return figures

    def _late(self) -> bool:
        limit = self.teaching.max_seconds
        return bool(limit) and time.monotonic() - self.started > limit

    def _rate(self) -> float:
        """Linear warm-up, then half a cosine down to a fiftieth; of the time that there is, where that is limited."""
        teaching, step = self.teaching, self.state.step
        done = step / teaching.steps
        if teaching.max_seconds:
            done = max(done, min(1.0, (time.monotonic() - self.started) / teaching.max_seconds))
        risen, fallen = min(1.0, (step + 1) / teaching.warmup), 0.49 * (1 + np.cos(np.pi * done)) + 0.02
        return float(teaching.learning_rate * risen * fallen)

    def _step(self) -> dict[str, float]:
        """One step of the optimiser: its ``learning_rate`` and ``grad_norm`` before clipping."""
        import torch

        taught, rate = self._taught(), self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = self.detector.collate(self._rows(taught))
        loss = self.network(**batch).loss
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimiser.step()
        state, value = self.state, float(loss.detach())
        state.losses.append(value)
        if taught == "plain":
            state.plain.append(value)
        if len(state.plain) == RECENT and (state.share or np.mean(state.plain) < self.teaching.language.plain_loss):
            state.share = min(1.0, state.share + 1 / self.teaching.language.ramp)
        return {"learning_rate": rate, "grad_norm": float(norm)}

    def _taught(self) -> Taught:
        """What the next batch is of."""
        draw = np.random.default_rng((self.teaching.seed, 1, self.state.step)).random()
        return "plain" if draw >= (1 - REVIEWED) * self.state.share else self.teaching.language.kinds

    def _rows(self, taught: Taught) -> list[LanguageRow]:
        size, step = self.teaching.batch_size, self.state.step
        pool = cached_lesson(self.teaching.seed, step // POOL_STEPS, self.length, taught)
        draw = np.random.default_rng((self.teaching.seed, 2, step))
        chosen, turned = draw.integers(0, len(pool), size), draw.choice((-1.0, 1.0), (size, 1))
        return rows_of(self.detector, Lesson(pool.values[chosen] * turned, pool.labels[chosen]))

    def _safe_point(self) -> None:
        control = self.context.control
        if control.checkpoint_asked():
            self._checkpoint()
        try:
            control.safe_point()
        except StopRequested:
            self._checkpoint()
            raise

    def _checkpoint(self) -> None:
        state = self.state
        head = {
            "recipe": self.teaching.told(), "step": state.step, "share": state.share, "plain": list(state.plain),
            "losses": list(state.losses),
        }  # fmt: skip
        checkpoint_file.write(self.folder / CHECKPOINT, head, self.network, self.optimiser)

    def _save(self) -> dict[str, float]:
        """Weights, recipe and checkpoint; the figures of what was saved."""
        self.network.eval()
        save(self.network, self.folder)
        language = self.teaching.language
        figures = held_out_figures(
            self.detector, self.network, self.teaching.seed, language.kinds, self.teaching.scored
        )
        figures |= {
            "loss": float(np.mean(self.state.losses or [0.0])), "share": self.state.share,
            "steps": float(self.state.step), "seconds": time.monotonic() - self.started,
        }  # fmt: skip
        told = {**self.teaching.told(), "step": self.state.step, "figures": figures}
        write_file(self.folder / RECIPE, (json.dumps(told, indent=1) + "\n").encode())
        self._checkpoint()
        if self.recorder is not None:
            self.recorder.metrics({**self.stride, **figures, **self.pulse.rate()}, self.state.step)
        log.info("step %d: loss %.4f, F1 %.3f (chance %.3f), at IoU 0.5 %.3f (%.3f)", self.state.step, figures["loss"],
                 figures["f1"], figures["chance_f1"], figures["f1_iou50"], figures["chance_f1_iou50"])  # fmt: skip
        self.network.train()
        return figures


def rows_of(detector: LanguageDetector, taught: Lesson) -> list[LanguageRow]:
    """Windows with truth as rows of training."""
    prompt, reader = detector.settings.prompt, detector.reader
    edges, made = reader.edges(taught.values.shape[1]), []
    for piece, label in zip(pieces_of(taught), taught.labels, strict=True):
        codec = codec_of(prompt, reader, len(piece.block))
        marks = [Mark(int(a), int(b) - 1) for a, b in runs_of(label)]
        prompted = reader.read(piece.block, chat_text(prompt, reader, piece.block))
        made.append(LanguageRow(prompted, answer_of(codec, edges, marks), "", bool(marks)))
    return made


def held_out_figures(
    detector: LanguageDetector, network: Any, seed: int, kinds: Taught, windows: int = POOL // 2
) -> dict[str, float]:
    """What a network reaches on windows that are never taught, at the threshold that suits as many others."""
    asking = detector.asking(network)
    said, truths = [], []
    for number in (0, 1):
        pool = lesson(seed, HELD_OUT + number, detector.settings.length, kinds)
        part = Lesson(pool.values[:windows], pool.labels[:windows])
        said.append(measure.answered(asking, part))
        truths.append([runs_of(row) for row in part.labels])
    threshold = measure.best_threshold(said[0], truths[0])
    return {**measure.figures(said[1].at(threshold), truths[1]), "threshold": float(threshold)}


def save(network: Any, folder: Path) -> None:
    """Write a network's weights in bfloat16 beside its config; each file whole or not at all."""
    import copy
    import tempfile

    import torch

    half = copy.deepcopy(network).to(torch.bfloat16)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        half.save_pretrained(fresh)
        for file in sorted(Path(fresh).iterdir()):
            file.chmod(0o644)
            file.replace(folder / file.name)


def untrained(kind: Any, sizes: LanguagePretrainOptions, folder: Path, seed: int) -> None:
    """An untrained checkpoint of a family with a tokenizer of its own, where the folder has none yet."""
    from tsad.detectors.llm.tiny import tokenizer

    if (folder / "config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    own = tokenizer()
    own.save_pretrained(folder)
    save(kind.tiny(own, sizes, seed), folder)
    kind.beside_tiny(folder)


def teaching_of(options: Any) -> Teaching:
    """From the keys of ``tsad pretrain``."""
    names: Sequence[str] = ("seed", "steps", "batch_size", "learning_rate", "warmup", "save_every", "max_seconds")
    given: Mapping[str, Any] = {name: getattr(options, name) for name in names}
    made = Teaching(**given, language=options.language)
    return replace(made, warmup=min(made.warmup, max(1, made.steps // 10)))
