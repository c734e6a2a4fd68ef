"""Blocks in prompts as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import DetectorError, WeightsError
from tsad.core.types import FloatArray, IntArray
from tsad.detectors.llm.qwen_vl.pixels import MOST_ASPECT, Patching, pixel_values
from tsad.detectors.llm.reader import Block, Prompted, Reader
from tsad.detectors.llm.render import Canvas, Pictures, render
from tsad.plots.ticks import round_steps

if TYPE_CHECKING:
    import torch

MARK = "<image>"  # a picture's place in the rows that other trainers read
IMAGE = 1  # in mm_token_type_ids, text being 0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How blocks are drawn.

    Attributes:
        width: pixels; 0 = ``stretch`` per point, as far as the model's bounds and ``most_tokens`` let it.
        height: pixels; 0 = a row of tokens for each of ``channels``, and one for numbers.
        stretch: pixels per point where the width follows from the points.
        most_tokens: of a picture.
        channels: that one picture may show.
        paper: grey of the background.
        ticks: vertical lines at most; 0 = none.
        numbers: whether the ticks are numbered.
        columns: whether positions are counted in columns of tokens instead of points.
        captions: whether the text says which panel is which channel and what it ranges over; several are named anyway.
    """

    width: int
    height: int
    stretch: int
    most_tokens: int
    channels: int
    paper: int
    ticks: int
    numbers: bool
    columns: bool
    captions: bool


@dataclass(frozen=True, eq=False)
class Sight:
    """What goes in beside the tokens: the values, drawn when the batch is made. values [L, C]."""

    values: FloatArray
    canvas: Canvas


