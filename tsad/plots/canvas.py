"""The canvas of every figure: colours, fonts that are installed, text they can draw."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY = "#222222", "#777777"
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
# Fonts with Chinese, Japanese and Korean glyphs, by system: Linux, Windows, macOS.
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS",
)  # fmt: skip


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that can be saved without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure


@lru_cache(maxsize=1)
def fonts() -> list[str]:
    """Matplotlib's own font, and behind it those with Chinese glyphs that this machine has."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in CJK_FONTS if name in installed)]


def readable(text: str, longest: int) -> str:
    """The text, shortened, with characters that no font here can draw as their code (``\\u6c34``)."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    text = text if len(text) <= longest else text[: longest - 1] + "…"
    if not text.isascii():
        maps = [get_font(findfont(FontProperties(family=[name]))).get_charmap() for name in fonts()]
        text = "".join(c if any(ord(c) in m for m in maps) else ascii(c)[1:-1] for c in text)
    return text.replace("$", r"\$")  # matplotlib would take what lies between two of them for mathematics


def number(value: Any) -> float | None:
    """A finite number, else ``None``."""
    return None if value is None or not np.isfinite(float(value)) else float(value)
