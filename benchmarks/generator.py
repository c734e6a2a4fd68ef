"""Windows per second of the synthetic generator, and a page of plots with one panel per kind of anomaly.

    OMP_NUM_THREADS=1 python -m benchmarks.generator
    OMP_NUM_THREADS=1 python -m benchmarks.generator --plots generator.png

Prints windows per second by the clock, made in this process and by two workers (on an idle machine; the first chunk,
which starts the workers, does not count). The page shows draws of the generator as they come: of each kind the one of
middling height among the longer ones that stand alone in their window. Below them stands what is new at first sight
and normal.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.core.types import BoolArray, FloatArray
from tsad.synthetic.anomalies import KINDS, MISSING
from tsad.synthetic.coupled import CORRELATION_BREAK, MACHINE_KINDS, MachineBatch, make_machine
from tsad.synthetic.curves import standardise
from tsad.synthetic.families import FAMILIES
from tsad.synthetic.plant import plant
from tsad.synthetic.series import Base, seasonal_rows
from tsad.synthetic.stream import stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LENGTHS, WORKERS = (512, 1024, 4096, 16384), (0, 2)
CHUNK_POINTS = 262_144  # points per chunk in the measurement
LENGTH = 512  # points per panel
COLUMNS = 4
CHUNKS, MACHINES = 8, 150  # what the examples are chosen from


@dataclass(frozen=True, eq=False)
class Panel:
    """What one panel shows: channels [L, C], labels [L, C], and the course without the anomaly where it is known."""

    title: str
    values: npt.NDArray[Any]
    labels: BoolArray
    clean: npt.NDArray[Any] | None = None


def speed(seconds: float) -> None:
    print(f"{'points':>8}" + "".join(f"{f'{w} workers' if w else 'in process':>14}" for w in WORKERS) + "   windows/s")
    for length in LENGTHS:
        rates = [rate(length, number, seconds) for number in WORKERS]
        print(f"{length:>8,}" + "".join(f"{r:>14,.0f}" for r in rates), flush=True)


def rate(length: int, workers: int, seconds: float) -> float:
    """Windows per second over about so many seconds."""
    count = max(8, CHUNK_POINTS // length)
    with closing(stream(0, count, length, workers)) as chunks:  # type: ignore[type-var]
        for _ in range(1 + 3 * workers):  # what was made ahead while the workers started is not their speed
            next(chunks)
        made, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds or made < 2 * count:
            next(chunks)
            made += count
        return made / (time.perf_counter() - started)


def page(seed: int) -> Figure:
    """One panel per kind and, below, one per harmless novelty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds, normal = [*kind_panels(seed), break_panel(seed)], normal_panels(seed)
    tops = -(-len(kinds) // COLUMNS), -(-len(normal) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 1.9 * sum(tops) + 1.6), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=tops)[:, 0]
    texts = (
        "Anomalies: labelled stretch shaded, in red the course without it",
        "New at first sight, and normal: only what is shaded is labelled",
    )
    for part, panels, rows, title in zip((above, below), (kinds, normal), tops, texts, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
        places = part.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, panel in zip(places, panels, strict=False):
            draw(axes, panel)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
    return figure


def draw(axes: Axes, panel: Panel) -> None:
    """Channels one above the other, each on its own scale; its labelled stretches shaded."""
    reference = panel.values if panel.clean is None else panel.clean
    channels = panel.values.shape[1]
    for c in range(channels):
        low, high = np.nanmin(panel.values[:, c]), np.nanmax(panel.values[:, c])
        low, high = min(low, reference[:, c].min()), max(high, reference[:, c].max())
        scale = 0.9 / (high - low + 1e-12)
        floor = channels - 1 - c
        if panel.clean is not None:
            near = np.convolve(panel.labels[:, c], np.ones(3), "same") > 0  # with the points that it departs from
            line = np.where(near, panel.clean[:, c], np.nan)
            axes.plot(floor + (line - low) * scale, color="#D55E00", linewidth=1.2)
        axes.plot(floor + (panel.values[:, c] - low) * scale, color="#222222", linewidth=0.8)
        for start, stop in runs_of(panel.labels[:, c]):
            side = max(0.0, (6 - (stop - start)) / 2)  # a single point must be seen
            place = (floor - 0.05) / channels, (floor + 0.95) / channels
            axes.axvspan(start - side, stop - 1 + side, *place, color="#0072B2", alpha=0.22, linewidth=0)
    axes.set_title(panel.title, fontsize=11, loc="left")
    axes.set_xlim(0, len(panel.values) - 1)
    axes.set_ylim(-0.05 * channels, channels)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)


def kind_panels(seed: int) -> Iterator[Panel]:
    """One example of each kind of a single series."""
    found: dict[int, list[tuple[int, float, Panel]]] = {code: [] for code in range(1, len(KINDS))}
    for batch in itertools.islice(stream(seed, 512, LENGTH), CHUNKS):
        for row in range(len(batch.values)):
            runs, codes = runs_of(batch.labels[row]), np.unique(batch.kinds[row])
            if len(runs) != 1 or len(codes) != 2:
                continue
            away = np.abs(batch.values[row] - batch.clean[row])[slice(*runs[0])]
            height = 0.0 if KINDS[codes[1]] == MISSING else float(away.max() / (batch.clean[row].std() + 1e-9))
            panel = Panel(KINDS[codes[1]], batch.values[row, :, None], batch.labels[row, :, None],
                          batch.clean[row, :, None])
            found[int(codes[1])].append((int(runs[0][1] - runs[0][0]), height, panel))
    for examples in found.values():
        usual = np.median([size for size, _, _ in examples])
        longer = sorted((one for one in examples if one[0] >= usual), key=lambda one: one[1])
        yield longer[len(longer) // 2][2]


def machines(seed: int) -> Iterator[MachineBatch]:
    return (make_machine(np.random.default_rng((seed, k)), 4, LENGTH) for k in itertools.count())


def break_panel(seed: int) -> Panel:
    """Of some machines, the one whose channel surprises those who know the others by the middling amount."""
    found = []
    for m in itertools.islice(machines(seed), MACHINES):
        runs = runs_of(m.labels)
        if len(runs) == 1 and m.kinds.max() == MACHINE_KINDS.index(CORRELATION_BREAK) and m.coupled.all():
            c = int(np.flatnonzero(m.channel_labels.any(axis=0))[0])
            left, now = surprise(m, c)
            ratio = np.sqrt(np.mean(now[slice(*runs[0])] ** 2) / np.mean(left**2))
            found.append((float(ratio), Panel(CORRELATION_BREAK, m.values, m.channel_labels, m.clean)))
    return sorted(found, key=lambda one: one[0])[len(found) // 2][1]


def surprise(machine: MachineBatch, c: int) -> tuple[FloatArray, FloatArray]:
    """What a straight line through the other channels leaves of channel ``c``: without and with anomalies, [L] each."""
    others = np.delete(machine.clean, c, axis=1).astype(np.float64)
    others = np.column_stack((others, np.ones(len(others))))
    own = machine.clean[:, c].astype(np.float64)
    line = others @ np.linalg.lstsq(others, own, rcond=None)[0]
    return own - line, machine.values[:, c].astype(np.float64) - line


def normal_panels(seed: int) -> list[Panel]:
    rng = np.random.default_rng(seed)
    unit = plant(seed=seed, series=1, points=4 * LENGTH, step_seconds=60, start=0, anomaly_rate=0)[0]
    together = max(
        (m.clean for m in itertools.islice(machines(seed), 2 * MACHINES) if not m.labels.any() and m.coupled.all()),
        key=lambda clean: np.median(np.abs(clean[:200].mean(axis=0) - clean[-200:].mean(axis=0)) / clean.std(axis=0)),
    )
    return [
        regime(seed),
        unlabelled("a maintenance pattern that recurs (the plant's purge)", unit.values),
        unlabelled("bursts that recur", family(rng, "bursts")),
        unlabelled("the weekend is another day", weekend(rng)),
        unlabelled("a machine that is switched", family(rng, "machine")),
        unlabelled("another operating point: all channels follow", together),
        unlabelled("a counter that starts again", family(rng, "counter")),
        unlabelled("a cycle that varies", family(rng, "quasi-periodic")),
    ]


def unlabelled(title: str, values: npt.NDArray[Any]) -> Panel:
    return Panel(title, values, np.zeros(values.shape, bool))


def family(rng: np.random.Generator, name: str) -> FloatArray:
    """[L, 1] one row of a family of normal behaviour, with a little noise."""
    base = Base(np.zeros((1, LENGTH)), np.zeros((1, LENGTH)), np.zeros(1), [np.empty(0, np.int64)], ["free"])
    FAMILIES[name][1](rng, base, np.arange(1), np.ones(1))
    return standardise(base.signal).T + 0.05 * rng.standard_normal((LENGTH, 1))


def weekend(rng: np.random.Generator) -> FloatArray:
    """[L, 1] of several weekly courses the one in which two days of seven differ most from the others."""
    day = 36
    rows = seasonal_rows(rng, np.full(64, float(day)), LENGTH)
    days = np.stack([rows[:, k * day : (k + 1) * day].std(axis=1) for k in range(14)], axis=1)
    weeks = np.sort(days.reshape(-1, 2, 7).mean(axis=1), axis=1)
    steady = np.abs(days[:, :7] - days[:, 7:]).max(axis=1)
    best = int(np.argmax(weeks[:, 2] / (weeks[:, 1] + 1e-9) - steady))
    return rows[best][:, None] + 0.05 * rng.standard_normal((LENGTH, 1))


def regime(seed: int) -> Panel:
    """A level that stays where a step has brought it: the step is labelled, the new level is not."""
    code = KINDS.index("level shift")
    for batch in stream(seed, 512, LENGTH):
        for row in np.flatnonzero((batch.kinds == code).any(axis=1)):
            runs, values, clean = runs_of(batch.labels[row]), batch.values[row], batch.clean[row]
            if len(runs) != 1 or not LENGTH // 4 < runs[0][1] < LENGTH // 2:
                continue
            stop = int(runs[0][1])  # from here on the new level is the normal one, so the clean twin steps here
            before, after, step = clean[stop - 1], clean[stop], abs(values[stop] - values[stop - 1])
            if abs(after - before) > max(8 * step, 1.2 * float(clean.std())):
                title = "a regime that persists (only the step is labelled)"
                return Panel(title, values[:, None], batch.labels[row, :, None])
    raise AssertionError("the stream never ends")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, help="draw the page into this file (PNG, SVG, PDF) instead of measuring")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--seed", type=int, default=0, help="of the page")
    options = parser.parse_args()
    if options.plots is None:
        speed(options.seconds)
    else:
        page(options.seed).savefig(options.plots)
        print(f"wrote {options.plots}")


if __name__ == "__main__":
    main()
