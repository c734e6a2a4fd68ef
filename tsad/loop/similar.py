"""Windows like this one: the nearest stretches over all series of a loop, listed and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError
from tsad.core.results import Result
from tsad.core.reviews import ReviewedWindow
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import EmbeddingName, Interval
from tsad.loop.alarm import is_window_id, place_asked, those_touching
from tsad.loop.alike import Spot, considered, distances, spot_in
from tsad.loop.champion import load_named
from tsad.loop.common import read_series
from tsad.loop.continuing import as_its_loop_has_it
from tsad.loop.datasets import latest_training
from tsad.loop.detect import continuing
from tsad.loop.detections import loaded_detections
from tsad.loop.embedding import embedding_of
from tsad.loop.opening import open_loop
from tsad.loop.units import review_units, waiting_queue

if TYPE_CHECKING:
    from tsad.tracking.runs import LoopStore

SIMILAR = "SIMILAR"  # name of the runs
PICTURE = "look_alikes.png"
MOST_DRAWN = 11  # beside the one that was asked about


@dataclass(frozen=True, eq=False)
class LookAlike(Result):
    """A stretch that looks like the one asked about.

    Attributes:
        window: id of the window that it lies in. start, end: ISO 8601 in UTC, half-open, or the index.
        distance: 0 = the same but for level and scale, 2 = as different as can be.
        probability: of the candidate; ``None`` of a whole window.
        judgement: ``abnormal`` or ``normal``, as people have said; "" = nobody has looked.
        queued: whether it lies in a window of the queue that waits for people.
    """

    window: str
    point_id: str
    start: str
    end: str
    distance: float
    probability: float | None = None
    judgement: str = ""
    queued: bool = False


@dataclass(frozen=True, eq=False)
class Similar(Result):
    """The nearest stretches to an interval or a window.

    Attributes:
        of: as asked for; what it names: point_id, start, end, judgement.
        embedding: that they were compared by. model_version: whose candidates were compared; "" = whole windows were.
        compared: how many; kept: of their embeddings those that were known from before.
        nearest: in order, one per window, none that shares time with what was asked about.
        run, picture: where they are drawn in MLflow.
    """

    of: str
    point_id: str
    start: str
    end: str
    judgement: str
    embedding: str
    model_version: str
    compared: int
    kept: int
    nearest: tuple[LookAlike, ...]
    run: str = ""
    picture: str = PICTURE


@dataclass(frozen=True, eq=False)
class _Field:
    """What is searched: the one that was asked about, all others, and who considers them ("" = whole windows)."""

    of: Spot
    others: Sequence[Spot]
    model_version: str


def look_alikes(
    bench: Workbench, of: str, version: str = "champion", embedding: EmbeddingName = "shape", count: int = 10
) -> Similar:
    """The nearest stretches to an interval (``POINT@TIME``: any instant inside it) or a window (its id).

    An interval is compared, in its surroundings, with all that a version considers; a window with all windows.

    Raises:
        LoopError: ``of`` names neither, or nothing is considered there; there is nothing to compare it with.
        EmbeddingError: the detector has no base model to embed with.
        RegistryError: no such version.
        SourceError: no series can be read.
    """
    bench = as_its_loop_has_it(bench)
    loop = open_loop(bench)
    model = embedding_of(bench, embedding)
    field = _field(bench, loop, of, version)
    others = [spot for spot in field.others if not spot.meets(field.of)]
    if not others:
        raise LoopError(f"there is nothing that {of} could be compared with", "Bring more series, or longer ones.")
    away, kept = distances(model, [field.of], others)
    near = _one_per_window(others, away, count)
    reviews = _reviews(loop)
    queued = [Spot(choice.window, choice.window) for choice in waiting_queue(bench, loop)]
    kind = field.of.window.series.time_kind
    start, end = (format_time(at, kind) for at in field.of.span)
    listed = tuple(_row(others[k], float(away[k]), reviews, queued) for k in near)
    result = Similar(
        of, field.of.window.point_id, start, end, _judgement(field.of, reviews), embedding, field.model_version,
        len(others), kept, listed,
    )  # fmt: skip
    return _recorded(loop, result, [field.of, *(others[k] for k in near)])


def _field(bench: Workbench, loop: LoopStore, of: str, version: str) -> _Field:
    asked, everything = place_asked(bench, loop, of), read_series(bench).series
    windows = review_units(bench, loop, everything)
    if is_window_id(of):
        spots = [Spot(window, window) for window in windows]
        return _Field(next(s for s in spots if s.window.window_id == asked.window_id), spots, "")
    loaded = continuing(bench, load_named(bench, loop, version, "Run tsad iterate first."))
    detections = loaded_detections(bench.context, loaded, everything)
    own_detection = next(d for d in detections if d.point_id == asked.point_id)
    touched = (asked.start, asked.stop)
    chosen = those_touching(own_detection.intervals, asked.series, touched)
    chosen = chosen or those_touching(own_detection.candidates or (), asked.series, touched)
    if not chosen:
        raise LoopError(
            f"{loaded.origin.model_version} considers nothing at {of}",
            "Give the id of its window instead (window_id in the task's data), or a time inside an interval.",
        )
    best: Interval = max(chosen, key=lambda i: i.score)
    window = next(w for w in windows if w.point_id == asked.point_id and w.start <= asked.start < w.stop)
    own_spot = spot_in(window, best)
    assert own_spot is not None, "it covers the instant asked about"
    return _Field(own_spot, considered(detections, windows), loaded.origin.model_version)


def _one_per_window(spots: Sequence[Spot], away: np.ndarray, count: int) -> list[int]:
    """The nearest spots, of each window the nearest one."""
    chosen: dict[str, int] = {}
    for k in np.argsort(away, kind="stable").tolist():
        if len(chosen) == count:
            break
        chosen.setdefault(spots[k].window.window_id, k)
    return list(chosen.values())


def _row(spot: Spot, distance: float, reviews: Sequence[ReviewedWindow], queued: Sequence[Spot]) -> LookAlike:
    kind = spot.window.series.time_kind
    start, end = (format_time(at, kind) for at in spot.span)
    return LookAlike(
        spot.window.window_id, spot.window.point_id, start, end, distance,
        spot.interval.score if spot.interval else None, _judgement(spot, reviews), any(map(spot.meets, queued)),
    )  # fmt: skip


def _judgement(spot: Spot, reviews: Iterable[ReviewedWindow]) -> str:
    """What people have said of it, wherever they have looked at a part of it."""
    own = [r for r in reviews if spot.meets(Spot(r.window, r.window))]
    start, end = spot.span
    if any(i.start < end and start < i.end for r in own for i in r.intervals):
        return "abnormal"
    return "normal" if own else ""


def _reviews(loop: LoopStore) -> Sequence[ReviewedWindow]:
    version = latest_training(loop)
    return version.windows if version is not None else ()


def _recorded(loop: LoopStore, result: Similar, spots: Sequence[Spot]) -> Similar:
    """The same with the run that shows it: picture, table and answer."""
    from tsad.plots.alike import look_alikes_figure

    with loop.adding(SIMILAR, {"tsad.kind": "run", "tsad.of": result.of}) as step:
        done = replace(result, run=step.run_id)
        step.params({"of": result.of, "embedding": result.embedding, "compared": result.compared})
        titles = ["asked about", *(f"{row.distance:.2f} {row.judgement}".strip() for row in result.nearest)]
        panels = [_panel(s, t) for s, t in zip(spots[: MOST_DRAWN + 1], titles, strict=False)]
        step.figure(look_alikes_figure(panels), PICTURE)
        step.table([row.to_json() for row in result.nearest], "look_alikes.json")
        step.result(done.to_json())
    return done


def _panel(spot: Spot, title: str) -> tuple[Series, tuple[Interval, ...], str]:
    """Points, what is considered abnormal in them, and words."""
    view = spot.view.series.slice(spot.view.start, spot.view.stop)
    return view, (spot.interval,) if spot.interval else (), title


def similar_rows(result: Similar) -> list[dict[str, Any]]:
    """Rows for people, the nearest first."""
    return [
        {
            "window": row.window[:8], "point": row.point_id, "start": row.start, "distance": f"{row.distance:.2f}",
            "probability": None if row.probability is None else f"{row.probability:.0%}",
            "people": row.judgement or "-", "queued": row.queued,
        }
        for row in result.nearest
    ]  # fmt: skip
