"""What all detectors with a language model share: blocks in, scores or intervals out, and what training needs."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from tsad.core.errors import DetectorError
from tsad.core.intervals import mask_to_intervals
from tsad.core.option_model import UNSET, Options
from tsad.core.options import AdapterOptions
from tsad.core.series import Window
from tsad.core.tuning import MemoryPlan
from tsad.core.types import BoolArray, Interval, Needs
from tsad.detectors.base_digest import BaseDigest
from tsad.detectors.devices import full_device_named, resolve_device
from tsad.detectors.llm.asked import AskedDetector, AskedOptions
from tsad.detectors.llm.asking import Asking, Questions
from tsad.detectors.llm.blocks import Piece, pieces
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.prompts import answer_edges, chat_text, codec_of, kinds_of
from tsad.detectors.llm.reader import Block, Reader, Wording
from tsad.detectors.llm.rows import LanguageRow, answer_of, marks_of
from tsad.detectors.llm.validation import validate

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tsad.core.reviews import ReviewedWindow
    from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
    from tsad.detectors.llm.served.asking import Content

WEIGHTS = Path(__file__).parent / "weights"
FULL = "Lower detector.batch_size or detector.length, take adapter=qlora (4-bit weights), or another device."
QUESTION_TOKENS, INTERVAL_TOKENS = 200, 8  # what plans reckon with: a question, an interval with its kind
NARROW, NARROW_RATE = 1024, 1e-3  # hidden size below which a network is small, and its usual learning rate
QWEN_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LanguageOptions(AskedOptions):
    """Keyword arguments that all detectors take whose language model lies in a folder."""

    weights: str
    device: Literal["auto", "cpu", "cuda"]
    dtype: Literal["auto", "float32", "bfloat16"]
    quantisation: Literal["none", "nf4"]
    published: str


class LanguageDetector(AskedDetector):
    """A language model whose checkpoint lies in a folder: it is trained here, and asked here or at a server.

    A subclass says how a checkpoint is loaded (:meth:`load`) and read (:meth:`read_checkpoint`).

    Attributes:
        shipped: names of weights that ship with tsad, by which ``weights`` may choose them.
        degrades: what is known of published checkpoints in 4 bits.
    """

    trainable = True
    tuner = "tsad.training.large.LargeTuner"
    unhashed = ("device", "batch_size", "published", "engine")
    adapter_defaults: Mapping[str, Any] = {
        "target_modules": QWEN_LINEAR, "modules_to_save": (), "learning_rate": 1e-4,
    }  # fmt: skip
    shipped: ClassVar[tuple[str, ...]] = ()
    degrades: ClassVar[Mapping[str, str]] = MappingProxyType({})
    settings: LanguageOptions

    def __init__(self, options: LanguageOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.folder = self._at(self.settings.weights)
        self.checkpoint = self.checkpoint_at(self.folder, bare=self.served)
        if self._narrow():
            self.adapter_defaults = {**self.adapter_defaults, "learning_rate": NARROW_RATE}
        self._device = resolve_device(self.settings.device, self.name)
        self._digest = BaseDigest(self.folder)
        self._lock = threading.RLock()  # of network and reader, which are made when they are first needed
        self._network: Any = None
        self._reader: Reader | None = None
        self._adapter: Path | None = None

    @property
    def served(self) -> bool:
        """Whether a server answers; training is here all the same."""
        return self.settings.engine.kind == "openai"

    def _served_name(self) -> str:
        """Under which name a server has the base, or the adapter as a LoRA module of its own."""
        from tsad.adapters.saved import weights_digest

        model = self.settings.engine.model
        return model if self._adapter is None else f"{model}-{weights_digest(self._adapter)[:12]}"

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
    def checkpoint_at(cls, folder: Path, *, bare: bool = False) -> Any:
        """What a checkpoint of this family says of itself (``config``); cheap, so asked before any work.

        Args:
            bare: its weights may be elsewhere, at a server.

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

    def _twin(self) -> Self:
        other = super()._twin()
        other._lock = threading.RLock()
        return other

    def grounds(self) -> dict[str, Any]:
        import torch
        import transformers

        from tsad.adapters.saved import weights_digest

        told = {"base": self._digest.hexdigest(), "adapter": weights_digest(self._adapter) if self._adapter else ""}
        if self.served:
            return told | {"url": self.settings.engine.url, "asked": self._served_name()}
        return told | {"libraries": [torch.__version__, transformers.__version__], "on": self._device}

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

    @property
    def wording(self) -> Wording:
        return self.plain_reader(self.settings) if self.served else self.reader

    def questions(self) -> Questions:
        if not self.served:
            return self.asking(self._scoring())
        from tsad.detectors.llm.served.asking import ServedQuestions

        s = self.settings
        return ServedQuestions(
            engine=s.engine, asked=self._served_name(), wording=self.wording, content=self.message, prompt=s.prompt,
            batch_size=s.batch_size, free=s.decoding == "free", samples=s.samples, temperature=s.temperature,
        )  # fmt: skip

    def message(self, block: Block, text: str) -> Content:
        """The whole question as a message of OpenAI's API takes it.

        Raises:
            DetectorError: the family has no such form.
        """
        raise DetectorError(f"Detector {self.name} is asked by no server", "Take engine=transformers.")

    def _asked(self, cut: Sequence[Piece], kept: Kept) -> list[Answer]:
        with full_device_named(self.name, FULL):
            return super()._asked(cut, kept)

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