class QwenVLReader(Reader):
    """Puts a block into the prompt as one picture, its channels as panels from top to bottom.

    A unit of an answer is a column of the picture's tokens. Pictures have one size for blocks of one length, never need
    resizing, and point ``i`` of ``L`` lies in unit ``floor(i units / L)``.

    Args:
        tokenizer: of the checkpoint; ``None`` = only what stands in a prompt is asked for.
        tokens: ids of the image's placeholder and of what stands before and after it, as the network's config has them;
            without a tokenizer none, and ``<image>`` stands for the picture.
        patching: how the checkpoint wants its pictures.
        drawing: how they are drawn.

    Raises:
        WeightsError: a tokenizer without these tokens.
        DetectorError: a size that the checkpoint cannot take as it is.
    """

    def __init__(self, tokenizer: Any, tokens: tuple[int, ...], patching: Patching, drawing: Drawing) -> None:
        self.tokenizer, self.patching, self.drawing = tokenizer, patching, drawing
        self.pad, self.before, self.after = MARK, "", ""
        if tokenizer is not None:
            self.image = tokens[0]
            self.pad, self.before, self.after = (self._word(token) for token in tokens)
        self.height = height_of(drawing, patching)
        if drawing.width:
            self._check(drawing.width)

    def _word(self, token: int) -> str:
        word = self.tokenizer.convert_ids_to_tokens(token)
        if word is None or self.tokenizer.encode(word, add_special_tokens=False) != [token]:
            raise WeightsError(
                f"The checkpoint's config.json has an image token {token}, which its tokenizer does not know",
                "Take tokenizer and config of one checkpoint.",
            )
        return str(word)

    def marks(self, block: Block) -> str:
        """The picture, and in words which panel is which channel."""
        picture = self.before + self.pad + self.after
        if len(block.channels) == 1 and not self.drawing.captions:
            return picture
        named = [
            name + (_range(values) if self.drawing.captions else "")
            for name, values in zip(block.channels, block.values.T, strict=True)
        ]
        return f"{picture} (from top to bottom: {'; '.join(named)})" if len(named) > 1 else f"{picture} ({named[0]})"

    def width(self, points: int) -> int:
        """Of the picture of a block, pixels.

        Raises:
            DetectorError: no width fits the model's bounds and ``most_tokens``.
        """
        width = width_of(points, self.drawing, self.patching)
        self._check(width)
        return width

    def _check(self, width: int) -> None:
        self.patching.check(self.height, width)
        tokens = self.patching.tokens(self.height, width)
        if tokens > self.drawing.most_tokens:
            raise DetectorError(
                f"A picture of {width} x {self.height} takes {tokens} tokens, above detector.most_tokens "
                f"{self.drawing.most_tokens}",
                "Make it smaller (detector.width, detector.height) or allow more.",
            )

    def units(self, points: int) -> int:
        return self.width(points) // self.patching.unit

    def position_edges(self, points: int) -> IntArray:
        return self.edges(points) if self.drawing.columns else super().position_edges(points)

    def read(self, block: Block, text: str) -> Prompted:
        parts = text.split(self.pad)
        if len(parts) != 2:
            raise DetectorError(
                f"{len(parts) - 1} pictures in the text instead of one",
                f"A prompt has the place {{series}} once, and no name of a channel holds {self.pad}.",
            )
        canvas = self.canvas(len(block))
        canvas.panels(len(block.channels))  # may not fit: said here, not in the middle of a batch
        before, after = (self.tokenizer.encode(part, add_special_tokens=False) for part in parts)
        pads = [self.image] * self.patching.tokens(canvas.height, canvas.width)
        return Prompted([*before, *pads, *after], Sight(block.values, canvas))

    def canvas(self, points: int) -> Canvas:
        """What the picture of a block of so many points looks like."""
        drawing, width = self.drawing, self.width(points)
        positions = width // self.patching.unit if drawing.columns else points
        step = round_steps(positions, drawing.ticks) if drawing.ticks else positions + 1
        ticks = tuple(
            (k * width // positions, str(k) if drawing.numbers else "")
            for k in range(0, positions if drawing.ticks else 0, step)
        )
        return Canvas(height=self.height, width=width, paper=drawing.paper, ticks=ticks)

    def picture(self, block: Block) -> Pictures:
        """The block's picture by itself, [H, W, 3] RGB."""
        return render(block.values.T[None], self.canvas(len(block)))[0]

    def beside(self, prompted: Sequence[Prompted], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``pixel_values`` [patches of all pictures, D] and ``image_grid_thw`` [N, 3], in the order of the prompts, and
        ``mm_token_type_ids`` [N, S]: where the tokens are a picture's."""
        import torch

        sights = [p.payload for p in prompted]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for k, sight in enumerate(sights):
            alike.setdefault((sight.values.shape, sight.canvas), []).append(k)
        made: dict[int, tuple[Any, Any]] = {}
        for (_, canvas), members in alike.items():
            pictures = render(np.stack([sights[k].values.T for k in members]), canvas)
            pixels, grid = pixel_values(pictures, self.patching)
            made |= {k: (p, g) for k, p, g in zip(members, np.split(pixels, len(members)), grid, strict=True)}
        ordered = [made[k] for k in range(len(sights))]
        return {
            "pixel_values": torch.from_numpy(np.concatenate([pixels for pixels, _ in ordered])),
            "image_grid_thw": torch.from_numpy(np.stack([grid for _, grid in ordered])),
            "mm_token_type_ids": (batch["input_ids"] == self.image).long() * IMAGE,
        }


def height_of(drawing: Drawing, patching: Patching) -> int:
    """Of every picture, pixels."""
    return drawing.height or patching.unit * (drawing.channels + bool(drawing.ticks and drawing.numbers))


def width_of(points: int, drawing: Drawing, patching: Patching) -> int:
    """Of the picture of a block of so many points, pixels; where it follows from them, as near as the bounds let it."""
    if drawing.width:
        return drawing.width
    height, unit = height_of(drawing, patching), patching.unit
    wanted = max(points * drawing.stretch, -(-patching.fewest // height))
    pixels = min(patching.most, drawing.most_tokens * unit**2, MOST_ASPECT * height**2)
    return unit * max(1, min(-(-wanted // unit), pixels // height // unit))


def _range(values: FloatArray) -> str:
    """What a channel ranges over, in words; nothing where no value is."""
    finite = values[np.isfinite(values)]
    return f" from {finite.min():.5g} to {finite.max():.5g}" if len(finite) else ""


def png_address(picture: Pictures) -> str:
    """A picture [H, W, 3] as an address that holds it, as messages to a server carry it."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(picture).save(held, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
