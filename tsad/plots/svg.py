"""Small drawings as SVG: made in a millisecond, a few kilobytes, sharp at any size, written in the reader's own fonts.

All numbers are whole pixels of the drawing, y downwards.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from html import escape

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 forbids


def drawing(width: int, height: int, parts: Iterable[str]) -> str:
    """A whole SVG of these parts."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    return f"{head} font-family='sans-serif' font-size='12'>{''.join(parts)}</svg>"


def data_uri(svg: str) -> str:
    """The drawing as an address that holds all of it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def text(x: int, y: int, words: str, colour: str, anchor: str = "start") -> str:
    """Words that stand on row ``y``, from column ``x`` on; with ``anchor="end"`` up to it."""
    plain = escape(_NO_XML.sub("", words))
    return f"<text x='{x}' y='{y}' fill='{colour}' text-anchor='{anchor}'>{plain}</text>"


def box(left: int, top: int, width: int, height: int, colour: str, opacity: float = 1.0) -> str:
    """A filled rectangle."""
    shape = f"x='{left}' y='{top}' width='{width}' height='{height}'"
    return f"<rect {shape} fill='{colour}' fill-opacity='{opacity:g}'/>"


def path(data: str, colour: str) -> str:
    """A line of one pixel along path data."""
    return f"<path d='{data}' stroke='{colour}' fill='none' stroke-linejoin='round'/>"


def trace(x: IntArray, high: IntArray, low: IntArray, known: BoolArray) -> str:
    """Path data of a line through columns, down one and up the next, each from its highest to its lowest value.

    Args:
        x: [N] ascending. high, low: [N] rows. known: [N] where there is a value; the line is broken elsewhere.
    """
    even = np.arange(len(x)) % 2 == 0
    enter, leave = np.where(even, high, low), np.where(even, low, high)
    out = []
    for first, stop in runs_of(known):
        own = slice(first, stop)
        out.append(f"M{x[first]} {enter[first]}h1h-1")  # a value all by itself is seen, too
        steps = [np.diff(x[own], prepend=x[first]), enter[own] - np.append(enter[first], leave[own][:-1])]
        form = "l%d %d"
        if (leave[own] != enter[own]).any():
            steps, form = [*steps, leave[own] - enter[own]], "l%d %dv%d"
        out.append(form * int(stop - first) % tuple(np.stack(steps, axis=1).ravel().tolist()))
    return "".join(out)


def rows_of(values: FloatArray, extent: tuple[float, float], rows: tuple[int, int]) -> IntArray:
    """Values as rows: the lowest of ``extent`` in the last one, the highest in the first; 0 where there is none. [N].

    Where lowest and highest are the same it is the row in the middle.
    """
    (bottom, top), (first, last) = extent, rows
    reach = top / 2 - bottom / 2  # halves: the difference of huge values overflows
    part = (values / 2 - bottom / 2) / reach if reach > 0 else np.where(np.isfinite(values), 0.5, np.nan)
    drawn = np.rint(last - part * (last - first))
    return np.where(np.isfinite(drawn), drawn, 0).astype(np.int64)
