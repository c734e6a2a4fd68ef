"""What every detector that asks a language model shares: blocks of a series in, scores or intervals out."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tsad.core.errors import DetectorError
from tsad.core.intervals import confidence_along, merge, point_ends
from tsad.core.option_model import Options, Refusal
from tsad.core.options.engine import IN_PROCESS, REACHED, EngineOptions, without_address
from tsad.core.options.prompt import PromptOptions
from tsad.core.series import Series
from tsad.core.types import ANOMALY, FloatArray, Interval
from tsad.core.windows import stitch
from tsad.detectors.base import Detector
from tsad.detectors.evidence.examined import Examined, Own
from tsad.detectors.llm.blocks import Cutting, Piece, pieces
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.rows import stretch

if TYPE_CHECKING:
    from tsad.detectors.llm.asking import Questions
    from tsad.detectors.llm.reader import Wording


class AskedOptions(Options):
    """Keyword arguments that all detectors take which ask a language model."""

    engine: EngineOptions
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

    @model_validator(mode="before")
    @classmethod
    def _older(cls, given: Any) -> Any:
        """Versions registered before there were engines ran in the process."""
        return {"engine": IN_PROCESS, **given} if isinstance(given, dict) else given

    @property
    def cutting(self) -> Cutting:
        """How series are cut into blocks."""
        return Cutting(length=self.length, stride=self.stride, most=self.most_points, reduce=self.reduce,
                       channels=self.channels)  # fmt: skip

    @model_validator(mode="after")
    def _free_intervals(self) -> Self:
        if self.engine.kind == "openai" and self.prompt.answer == "flags":
            raise Refusal("{engine} is a server and {prompt} asks for flags",
                          "A server gives intervals: prompt=range, kinds or detailed.")  # fmt: skip
        if self.decoding == "free" and self.prompt.answer == "flags":
            raise Refusal(
                "{decoding}=free with flags", "Take {decoding}=constrained, or a prompt that asks for intervals."
            )
        if self.stride > self.length:
            raise Refusal("{stride} is {0}, above {length}={1}", "Points between two blocks would never be looked at.",
                          self.stride, self.length)  # fmt: skip
        return self


class AskedDetector(Detector):
    """A detector that asks a language model about blocks of a series.

    With ``flags`` the probability of 1 at each unit is the score of its points; overlapping blocks are averaged
    (``core.windows.stitch``), of several groups of channels the highest counts. With ``intervals`` it makes candidates
    of its own, each with kind, note and a confidence from the probabilities of its tokens; those of overlapping blocks
    are joined. Missing points score 0, and so does a stretch in which nothing varies: nobody is asked about it.

    Raises:
        DetectorError: a server that is to be asked, and no model named.
    """

    settings: AskedOptions
    _answers: Path | None = None

    def __init__(self, options: AskedOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.scored = self.settings.prompt.answer == "flags"
        if self.settings.engine.kind == "openai" and not self.settings.engine.model:
            raise DetectorError(
                f"detector={self.name} asks a server, and engine.model is empty",
                "Name the model as the server lists it (GET .../v1/models): engine.model=NAME.",
            )

    # ---- what a subclass says

    @property
    @abstractmethod
    def wording(self) -> Wording:
        """What stands in its prompts, and how positions in answers count."""

    @abstractmethod
    def questions(self) -> Questions:
        """How its model is asked."""

    @abstractmethod
    def grounds(self) -> dict[str, Any]:
        """What answers depend on beside block and options: weights, adapter, libraries."""

    # ---- versions

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"engine": without_address(self.settings.engine.model_dump(mode="json"))}

    def on_engine(self, engine: EngineOptions) -> Self:
        own = self.settings.engine
        if not own.kind == engine.kind == "openai":
            return self
        other = self._twin()
        reached = {key: getattr(engine, key) for key in REACHED}
        other.settings = self.settings.model_copy(update={"engine": own.model_copy(update=reached)})
        return other

    def continuing(self, folder: Path, refit_every: float) -> Self:
        return self.keeping_answers(folder)

    def keeping_answers(self, folder: Path) -> Self:
        """A detector that keeps its answers in ``folder``: what it was asked once costs nothing the next time."""
        other = self._twin()
        other._answers = folder / "answers"
        return other

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of what answers depend on beside the block: options and :meth:`grounds`."""
        told = {key: value for key, value in self.describe().items() if key not in ("weights", "batch_size")}
        return hashlib.sha256(json.dumps(told | self.grounds(), sort_keys=True).encode()).hexdigest()

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
        return list(zip(cut, self._asked(cut, kept), strict=True))

    def _asked(self, cut: Sequence[Piece], kept: Kept) -> list[Answer]:
        return list(self.questions().answers(cut, kept))

    def _scores(self, series: Series, kept: Kept) -> FloatArray:
        groups: dict[tuple[int, ...], list[tuple[int, FloatArray]]] = {}
        for piece, answer in self._answered(series, kept):
            edges = self.wording.edges(len(piece.block))
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
            edges = self.wording.position_edges(len(piece.block))
            for mark in answer.marks:
                start, stop = stretch(piece, mark, edges)
                label = mark.kind or ANOMALY
                marked.append(Interval(int(series.timestamps[start]), int(ends[stop - 1]), label, mark.confidence,
                                       mark.note))  # fmt: skip
        return merge(marked)  # kind, note and confidence of the surest
