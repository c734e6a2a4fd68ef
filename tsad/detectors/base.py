"""What every detector offers."""

from __future__ import annotations

import copy
import json
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from tsad.core.bases import DetectorBase
from tsad.core.errors import DetectorError
from tsad.core.intervals import confidence_along
from tsad.core.memory import NormalMemory
from tsad.core.moved import recorded
from tsad.core.option_model import Configured, Options
from tsad.core.options import AdapterOptions, EngineOptions
from tsad.core.protocols import Proposing
from tsad.core.series import Series
from tsad.core.tuning import MemoryPlan
from tsad.core.types import Detection, FloatArray, Interval, Needs
from tsad.detectors.evidence.examined import Examined, Own
from tsad.files.hashing import digest_of_text


class Detector(Configured, DetectorBase, ABC):
    """Says of a series which intervals are abnormal and, where it can, gives each point a score in 0..1.

    A detector is made from its options, keeps nothing between calls that a caller could pick up, may be used by several
    threads at once, and looks at each series by itself: a call with several series equals as many calls with one.

    A subclass gives scores (:meth:`score`; higher = more abnormal), or sets ``scored = False`` and makes candidates of
    its own (:meth:`candidates`); what follows from them is here. Everything at the class is known without building it:

    Attributes:
        name: short name, e.g. ``patch``; part of the registered model's.
        trainable: whether it implements core.protocols.Trainable.
        scored: whether it gives each point a score.
        votes: whether what it detects tells what each member of a committee proposes.
        embeds: whether its base model describes stretches of values (:meth:`hidden_states`).
        tuner: dotted path of the class that trains it (core.tuning.Tuner).
        adapter_defaults: what ``adapter.target_modules``, ``modules_to_save`` and ``learning_rate`` stand for where
            they are ``null``; ``encoder_modules``, where it has an encoder of series, what ``adapter.train_encoder``
            adds to the targets (``ts_encoder.mlp.*`` = every linear layer below ``ts_encoder.mlp``).
        settings: its options.
        unhashed: those of them that say how it works, not what it answers: no part of ``config_hash``.
        memory: what people have called normal, which evidence is compared with; ``None`` = nobody has looked.
    """

    name: ClassVar[str]
    trainable: ClassVar[bool] = False
    scored: bool = True
    votes: ClassVar[bool] = False
    embeds: bool = False
    tuner: ClassVar[str] = "tsad.training.small.SmallTuner"
    adapter_defaults: Mapping[str, Any] = {
        "target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "modules_to_save": ("decoder", "head"), "learning_rate": 0.001,
    }  # fmt: skip
    unhashed: ClassVar[tuple[str, ...]] = ()
    settings: Any
    memory: NormalMemory | None = None
    group = "detector"
    refused = DetectorError

    def __init__(self, options: Options | None = None, **given: Any) -> None:
        self.settings = self.configured(options, given)

    @property
    def rated_as(self) -> str:
        """Whose default weights rate its candidates before any review."""
        return self.name

    @classmethod
    def needs(cls, options: Options | None = None) -> Needs:
        """What it cannot do without under these options (``None`` = under any), before it is built."""
        return Needs()

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        """Scores of each series, [T] float64 in 0..1; missing points and constant series score 0.

        Raises:
            DetectorError: the detector cannot score what it was given, or gives no scores.
        """
        raise DetectorError(
            f"Detector {self.name} gives intervals, no scores", "Use what it detects, or a detector with scores."
        )

    def candidates(self, series: Series) -> tuple[Interval, ...]:
        """Of a detector without scores: all it considers, in time order, disjoint, each with its confidence as score.

        Raises:
            DetectorError: the detector cannot judge what it was given.
        """
        raise DetectorError(f"Detector {self.name} makes no candidates of its own", "They are made of its scores.")

    def confidence(self, series: Sequence[Series]) -> list[FloatArray]:
        """What thresholds are fitted to: scores, or the confidence of the candidate over each point. [T] of each."""
        if self.scored:
            return self.score(series)
        return [confidence_along(self.candidates(one), one.timestamps) for one in series]

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        """Scores (or candidates) and evidence of each series, one at a time: what proposals are learned from."""
        for one in series:
            if self.scored:
                yield Examined.plain(one, self.score([one])[0], memory=self.memory)
            else:
                candidates = self.candidates(one)
                confidence = confidence_along(candidates, one.timestamps)
                yield Examined.plain(one, confidence, Own.of(candidates, one.timestamps), self.memory)

    def hidden_states(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """What the unadapted base model makes of stretches of values, pooled: what embeddings are. [L] each -> [N, D].

        Raises:
            DetectorError: this detector has no such base.
        """
        raise DetectorError(f"Detector {self.name} has no base model that embeds", "Use embedding=shape.")

    def detect(self, series: Sequence[Series], proposing: Proposing) -> Iterator[Detection]:
        """What it proposes of each series, in the order given, under the origin of ``proposing``.

        A detector may propose in a way of its own; origin and threshold are those of ``proposing`` then, too.
        """
        return proposing.propose(self, series)

    def continuing(self, folder: Path, refit_every: float) -> Detector:
        """The same detector where it looks at every series afresh; one that can go on from where it was overrides this.

        Args:
            folder: for what it keeps of series; may be deleted at any time.
            refit_every: share by which a series may grow before everything about it is fitted anew; 0 = every time.
        """
        return self

    def keeping_answers(self, folder: Path) -> Detector:
        """The same detector; one whose answers cost much keeps them in ``folder``, which may be deleted at any time.

        What it says stays the same: answers are of one version and one stretch of values.
        """
        return self

    def options(self) -> dict[str, Any]:
        """The keyword arguments that rebuild this detector, as JSON-able values."""
        return dict(self.settings.model_dump(mode="json"))

    def describe(self) -> dict[str, Any]:
        """``_target_`` and keyword arguments: what a registered version keeps to rebuild the detector."""
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **self.options()}

    @property
    def config_hash(self) -> str:
        """First 12 hex digits of the SHA-256 of :meth:`describe`; a class that has moved keeps its hash."""
        described = {key: value for key, value in self.describe().items() if key not in self.unhashed}
        described["_target_"] = recorded(described["_target_"])
        text = json.dumps(described, sort_keys=True, ensure_ascii=False)
        return digest_of_text(text)[:12]

    def base_reference(self) -> dict[str, str]:
        """``id``, ``path`` and ``sha256`` of the base weights; empty where there are none."""
        return {}

    def on_base(self, reference: Mapping[str, str]) -> Detector:
        """The same detector on the base weights that a registered version was made on, where tsad ships them still.

        Args:
            reference: what :meth:`base_reference` gave then. Other weights leave the detector as it is.
        """
        return self

    def on_engine(self, engine: EngineOptions) -> Self:
        """The same detector, its server (where one answers for it) reached as the config in use says.

        A registered version says which model answers; address and token are never its own.
        """
        return self

    def with_adapter(self, folder: Path | None) -> Detector:
        """The same detector under a LoRA adapter; ``None`` gives the unadapted base.

        Raises:
            DetectorError: this detector has no network that could take one.
        """
        if folder is None:
            return self
        raise DetectorError(f"Detector {self.name} takes no adapter (asked for {folder})", "Use detector=patch.")

    @classmethod
    def plan(cls, given: Mapping[str, Any], options: AdapterOptions) -> MemoryPlan | None:
        """What training under these options takes, computed without weights; ``None`` = too little to plan.

        Args:
            given: the detector's own options as plain values; those that name weights may be missing (``???``).
            options: with this detector's own values filled in (``AdapterOptions.for_detector``).
        """
        return None

    def memory_plan(self, options: AdapterOptions) -> MemoryPlan | None:
        """:meth:`plan` of this detector."""
        return self.plan(self.options(), options)

    @property
    def remembers(self) -> bool:
        """Whether its scores read what people have called normal; candidates of every detector may be judged by it."""
        return False

    def with_memory(self, memory: NormalMemory | None) -> Self:
        """The same detector with another memory; its options, and so its ``config_hash``, stay."""
        other = self._twin()
        other.memory = memory
        return other

    def _twin(self) -> Self:
        """The same network and options, nothing kept of any series."""
        return copy.copy(self)
