"""``tsad data action=show``: one series, upload, dataset version or export, in figures and in a figure."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import UnknownPointError
from tsad.core.intervals import intervals_to_mask, merge
from tsad.core.names import safe_name
from tsad.core.reading import gather
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Interval
from tsad.loop.common import open_loop, say, show
from tsad.loop.datasets import fetch
from tsad.steps.assets import DATASETS, SERIES, UPLOADS, Asset, Inventory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsad.tracking.runs import LoopStore

STEP = "DATA"


def show_one(bench: Workbench, inventory: Inventory, asset: Asset, output: Path | None) -> None:
    """Print all that is known of it, and draw it where there is something to draw.

    Raises:
        StorageError: ``output`` cannot be written.
    """
    show([{"key": key, "value": value} for key, value in asset.row.items()], f"{asset.kind}: {asset.name}")
    from tsad.tracking.assets import files_of

    figure = None
    if asset.kind == SERIES:
        figure = _series_figure(bench, inventory, asset)
    elif asset.kind == DATASETS:
        figure = _dataset_figure(asset)
    elif asset.kind == UPLOADS and asset.loop is not None and asset.record is not None:
        files_of(asset.loop, asset.record)  # from a server: now they can be read
        rows = [a.row for a in inventory.assets(SERIES) if a.source == asset.source]
        show(rows, f"series of upload {asset.name}")
    if figure is not None:
        _keep(asset.loop or open_loop(bench), figure, asset, output)


def _series_figure(bench: Workbench, inventory: Inventory, asset: Asset) -> Figure:
    """The series with its labels, and with what people said of it in the loops' reviewed windows."""
    from tsad.plots import series_figure

    series = _series_of(bench, asset)
    said = [
        interval
        for loop in inventory.loops
        for record in inventory.in_force(loop)
        if record.source == asset.source
        for window in inventory.contents(loop, record) or ()
        if window["point_id"] == asset.name
        for interval in window["intervals"]
    ]
    people = merge(Interval(int(a), int(b), str(label), float(score)) for a, b, label, score in said)
    title = f"{asset.name} · {asset.row['source']}"
    return series_figure(series, truth=series.labels or (), annotation=people, title=title)


def _series_of(bench: Workbench, asset: Asset) -> Series:
    """The series as the cache holds it, its pieces in one; that of an upload from its file."""
    from tsad.sources.cache.entries import load_content
    from tsad.sources.cache.join import Piece, rows_of

    if asset.kept is None or not asset.kept.paths:
        ((read,), _) = gather(bench.csv_at(Path(asset.source.removeprefix("csv:"))).read([asset.name]))
        return read.series
    contents = [content for path in asset.kept.paths if len((content := load_content(path)).series)]
    spans = [(int(c.series.timestamps[0]), int(c.series.timestamps[-1]) + 1) for c in contents]
    pieces = [Piece(content, span, "cache") for content, span in zip(contents, spans, strict=True)]
    found, _ = rows_of(pieces, (asset.kept.start, asset.kept.end))
    if found is None:
        raise UnknownPointError(f"the cache holds nothing of {asset.name} any more", "`tsad data` lists what there is.")
    return found


def _dataset_figure(asset: Asset) -> Figure | None:
    """Windows per point and lengths of labels; their table on the way."""
    from tsad.plots import dataset_figure

    if asset.loop is None:
        return None
    version = fetch(asset.loop, asset.name)
    by_point: dict[str, list[int]] = defaultdict(list)  # windows -> whether each has an anomaly
    lengths: dict[str, list[int]] = defaultdict(list)
    states: dict[str, Counter[str]] = defaultdict(Counter)
    span: dict[str, list[int]] = defaultdict(list)
    for one in version.windows:
        point, stamps = one.window.point_id, one.window.timestamps
        by_point[point].append(bool(one.intervals))
        lengths[point] += [int(intervals_to_mask([i], stamps).sum()) for i in one.intervals]
        states[point][one.state.value.lower()] += 1
        span[point] += [int(stamps[0]), int(stamps[-1])]
    kinds = {one.window.point_id: one.window.series.time_kind for one in version.windows}
    rows = [
        {
            "point": point, "windows": len(flags), "with an anomaly": sum(flags), "intervals": len(lengths[point]),
            "longest": max(lengths[point], default=None), "from": format_time(min(span[point]), kinds[point]),
            "to": format_time(max(span[point]), kinds[point]),
            "reviews": ", ".join(f"{count} {state}" for state, count in sorted(states[point].items())),
        }
        for point, flags in by_point.items()
    ]  # fmt: skip
    show(rows, f"points of {asset.name}")
    counts = {point: (sum(flags), len(flags) - sum(flags)) for point, flags in by_point.items()}
    every = [length for found in lengths.values() for length in found]
    title = f"{asset.row['purpose']} set {asset.name} of {asset.loop.name}: {len(version.windows)} windows"
    return dataset_figure(counts, every, title)


def _keep(loop: LoopStore, figure: Figure, asset: Asset, output: Path | None) -> None:
    """Log the figure to a run of its own and, where asked, write it; say where it is."""
    from tsad.files.atomic import atomic

    name = f"{safe_name(asset.name)}.png"
    with loop.adding(STEP, {"tsad.kind": "run", "tsad.shows": asset.name}) as run:
        run.figure(figure, f"plots/{name}")
    say(f"plot: plots/{name} of run {run.run_id} in experiment {loop.name} (tsad ui)")
    if output is not None:
        with atomic(output) as partial:
            figure.savefig(partial, format="png")
        say(f"plot: {output}")
