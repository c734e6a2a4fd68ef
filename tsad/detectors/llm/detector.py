"""What all detectors with a language model share: blocks in, scores or intervals out, and what training needs."""

from __future__ import annotations

import hashlib
import json
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tsad.core.intervals import confidence_along, mask_to_intervals, merge, point_ends
from tsad.core.option_model import UNSET, Options, Refusal
from tsad.core.options import AdapterOptions
from tsad.core.options.prompt import PromptOptions
from tsad.core.series import Series, Window
from tsad.core.tuning import MemoryPlan
from tsad.core.types import ANOMALY, BoolArray, FloatArray, Interval, Needs
from tsad.core.windows import stitch
from tsad.detectors.base import Detector
from tsad.detectors.base_digest import BaseDigest
from tsad.detectors.devices import full_device_named, resolve_device
from tsad.detectors.evidence.examined import Examined, Own
from tsad.detectors.llm.asking import Asking
from tsad.detectors.llm.blocks import Cutting, Piece, pieces
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.prompts import answer_edges, chat_text, codec_of, kinds_of
from tsad.detectors.llm.reader import Reader
from tsad.detectors.llm.rows import LanguageRow, answer_of, marks_of, stretch
from tsad.detectors.llm.validation import validate

if TYPE_CHECKING:
    import torch

    from tsad.core.reviews import ReviewedWindow
    from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions

WEIGHTS = Path(__file__).parent / "weights"
FULL = "Lower detector.batch_size or detector.length, take adapter=qlora (4-bit weights), or another device."
QUESTION_TOKENS, INTERVAL_TOKENS = 200, 8  # what plans reckon with: a question, an interval with its kind
NARROW, NARROW_RATE = 1024, 1e-3  # hidden size below which a network is small, and its usual learning rate
QWEN_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LanguageOptions(Options):
    """Keyword arguments that all detectors with a language model take."""

    weights: str
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["auto", "float32", "bfloat16"]
    quantisation: Literal["none", "nf4"]
    length: int = Field(ge=3)
    stride: int = Field(ge=1)
    most_points: int = Field(ge=8)
    reduce: Literal["m4", "minmax"]
    channels: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    decoding: Literal["constrained", "free"]
    samples: int = Field(ge=1, le=64)
    temperature: float = Field(gt=0)
    prompt: PromptOptions
    published: str

    @property
    def cutting(self) -> Cutting:
        """How series are cut into blocks."""
        return Cutting(length=self.length, stride=self.stride, most=self.most_points, reduce=self.reduce,
                       channels=self.channels)  # fmt: skip

    @model_validator(mode="after")
    def _free_intervals(self) -> Self:
        if self.decoding == "free" and self.prompt.answer == "flags":
            raise Refusal(
                "{decoding}=free with flags", "Take {decoding}=constrained, or a prompt that asks for intervals."
            )
        if self.stride > self.length:
            raise Refusal("{stride} is {0}, above {length}={1}", "Points between two blocks would never be looked at.",
                          self.stride, self.length)  # fmt: skip
        return self


