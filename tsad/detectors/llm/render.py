"""Windows drawn as arrays: a polyline column by column, thousands of pictures a minute, no plotting library.

Point ``i`` of ``L`` stands in column ``floor(i W / L)`` of ``W``, whatever L and W are, so a stretch of columns is a
stretch of points exactly: columns ``[a, b)`` hold the points ``[ceil(a L / W), ceil(b L / W))``. No point is left out:
of several in one column the lowest and the highest are drawn, and what lies between.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsad.core.errors import DetectorError
from tsad.core.types import BoolArray, FloatArray

Pictures = NDArray[np.uint8]

COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))  # of channels in turn
GRID, WRITING = 0.88, 0.35  # grey of ticks and digits, as a share of the paper's
GLYPHS = {  # five rows of three dots, each as an octal digit
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71122",
    "8": "75757", "9": "75717",
}  # fmt: skip
LEAST_ROWS = 8  # of a panel: fewer show no shape


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What pictures look like.

    Attributes:
        height, width: of a picture, pixels.
        paper: grey of the background, 0 black to 255 white.
        ticks: column of each vertical line, and what is written below it; "" = nothing.
    """

    height: int
    width: int
    paper: int = 255
    ticks: tuple[tuple[int, str], ...] = ()

    @property
    def zoom(self) -> int:
        """Pixels per dot of a digit."""
        return 2 if self.height >= 128 else 1

    @property
    def strip(self) -> int:
        """Rows at the bottom that numbers are written in; 0 = there are none."""
        return (len(GLYPHS["0"]) + 2) * self.zoom if any(text for _, text in self.ticks) else 0

    def panels(self, channels: int) -> list[tuple[int, int]]:
        """First and last row (exclusive) of each channel's panel, from top to bottom.

        Raises:
            DetectorError: they would be too low to show anything.
        """
        rows = self.height - self.strip
        edges = [rows * k // channels for k in range(channels + 1)]
        if rows // channels < LEAST_ROWS:
            raise DetectorError(
                f"{channels} channels in a picture {self.height} pixels high leave {rows // channels} rows for each",
                f"Show fewer channels at once, or make it at least {LEAST_ROWS * channels + self.strip} high.",
            )
        return list(itertools.pairwise(edges))


def render(values: FloatArray, canvas: Canvas) -> Pictures:
    """Windows as pictures, each channel in a panel and to a scale of its own.

    Args:
        values: [B, C, L] B windows; where they are missing there is no ink. What does not vary is a line in the middle.

    Returns:
        [B, H, W, 3] RGB, laid out colour by colour in memory. The same each time.

    Raises:
        DetectorError: more channels than the picture is high enough for.
    """
    count, channels, _ = values.shape
    paper = _background(canvas, channels)
    planes = np.empty((count, 3, canvas.height, canvas.width), np.uint8)  # a colour at a time: the networks want it so
    planes[:] = paper
    for channel, (top, bottom) in enumerate(canvas.panels(channels)):
        inside = slice(top + 1, bottom - 1)
        ink = _ink(*spans(values[:, channel], canvas.width), bottom - top - 2).view(np.uint8)
        for plane, colour in enumerate(COLOURS[channel % len(COLOURS)]):
            where = planes[:, plane, inside]
            where += ink * (np.uint8(colour) - paper[inside])  # modulo 256: the colour where there is ink
    return planes.transpose(0, 2, 3, 1)


def spans(values: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """[B, L] -> lowest and highest value of the polyline in each of ``width`` columns, [B, width]; NaN = no ink.

    Between the points of neighbouring columns each column's stroke goes half of the way.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    length = values.shape[1]
    if length < width:
        return _sparse(values, width)
    starts = -(-np.arange(width) * length // width)
    low, high = np.fmin.reduceat(values, starts, axis=1), np.fmax.reduceat(values, starts, axis=1)
    middle = values[:, starts[1:] - 1] / 2 + values[:, starts[1:]] / 2
    for near in (slice(None, -1), slice(1, None)):
        low[:, near], high[:, near] = np.fmin(low[:, near], middle), np.fmax(high[:, near], middle)
    return low, high


def _sparse(values: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """Fewer points than columns: the line's values at both edges of each column, and the point in it."""
    length = values.shape[1]
    column = np.arange(length) * width // length
    edges = np.arange(width + 1) - 0.5
    left = np.clip(np.searchsorted(column, edges, side="right") - 1, 0, max(0, length - 2))
    right = np.minimum(left + 1, length - 1)
    part = ((edges - column[left]) / np.maximum(column[right] - column[left], 1)).clip(0, 1)
    line = values[:, left] * (1 - part) + values[:, right] * part
    line[:, (edges < 0) | (edges > column[-1])] = np.nan  # nothing before the first point and after the last
    low, high = np.fmin(line[:, :-1], line[:, 1:]), np.fmax(line[:, :-1], line[:, 1:])
    low[:, column], high[:, column] = np.fmin(low[:, column], values), np.fmax(high[:, column], values)
    return low, high


def _ink(low: FloatArray, high: FloatArray, rows: int) -> BoolArray:
    """Lowest and highest value of each column [B, W] -> where a panel of so many rows has ink, [B, rows, W]."""
    bare = np.isnan(low)
    bottom = np.where(bare, np.inf, low).min(axis=1, keepdims=True)
    top = np.where(bare, -np.inf, high).max(axis=1, keepdims=True)
    flat = bare.all(axis=1, keepdims=True) | (top == bottom)
    bottom, top = np.where(flat, 0.0, bottom), np.where(flat, 1.0, top)
    reach = np.maximum(top / 2 - bottom / 2, np.finfo(float).tiny)  # halves: huge values' difference overflows
    counter = "uint8" if rows < 256 else "uint16"

    def row(value: FloatArray) -> NDArray[np.uint16]:
        share = np.where(flat, 0.5, (value / 2 - bottom / 2) / reach)
        return np.rint((1 - np.where(bare, 0.0, share)) * (rows - 1)).astype(counter)

    first = row(high)
    extent = row(low) - first
    first[bare], extent[bare] = rows, 0  # below the last row
    return np.arange(rows, dtype=counter)[None, :, None] - first[:, None] <= extent[:, None]  # rows above wrap around


def _background(canvas: Canvas, channels: int) -> NDArray[np.uint8]:
    """[H, W] greys: paper, lines of ticks and between panels, numbers."""
    sheet = np.full((canvas.height, canvas.width), canvas.paper, np.uint8)
    floor, grid, dark = canvas.height - canvas.strip, int(canvas.paper * GRID), int(canvas.paper * WRITING)
    sheet[:floor, [column for column, _ in canvas.ticks]] = grid
    for top, _ in canvas.panels(channels)[1:]:
        sheet[top] = grid
    free = 0  # first column that nothing is written in yet
    for column, text in canvas.ticks:
        digits = writing(text, canvas.zoom)
        start = min(max(0, column - digits.shape[1] // 2), canvas.width - digits.shape[1])
        if text and start >= free:
            below = slice(floor + canvas.zoom, floor + canvas.zoom + len(digits))
            sheet[below, start : start + digits.shape[1]][digits > 0] = dark
            free = start + digits.shape[1] + 2 * canvas.zoom
    return sheet


def writing(number: str, zoom: int = 1) -> NDArray[np.uint8]:
    """Digits as dots, [5 zoom, W]: 1 = ink. Each is 3 dots wide, with one dot between."""
    rows = [[int(GLYPHS[digit][row]) for digit in number] for row in range(len(GLYPHS["0"]))]
    dots = [[bit for code in row for bit in (code >> 2 & 1, code >> 1 & 1, code & 1, 0)][:-1] for row in rows]
    return np.kron(np.array(dots, np.uint8).reshape(len(rows), -1), np.ones((zoom, zoom), np.uint8))
