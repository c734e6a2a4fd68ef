"""Series in prompts as ChatTS was taught to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tsad.core.errors import DetectorError, WeightsError
from tsad.core.types import FloatArray
from tsad.detectors.llm.chatts.checkpoint import PLACEHOLDER, PLACEHOLDER_END
from tsad.detectors.llm.reader import Block, Prompted, Reader
from tsad.detectors.numeric import fill_missing

if TYPE_CHECKING:
    import torch

Prefix = Literal["current", "older", "none"]
REACH = 3.0  # a series goes in with its mean taken away and |x| at most this; published code never enlarges one
MARK = PLACEHOLDER + PLACEHOLDER_END


class ChatTSReader(Reader):
    """Puts every channel of a block into the prompt as ``<ts><ts/>``, which becomes one placeholder per patch.

    Args:
        tokenizer: of the checkpoint; ``None`` = only what stands in a prompt is asked for.
        patch: points of a patch.
        longest: points of a series at most.
        prefix: what is written of a series before its patches: ``current`` (offset, scaling, length, max, min, left,
            right), ``older`` (offset and scaling) or ``none``.
        placeholder: id of the placeholder token as the checkpoint's config has it; ``None`` = as the tokenizer has it.

    Raises:
        WeightsError: a tokenizer without the placeholder.
    """

    def __init__(
        self, tokenizer: Any, *, patch: int, longest: int, prefix: Prefix, placeholder: int | None = None
    ) -> None:
        self.tokenizer, self.patch, self.longest, self.prefix = tokenizer, patch, longest, prefix
        if tokenizer is None:
            return
        own = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        if placeholder is None and (own is None or own == tokenizer.unk_token_id):
            raise WeightsError(
                f"The checkpoint's tokenizer has no token {PLACEHOLDER}, and its config no ts_token_start_index",
                "Take tokenizer and config of one ChatTS checkpoint.",
            )
        self.placeholder = int(own if placeholder is None else placeholder)

    def marks(self, block: Block) -> str:
        named = zip(block.channels, block.values.T, strict=True)
        return "; ".join(f"{name}{_unit(values)}: {MARK}" for name, values in named)

    def units(self, points: int) -> int:
        return -(-points // self.patch)

    def edges(self, points: int) -> npt.NDArray[np.int64]:
        return np.minimum(np.arange(self.units(points) + 1, dtype=np.int64) * self.patch, points)

    def read(self, block: Block, text: str) -> Prompted:
        parts = text.split(MARK)
        if len(parts) != len(block.channels) + 1:
            raise DetectorError(
                f"ChatTS: {len(parts) - 1} marks {MARK} in the text, {len(block.channels)} series",
                "A prompt has the place {series} once.",
            )
        if len(block) > self.longest:
            raise DetectorError(
                f"ChatTS: {len(block)} points in one series, the checkpoint takes {self.longest}",
                "Lower detector.most_points.",
            )
        ids: list[int] = []
        series = []
        for part, values in zip(parts, block.values.T, strict=False):
            x, prefix = prepared(values, self.prefix)
            ids += self.tokenizer.encode(part + prefix, add_special_tokens=False)
            ids += [self.placeholder] * self.units(len(x))
            series.append(x)
        return Prompted(ids + self.tokenizer.encode(parts[-1], add_special_tokens=False), series)

    def beside(self, prompted: Sequence[Prompted], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``timeseries`` [series of all prompts, L, 2]: values and validity, padded with zeros."""
        import torch

        flat = [x for p in prompted for x in p.payload]
        series = torch.zeros(len(flat), max(map(len, flat)), 2)
        for k, x in enumerate(flat):
            series[k, : len(x), 0], series[k, : len(x), 1] = torch.from_numpy(x), 1.0
        return {"timeseries": series}


def prepared(values: FloatArray, prefix: Prefix) -> tuple[npt.NDArray[np.float32], str]:
    """A series as the encoder takes it and what is written before it. values [L], NaN where missing.

    Missing points lie on straight lines. A series whose swing is below ``REACH`` is multiplied by a power of ten first
    (published code leaves it as it is, and its four decimals are lost); :meth:`ChatTSReader.marks` says so in words.
    """
    raw = raised(values)
    mean = float(raw.mean())
    x = raw - mean
    top = float(np.abs(x).max())
    scale = top / REACH if top >= REACH else 1.0
    if prefix == "none":
        text = ""
    elif prefix == "older":
        text = f"[Value Offset: {-mean:.4f}|Value Scaling: {scale:.4f}]"
    else:
        text = (
            f"[offset={-mean:.4f}|scaling={scale:.4f}|length={len(raw)}|max={raw.max():.4f}|min={raw.min():.4f}"
            f"|left={raw[0]:.4f}|right={raw[-1]:.4f}]"
        )
    return (x / scale).astype(np.float32), text


def raised(values: FloatArray) -> FloatArray:
    """A series without gaps, multiplied by its power of ten. values [L], NaN where missing."""
    filled, _ = fill_missing(values)
    return np.asarray(filled, np.float64) * 10.0 ** enlarged(filled)


def enlarged(values: FloatArray) -> int:
    """By which power of ten a series is multiplied so that its swing reaches ``REACH``; 0 where it does. values [L]."""
    filled, _ = fill_missing(values)
    top = float(np.abs(filled - filled.mean()).max())
    return max(0, math.ceil(math.log10(REACH / top))) if 0.0 < top < REACH else 0


def _unit(values: FloatArray) -> str:
    """What the text says of a series that was enlarged."""
    power = enlarged(values)
    return f" (times 10^{power})" if power else ""