class LanguageDetector(Detector):
    """A language model that reads blocks of a series in a prompt and answers in flags or intervals.

    With ``flags`` the probability of 1 at each unit is the score of its points; overlapping blocks are averaged
    (``core.windows.stitch``), of several groups of channels the highest counts. With ``intervals`` it makes candidates
    of its own, each with kind, note and a confidence from the probabilities of its tokens; those of overlapping blocks
    are joined. Missing points score 0, and so does a stretch in which nothing varies: nobody is asked about it.

    A subclass says how a checkpoint is loaded (:meth:`load`) and read (:meth:`read_checkpoint`).

    Attributes:
        shipped: names of weights that ship with tsad, by which ``weights`` may choose them.
        degrades: what is known of published checkpoints in 4 bits.
    """

    trainable = True
    tuner = "tsad.training.large.LargeTuner"
    unhashed = ("device", "batch_size", "published")
    adapter_defaults: Mapping[str, Any] = {
        "target_modules": QWEN_LINEAR, "modules_to_save": (), "learning_rate": 1e-4,
    }  # fmt: skip
    shipped: ClassVar[tuple[str, ...]] = ()
    degrades: ClassVar[Mapping[str, str]] = MappingProxyType({})
    settings: LanguageOptions

    def __init__(self, options: LanguageOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.scored = self.settings.prompt.answer == "flags"
        self.folder = self._at(self.settings.weights)
        self.checkpoint = self.checkpoint_at(self.folder)
        if self._narrow():
            self.adapter_defaults = {**self.adapter_defaults, "learning_rate": NARROW_RATE}
        self._device = resolve_device(self.settings.device, self.name)
        self._digest = BaseDigest(self.folder)
        self._lock = threading.RLock()  # of network and reader, which are made when they are first needed
        self._network: Any = None
        self._reader: Reader | None = None
        self._adapter: Path | None = None
        self._answers: Path | None = None

    def _narrow(self) -> bool:
        """Whether it is a small network, which takes larger steps of training."""
        config = self.checkpoint.config
        return int((config.get("text_config") or config).get("hidden_size", NARROW)) < NARROW

    @classmethod
    def _at(cls, wanted: str) -> Path:
        return WEIGHTS / wanted if wanted in cls.shipped else Path(wanted).expanduser()

    @classmethod
    def needs(cls, options: Options | None = None) -> Needs:
        wanted = getattr(options, "device", "auto")
        nf4 = getattr(options, "quantisation", "none") == "nf4"
        return Needs(device="cuda" if wanted == "cuda" else "cpu", packages=("bitsandbytes",) if nf4 else ())

    # ---- what a subclass says

    @classmethod
    @abstractmethod
    def checkpoint_at(cls, folder: Path) -> Any:
        """What a checkpoint of this family says of itself (``config``); cheap, so asked before any work.

        Raises:
            WeightsError: naming the file.
        """

    @abstractmethod
    def load(self, device: str, dtype: torch.dtype) -> torch.nn.Module:
        """The network of the folder, quantised where the options say so.

        Raises:
            WeightsError: a missing, corrupted or ill-fitting file, by name.
        """

    @classmethod
    @abstractmethod
    def shapes(cls, folder: Path | None, published: str) -> torch.nn.Module:
        """The network on the device ``meta``: of the folder's config, else of the published checkpoint of that name."""

    @classmethod
    @abstractmethod
    def tokens_of(cls, options: LanguageOptions) -> tuple[int, int]:
        """About how many tokens a window takes in a prompt, and how many units its flags have."""

    @classmethod
    @abstractmethod
    def tiny(cls, tokenizer: Any, sizes: LanguagePretrainOptions, seed: int) -> torch.nn.Module:
        """An untrained tiny network of the family, for ``tsad pretrain``."""

    @classmethod
    def beside_tiny(cls, folder: Path) -> None:
        """Write what a checkpoint of the family has beside weights, config and tokenizer."""

    @classmethod
    @abstractmethod
    def plain_reader(cls, options: LanguageOptions) -> Reader:
        """A reader that only says what stands in a prompt, without a tokenizer: by the folder's config where it is at
        hand, else as the published checkpoints are."""

    @abstractmethod
    def read_checkpoint(self) -> Reader:
        """What puts blocks into prompts, with the checkpoint's tokenizer."""

    # ---- versions

    def base_reference(self) -> dict[str, str]:
        name = self.folder.name if self.folder.parent != WEIGHTS else f"tsad/{self.folder.name}"
        return {"id": name, "path": str(self.folder), "sha256": self._digest.hexdigest()}

    def with_adapter(self, folder: Path | None) -> Self:
        """A detector of its own that scores under the adapter in ``folder``, which is read when it first scores."""
        other = self._twin()
        other._adapter, other._network = (None if folder is None else Path(folder)), None
        if folder is None and self._adapter is None:
            other._network = self._network
        return other

    def continuing(self, folder: Path, refit_every: float) -> Self:
        return self.keeping_answers(folder)

    def keeping_answers(self, folder: Path) -> Self:
        """A detector that keeps its answers in ``folder``: what it was asked once costs nothing the next time."""
        other = self._twin()
        other._answers = folder / "answers"
        return other

    def _twin(self) -> Self:
        other = super()._twin()
        other._lock = threading.RLock()
        return other

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of what answers depend on beside the block: weights, adapter, prompt, decoding, libraries."""
        import torch
        import transformers

        from tsad.adapters.saved import weights_digest

        told = {key: value for key, value in self.describe().items() if key not in ("weights", "batch_size")}
        told |= {
            "base": self._digest.hexdigest(), "adapter": weights_digest(self._adapter) if self._adapter else "",
            "libraries": [torch.__version__, transformers.__version__], "on": self._device,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    # ---- what training takes

    @classmethod
    def plan(cls, given: Mapping[str, Any], options: AdapterOptions) -> MemoryPlan | None:
        """What training under ``options`` takes, from shapes alone; ``weights`` may be missing then.

        Raises:
            WeightsError: a folder that holds no checkpoint of this family.
        """
        import torch

        from tsad.adapters.memory import RowSize, memory_plan

        wanted, published = str(given.get("weights", UNSET)), str(given.get("published", ""))
        at_hand = wanted not in ("", UNSET) and (cls._at(wanted).is_dir() or not published)
        with torch.device("meta"):
            network = cls.shapes(cls._at(wanted) if at_hand else None, published)
        settings: LanguageOptions = cls.options_model(**{**given, "weights": wanted})  # type: ignore[assignment]
        window, units = cls.tokens_of(settings)
        prompt = settings.prompt
        text = min(QUESTION_TOKENS, len(prompt.text))
        answer = units + 1 if prompt.answer == "flags" else prompt.most * (INTERVAL_TOKENS + 30 * prompt.reasons) + 1
        row = RowSize(window + text + answer, answer)
        name = published or Path(wanted).name
        return memory_plan(network, row, options, name, degrades=cls.degrades.get(published, ""))

    # ---- detection

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        if not self.scored:
            return super().score(series)
        kept = self._kept()
        return [self._scores(one, kept) for one in series]

    def candidates(self, series: Series) -> tuple[Interval, ...]:
        if self.scored:
            return super().candidates(series)
        return self._candidates(series, self._kept())

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        kept = self._kept()
        for one in series:
            if self.scored:
                yield Examined.plain(one, self._scores(one, kept), memory=self.memory)
            else:
                own = self._candidates(one, kept)
                along = confidence_along(own, one.timestamps)
                yield Examined.plain(one, along, Own.of(own, one.timestamps), self.memory)

    def _kept(self) -> Kept:
        return Kept(self._answers / self.identity[:32] if self._answers else None)

    def _answered(self, series: Series, kept: Kept) -> list[tuple[Piece, Answer]]:
        cut = list(pieces(series, self.settings.cutting))
        if not cut:
            return []
        with full_device_named(self.name, FULL):
            answers = list(self.asking(self._scoring()).answers(cut, kept))
        return list(zip(cut, answers, strict=True))

    def _scores(self, series: Series, kept: Kept) -> FloatArray:
        groups: dict[tuple[int, ...], list[tuple[int, FloatArray]]] = {}
        for piece, answer in self._answered(series, kept):
            edges = self.reader.edges(len(piece.block))
            spread = np.diff(piece.first[edges])  # points of the series behind each unit
            groups.setdefault(piece.channels, []).append((piece.start, np.repeat(answer.chances, spread)))
        scores = np.zeros(len(series))
        for members, scored in groups.items():
            along = np.nan_to_num(stitch(scored, len(series)))
            along[np.isnan(series.values[:, list(members)]).all(axis=1)] = 0.0
            np.maximum(scores, along, out=scores)
        return scores

    def _candidates(self, series: Series, kept: Kept) -> tuple[Interval, ...]:
        ends = point_ends(series.timestamps, series.step)
        marked: list[Interval] = []
        for piece, answer in self._answered(series, kept):
            edges = self.reader.position_edges(len(piece.block))
            for mark in answer.marks:
                start, stop = stretch(piece, mark, edges)
                label = mark.kind or ANOMALY
                marked.append(Interval(int(series.timestamps[start]), int(ends[stop - 1]), label, mark.confidence,
                                       mark.note))  # fmt: skip
        return merge(marked)  # kind, note and confidence of the surest

    def asking(self, network: Any) -> Asking:
        """How a network is asked under the detector's options."""
        s = self.settings
        return Asking(
            network=network, reader=self.reader, prompt=s.prompt, batch_size=s.batch_size,
            free=s.decoding == "free", samples=s.samples, temperature=s.temperature,
        )  # fmt: skip

    @property
    def reader(self) -> Reader:
        """What puts blocks into prompts, made at its first use."""
        with self._lock:
            if self._reader is None:
                self._reader = self.read_checkpoint()
            return self._reader

    def _scoring(self) -> Any:
        """The network that scores, loaded at its first use, by one thread."""
        with self._lock:
            if self._network is None:
                from tsad.adapters import lora

                network = self.network()
                if self._adapter is not None:
                    network = lora.for_scoring(network, self._adapter)
                self._network = network.eval()
            return self._network

    # ---- training (core.protocols.Answering)

    def network(self) -> torch.nn.Module:
        """A fresh copy of the base on the detector's device, without an adapter."""
        import torch

        wanted = self.settings.dtype
        auto = "bfloat16" if self._device == "cuda" else "float32"
        dtype: torch.dtype = getattr(torch, auto if wanted == "auto" else wanted)
        with full_device_named(self.name, FULL):
            return self.load(self._device, dtype)

    def rows(self, reviewed: Sequence[ReviewedWindow]) -> list[LanguageRow]:
        """One row per block of each reviewed window, in order; a window in which nothing varies gives none."""
        return [row for r in reviewed for row in self.window_rows(r.window, r.intervals)]

    def encode(
        self, windows: Sequence[Window], masks: Sequence[BoolArray], rng: np.random.Generator
    ) -> list[LanguageRow]:
        """The same of windows and masks: what is abnormal has no kind then."""
        pairs = zip(windows, masks, strict=True)
        return [row for w, m in pairs for row in self.window_rows(w, mask_to_intervals(m, w.timestamps))]

    def window_rows(self, window: Window, intervals: Sequence[Interval]) -> Iterator[LanguageRow]:
        """One row per block of a window with these intervals."""
        prompt, reader = self.settings.prompt, self.reader
        for piece in pieces(window.series, self.settings.cutting, window.start, window.stop):
            marks = marks_of(piece, window.series, intervals, kinds_of(prompt))
            codec = codec_of(prompt, reader, len(piece.block))
            prompted = reader.read(piece.block, chat_text(prompt, reader, piece.block))
            answer = answer_of(codec, answer_edges(prompt, reader, len(piece.block)), marks)
            yield LanguageRow(prompted, answer, window.window_id, bool(marks))

    def collate(self, rows: Sequence[LanguageRow]) -> dict[str, torch.Tensor]:
        """Keyword arguments of the network, with labels on the answers only."""
        return self.reader.collate([r.prompted for r in rows], [r.answer for r in rows])

    def validate(
        self, network: torch.nn.Module, windows: Sequence[Window], masks: Sequence[BoolArray]
    ) -> dict[str, float]:
        """Interval precision, recall and F1 of what a network answers to windows, and the loss of the true answers."""
        return validate(self, network, windows, masks, self.settings.cutting)
