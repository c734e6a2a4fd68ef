"""Pictures per second of our renderer against matplotlib, in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.renderer

Windows of 1,024 points, 448 x 224 pixels, with numbered ticks. matplotlib draws into a canvas of its Agg back end: with
the figure kept and only the line's values set, with a figure for each, and without axes, which is the least that it can
do. By the clock, in one process; pixel values are what the vision tower takes, made by us and by transformers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.llm.qwen_vl.pixels import Patching, pixel_values
from tsad.detectors.llm.render import Canvas, Pictures, render
from tsad.plots.ticks import round_steps

LENGTH, HEIGHT, WIDTH, BATCH = 1024, 224, 448, 32
STEP = round_steps(LENGTH, 8)
TICKS = tuple(range(0, LENGTH, STEP))
CANVAS = Canvas(height=HEIGHT, width=WIDTH, ticks=tuple((t * WIDTH // LENGTH, str(t)) for t in TICKS))
PATCHING = Patching(mean=(0.5,) * 3, std=(0.5,) * 3, patch=16, merge=2, frames=2)


class Agg:
    """matplotlib's way: a figure of so many channels, kept or made anew, with or without axes."""

    def __init__(self, channels: int, axes: bool) -> None:
        self.channels, self.axes = channels, axes
        self.lines: list[Any] = []
        self.make()

    def make(self) -> None:
        """A fresh figure."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((WIDTH / 100, HEIGHT / 100), dpi=100)
        self.canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(self.channels, squeeze=False)[:, 0]
        self.lines = [panel.plot(np.zeros(LENGTH), linewidth=1)[0] for panel in panels]
        for panel in panels:
            panel.set_xticks(TICKS)
            panel.grid(True, axis="x")
            panel.set_axis_on() if self.axes else panel.set_axis_off()

    def draw(self, window: FloatArray) -> Pictures:
        """[C, L] -> [H, W, 3]."""
        for line, values in zip(self.lines, window, strict=True):
            line.set_ydata(values)
            line.axes.set_ylim(values.min(), values.max())
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def draw_anew(self, window: FloatArray) -> Pictures:
        """The same in a figure of its own."""
        self.make()
        return self.draw(window)


def rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """Pictures per second of work that makes ``count`` of them."""
    work()
    begun, made = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        work()
        made += count
    return made / (time.perf_counter() - begun)


def drawing(channels: int, seconds: float) -> dict[str, float]:
    """Pictures per second of each way."""
    windows = np.random.default_rng(0).standard_normal((BATCH, channels, LENGTH))
    kept, bare = Agg(channels, True), Agg(channels, False)
    return {
        "ours": rate(lambda: render(windows, CANVAS), BATCH, seconds),
        "kept figure": rate(lambda: kept.draw(windows[0]), 1, seconds),
        "new figure": rate(lambda: kept.draw_anew(windows[0]), 1, seconds),
        "no axes": rate(lambda: bare.draw(windows[0]), 1, seconds),
    }


def scaling(seconds: float) -> tuple[float, float]:
    """Pictures per second into pixel values: by us, by transformers."""
    from PIL import Image
    from transformers import Qwen2VLImageProcessorPil

    pictures = render(np.random.default_rng(0).standard_normal((BATCH, 1, LENGTH)), CANVAS)
    images = [Image.fromarray(np.ascontiguousarray(picture)) for picture in pictures]
    theirs = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=PATCHING.mean, image_std=PATCHING.std,
        size={"shortest_edge": 1024, "longest_edge": 1 << 24},
    )  # fmt: skip
    ours = rate(lambda: pixel_values(pictures, PATCHING), BATCH, seconds)
    return ours, rate(lambda: theirs(images, return_tensors="np"), BATCH, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    asked = parser.parse_args()
    for channels in (1, 3):
        rates = drawing(channels, asked.seconds)
        others = [f"{name} {value:,.0f} ({rates['ours'] / value:.1f} times)" for name, value in rates.items()]
        print(f"{channels} channel(s): ours {rates['ours']:,.0f} pictures/s; matplotlib: {', '.join(others[1:])}")
    ours, theirs = scaling(asked.seconds)
    print(f"pixel values: ours {ours:,.0f} pictures/s, transformers {theirs:,.0f}")


if __name__ == "__main__":
    main()
