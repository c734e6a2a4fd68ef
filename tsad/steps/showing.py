"""``tsad data action=show``: one series, upload, dataset version or export, in figures and in a figure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, UnknownPointError
from tsad.core.intervals import intervals_to_mask, merge
from tsad.core.names import safe_name
from tsad.core.reading import gather
from tsad.core.results import Result
from tsad.core.reviews import joined_intervals
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import IntArray, Interval
from tsad.loop.datasets import fetch
from tsad.loop.opening import open_loop
from tsad.steps.about import DatasetAbout, SeriesAbout
from tsad.steps.assets import DATASETS, SERIES, UPLOADS, Asset, Inventory
from tsad.steps.catalogue import TITLES, Listing, Wanted, found
from tsad.steps.uploads import reading_as

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsad.core.reviews import DatasetVersion
    from tsad.sources.cache import Kept
    from tsad.tracking.runs import LoopStore

STEP = "DATA"


@dataclass(frozen=True, eq=False)
class PointInDataset(Result):
    """What a dataset version holds of one point.

    Attributes:
        positive: windows with an anomaly.
        longest: of its intervals, in points; ``None`` without any.
        first, last: instants that its windows lie between; ISO 8601 in UTC, or the index.
        reviews: windows by ``ReviewState``, in small letters.
    """

    point: str
    windows: int
    positive: int
    intervals: int
    longest: int | None
    first: str
    last: str
    reviews: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Plot(Result):
    """Where a figure is: an artifact of a run, and the file that was asked for."""

    run_id: str
    experiment: str
    artifact: str
    file: str | None


@dataclass(frozen=True, eq=False)
class Shown(Result):
    """One asset: all that is known of it.

    Attributes:
        about: a listing of it alone.
        members: the series of an upload; ``points``: those of a dataset version.
        plot: ``None`` where there is nothing to draw.
    """

    kind: str
    name: str
    about: Listing
    members: tuple[SeriesAbout, ...] = ()
    points: tuple[PointInDataset, ...] = ()
    plot: Plot | None = None


def show_asset(bench: Workbench, wanted: Wanted, output: Path | None) -> Shown:
    """All that is known of the one asset that is asked for, drawn where there is something to draw.

    Args:
        output: a PNG file; ``None`` = only the run's artifact.

    Raises:
        ConfigError: there is none, or there are several.
        StorageError: ``output`` cannot be written.
    """
    inventory = Inventory(bench)
    asset = _only(found(inventory, wanted))
    shown, version = _told(inventory, asset)
    figure: Figure | None = None
    if asset.kind == SERIES:
        figure = _series_figure(bench, inventory, asset)
    elif version is not None:
        figure = _dataset_figure(asset, version)
    plot = _keep(asset.loop or open_loop(bench), figure, asset, output) if figure is not None else None
    return replace(shown, plot=plot)


def tell_asset(bench: Workbench, wanted: Wanted) -> Shown:
    """As :func:`show_asset`, in figures alone: nothing is drawn, and nothing is kept.

    Raises:
        ConfigError: there is none, or there are several.
    """
    inventory = Inventory(bench)
    return _told(inventory, _only(found(inventory, wanted)))[0]


def _told(inventory: Inventory, asset: Asset) -> tuple[Shown, DatasetVersion | None]:
    """What is known of an asset, and the dataset version that it is."""
    from tsad.tracking.assets import files_of

    members: tuple[SeriesAbout, ...] = ()
    points: tuple[PointInDataset, ...] = ()
    version: DatasetVersion | None = None
    if asset.kind == DATASETS and asset.loop is not None:
        version = fetch(asset.loop, asset.name)
        points = _points(version)
    elif asset.kind == UPLOADS and asset.loop is not None and asset.record is not None:
        files_of(asset.loop, asset.record)  # from a server: now they can be read
        own = [a.about for a in inventory.assets(SERIES) if a.source == asset.source]
        members = tuple(about for about in own if isinstance(about, SeriesAbout))
    return Shown(asset.kind, asset.name, Listing.of({asset.kind: [asset]}), members, points), version


def _only(assets: Mapping[str, list[Asset]]) -> Asset:
    every = [asset for kind in assets.values() for asset in kind]
    if len(every) == 1:
        return every[0]
    if not every:
        raise ConfigError("there is nothing to show", "`tsad data` lists what there is.")
    named = ", ".join(f"{a.name} ({TITLES[a.kind]})" for a in every[:5]) + (" ..." if len(every) > 5 else "")
    remedy = "Name one: name=..., and where that is not enough what= or from_source=."
    raise ConfigError(f"{len(every)} could be shown: {named}", remedy)


def _series_figure(bench: Workbench, inventory: Inventory, asset: Asset) -> Figure:
    """The series with its labels, and with what people said of it in the loops' reviewed windows."""
    from tsad.plots import series_figure

    assert asset.kept is not None  # every series that is listed is kept somewhere
    own = [u for u in inventory.assets(UPLOADS) if u.source == asset.source]
    keys = own[0].record.about.get("keys") if own and own[0].record is not None else None
    series = kept_series(bench, asset.kept, keys)
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
    title = f"{asset.name} · {asset.about.source if isinstance(asset.about, SeriesAbout) else asset.source}"
    return series_figure(series, truth=series.labels or (), annotation=people, title=title)


