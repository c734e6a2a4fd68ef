"""The ``qwen_vl`` detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tsad.core.errors import DetectorError
from tsad.detectors.llm.checks import check_torchvision
from tsad.detectors.llm.detector import LanguageDetector, LanguageOptions
from tsad.detectors.llm.loading import tokenizer_of
from tsad.detectors.llm.qwen_vl.loading import FAMILIES, NAME, TOKENS, QwenVLCheckpoint
from tsad.detectors.llm.qwen_vl.published import PATCHING, PIXELS, PUBLISHED
from tsad.detectors.llm.qwen_vl.reader import MARK, Drawing, QwenVLReader, height_of, png_address, width_of
from tsad.detectors.llm.reader import Block

if TYPE_CHECKING:
    import torch

    from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
    from tsad.detectors.llm.served.asking import Content


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
    published: Literal["", "Qwen3-VL-8B"]


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
        published: whose shapes a plan takes while no checkpoint is at hand; "" = none.

    Raises:
        WeightsError: no checkpoint of these models.
        DetectorError: impossible options, or CUDA asked for where there is none.
    """

    name = NAME
    options_model = QwenVLOptions
    settings: QwenVLOptions
    checkpoint: QwenVLCheckpoint
    shipped = ("qwen_vl_tiny",)

    @classmethod
    def shapes(cls, folder: Path | None, published: str) -> torch.nn.Module:
        check_torchvision()
        from tsad.detectors.llm.qwen_vl.model import classes

        if folder is not None:
            told = QwenVLCheckpoint.at(folder)
            made: torch.nn.Module = classes(*FAMILIES[told.family])[1](told.configuration())
            return made
        family, config = PUBLISHED[published]
        kind, network = classes(*FAMILIES[family])
        return network(kind(**config))

    @classmethod
    def tokens_of(cls, options: LanguageOptions) -> tuple[int, int]:
        assert isinstance(options, QwenVLOptions)
        drawing = drawing_of(options)
        width = width_of(min(options.length, options.most_points), drawing, PATCHING)
        return PATCHING.tokens(height_of(drawing, PATCHING), width), width // PATCHING.unit

    @classmethod
    def tiny(cls, tokenizer: Any, sizes: LanguagePretrainOptions, seed: int) -> torch.nn.Module:
        from tsad.detectors.llm.qwen_vl.tiny import qwen3_vl

        given = {"vision": sizes.vision_size, "depth": sizes.vision_layers}
        return qwen3_vl(tokenizer, sizes.hidden_size, sizes.layers, **given, seed=seed)

    @classmethod
    def beside_tiny(cls, folder: Path) -> None:
        from tsad.detectors.llm.qwen_vl.tiny import write_preprocessor

        write_preprocessor(folder)

    @classmethod
    def checkpoint_at(cls, folder: Path, *, bare: bool = False) -> QwenVLCheckpoint:
        check_torchvision()
        return QwenVLCheckpoint.at(folder, bare=bare)

    @classmethod
    def plain_reader(cls, options: LanguageOptions) -> QwenVLReader:
        assert isinstance(options, QwenVLOptions)
        folder = cls._at(options.weights)
        fewest, most = PIXELS
        patching = replace(PATCHING, fewest=fewest, most=most)
        if folder.is_dir():
            patching = QwenVLCheckpoint.at(folder, bare=True).patching
        return QwenVLReader(None, (), patching, drawing_of(options))

    def read_checkpoint(self) -> QwenVLReader:
        told = self.checkpoint
        image, before, after = (int(told.config[key]) for key in TOKENS)
        tokenizer = tokenizer_of(self.folder, self.name)
        return QwenVLReader(tokenizer, (image, before, after), told.patching, drawing_of(self.settings))

    def message(self, block: Block, text: str) -> Content:
        """The question with the picture as PNG where it belongs."""
        reader = self.wording
        assert isinstance(reader, QwenVLReader)
        before, mark, after = text.partition(MARK)
        if not mark or MARK in after:
            raise DetectorError(
                f"The question has no place for the picture, or several: {text[:60]!r}",
                f"A prompt has the place {{series}} once, and no name of a channel holds {MARK}.",
            )
        shown = {"type": "image_url", "image_url": {"url": png_address(reader.picture(block))}}
        words = [{"type": "text", "text": part} for part in (before, after)]
        return [part for part in (words[0], shown, words[1]) if part.get("text") != ""]

    def load(self, device: str, dtype: torch.dtype) -> torch.nn.Module:
        return self.checkpoint.load(device=device, dtype=dtype, nf4=self.settings.quantisation == "nf4")


def drawing_of(options: QwenVLOptions) -> Drawing:
    """How blocks are drawn under these options."""
    return Drawing(
        width=options.width, height=options.height, stretch=options.stretch, most_tokens=options.most_tokens,
        channels=options.channels, paper=options.paper, ticks=options.ticks, numbers=options.numbers,
        columns=options.unit == "columns", captions=options.captions,
    )  # fmt: skip
