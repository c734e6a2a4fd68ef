"""The ``qwen_vl`` detector."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tsad.detectors.llm.checks import check_torchvision
from tsad.detectors.llm.detector import LanguageDetector, LanguageOptions
from tsad.detectors.llm.loading import tokenizer_of
from tsad.detectors.llm.qwen_vl.loading import NAME, TOKENS, QwenVLCheckpoint
from tsad.detectors.llm.qwen_vl.reader import Drawing, QwenVLReader

if TYPE_CHECKING:
    import torch


class QwenVLOptions(LanguageOptions):
    """Keyword arguments of :class:`QwenVL`."""

    width: int = Field(ge=0)
    height: int = Field(ge=0)
    stretch: int = Field(ge=1, le=64)
    most_tokens: int = Field(ge=1)
    paper: int = Field(ge=0, le=255)
    ticks: int = Field(ge=0)
    numbers: bool
    unit: Literal["points", "columns"]
    captions: bool


class QwenVL(LanguageDetector):
    """A vision-language model that sees a plot of the window: Qwen3-VL (arXiv 2511.21631) or Qwen3.5.

    Args:
        weights: folder of a checkpoint, or ``qwen_vl_tiny``, which ships with tsad.
        device: auto | cpu | cuda.
        dtype: of the weights; auto = bfloat16 on CUDA, float32 on the CPU.
        quantisation: none, or nf4 = 4-bit weights (QLoRA).
        length: points of the series in a prompt.
        stride: points between the starts of neighbouring prompts.
        most_points: that a picture shows; of longer windows so many are kept by ``reduce``.
        reduce: m4 or minmax.
        channels: of a series in one picture, as panels.
        batch_size: prompts at once.
        decoding: constrained, or free = as the model likes, mended by a parser.
        samples: answers per prompt that are taken together; 1 = the likeliest.
        temperature: of these draws.
        prompt: what is asked; see ``conf/prompt``.
        width, height: of a picture, pixels; 0 = from the points and channels.
        stretch: pixels per point where the width follows from the points.
        most_tokens: of a picture.
        paper: grey of the background.
        ticks, numbers: vertical lines at most, and whether they are numbered.
        unit: what positions in an answer count: points, or columns of the picture's tokens.
        captions: whether the prompt says what each panel ranges over.

    Raises:
        WeightsError: no checkpoint of these models.
        DetectorError: impossible options, or CUDA asked for where there is none.
    """

    name = NAME
    options_model = QwenVLOptions
    settings: QwenVLOptions
    shipped = ("qwen_vl_tiny",)

    def check_checkpoint(self) -> None:
        check_torchvision()
        QwenVLCheckpoint.at(self.folder)

    @cached_property
    def checkpoint(self) -> QwenVLCheckpoint:
        """What the folder says of itself."""
        return QwenVLCheckpoint.at(self.folder)

    def read_checkpoint(self) -> QwenVLReader:
        s, told = self.settings, self.checkpoint
        image, before, after = (int(told.config[key]) for key in TOKENS)
        drawing = Drawing(
            width=s.width, height=s.height, stretch=s.stretch, most_tokens=s.most_tokens, channels=s.channels,
            paper=s.paper, ticks=s.ticks, numbers=s.numbers, columns=s.unit == "columns", captions=s.captions,
        )  # fmt: skip
        return QwenVLReader(tokenizer_of(self.folder, self.name), (image, before, after), told.patching, drawing)

    def load(self, device: str, dtype: torch.dtype) -> torch.nn.Module:
        return self.checkpoint.load(device=device, dtype=dtype, nf4=self.settings.quantisation == "nf4")