def kept_series(bench: Workbench, kept: Kept, keys: Mapping[str, Any] | None = None) -> Series:
    """The series as the cache holds it, its pieces in one; that of an upload from its file.

    Args:
        keys: of ``source=csv``, with which the upload was registered.

    Raises:
        UnknownPointError: the cache holds nothing of it any more. SourceError: its file cannot be read.
    """
    from tsad.sources.cache.entries import load_content
    from tsad.sources.cache.join import Piece, rows_of

    if not kept.paths:
        reader = reading_as(bench, keys) if keys else bench
        ((read,), _) = gather(reader.csv_at(Path(kept.source.removeprefix("csv:"))).read([kept.point_id]))
        return read.series
    contents = [content for path in kept.paths if len((content := load_content(path)).series)]
    spans = [(int(c.series.timestamps[0]), int(c.series.timestamps[-1]) + 1) for c in contents]
    pieces = [Piece(content, span, "cache") for content, span in zip(contents, spans, strict=True)]
    found, _ = rows_of(pieces, (kept.start, kept.end))
    if found is None:
        remedy = "`tsad data` lists what there is."
        raise UnknownPointError(f"the cache holds nothing of {kept.point_id} any more", remedy)
    return found


def _points(version: DatasetVersion) -> tuple[PointInDataset, ...]:
    positive: dict[str, list[bool]] = defaultdict(list)  # whether each window has an anomaly
    states: dict[str, Counter[str]] = defaultdict(Counter)
    span: dict[str, list[int]] = defaultdict(list)
    for reviewed in version.windows:
        point, stamps = reviewed.window.point_id, reviewed.window.timestamps
        positive[point].append(bool(reviewed.intervals))
        states[point][reviewed.state.value.lower()] += 1
        span[point] += [int(stamps[0]), int(stamps[-1])]
    lengths = _lengths(version)
    kinds = {reviewed.window.point_id: reviewed.window.series.time_kind for reviewed in version.windows}
    return tuple(
        PointInDataset(
            point=point, windows=len(flags), positive=sum(flags), intervals=len(lengths[point]),
            longest=max(lengths[point], default=None), first=format_time(min(span[point]), kinds[point]),
            last=format_time(max(span[point]), kinds[point]), reviews=dict(sorted(states[point].items())),
        )
        for point, flags in positive.items()
    )


def _lengths(version: DatasetVersion) -> dict[str, list[int]]:
    """Points in each interval by point; one that the border of two windows cuts is whole."""
    stamps: dict[str, list[IntArray]] = defaultdict(list)
    for reviewed in version.windows:
        stamps[reviewed.window.point_id].append(reviewed.window.timestamps)
    joined = joined_intervals((r.window.point_id, r.intervals) for r in version.windows)
    return {
        point: [sum(int(intervals_to_mask([i], part).sum()) for part in stamps[point]) for i in intervals]
        for point, intervals in joined.items()
    }


def _dataset_figure(asset: Asset, version: DatasetVersion) -> Figure:
    """Windows per point and lengths of labels."""
    from tsad.plots import dataset_figure

    counts: dict[str, tuple[int, int]] = {}
    lengths = [length for own in _lengths(version).values() for length in own]
    for reviewed in version.windows:
        positive, normal = counts.get(reviewed.window.point_id, (0, 0))
        hit = bool(reviewed.intervals)
        counts[reviewed.window.point_id] = (positive + hit, normal + (not hit))
    purpose = asset.about.purpose if isinstance(asset.about, DatasetAbout) else ""
    loop = asset.loop.name if asset.loop else ""
    return dataset_figure(counts, lengths, f"{purpose} set {asset.name} of {loop}: {len(version.windows)} windows")


def _keep(loop: LoopStore, figure: Figure, asset: Asset, output: Path | None) -> Plot:
    """Log the figure to a run of its own and, where asked, write it."""
    from tsad.files.atomic import atomic

    artifact = f"plots/{safe_name(asset.name)}.png"
    with loop.adding(STEP, {"tsad.kind": "run", "tsad.shows": asset.name}) as run:
        run.figure(figure, artifact)
    if output is not None:
        with atomic(output) as partial:
            figure.savefig(partial, format="png")
    return Plot(run.run_id, loop.name, artifact, str(output) if output else None)
