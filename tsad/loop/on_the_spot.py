"""Tasks of Label Studio pre-annotated as they are opened: by the champion, as a push would have done it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tsad.config.workbench import Workbench
from tsad.core.errors import ReviewError, TsadError, UnknownPointError
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import ANOMALY, Detection, Interval, Proposal
from tsad.loop.common import read_series
from tsad.loop.drawing import ScoredSeries, proposals_of
from tsad.loop.live_champion import Champion, LiveChampion
from tsad.loop.predicting import require_time
from tsad.review.label_studio import convert, tasks, template
from tsad.review.label_studio.layers import layer_name
from tsad.review.label_studio.template import Template

log = logging.getLogger("tsad")
T = TypeVar("T")

KEPT = 32  # series with their detections


@dataclass(eq=False)
class LatestResults:
    """The newest few results of work that is done once for each key, whoever asks for it at the same time."""

    most: int
    _values: OrderedDict[str, Any] = field(default_factory=OrderedDict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: str, make: Callable[[], T]) -> T:
        """What is kept under the key, made where it is not."""
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    known: T = self._values[key]
                    return known
            made = make()
            with self._lock:
                self._values[key] = made
                while len(self._values) > self.most:
                    dropped, _ = self._values.popitem(last=False)
                    self._locks.pop(dropped, None)
            return made


class OnTheSpot:
    """See :class:`~tsad.core.serving.Predicting`: the champion of a loop over the tasks of its project.

    A task that a push made gets what a push would give it now: of the newest queue what that holds, else the champion's
    intervals over the whole series at its source, cut to the window, without ``review.beside``; a blind one none. One
    that somebody else made is scored by the values that it shows. A kind that the template does not have yet becomes
    "Anomaly", noted.
    """

    def __init__(self, champion: LiveChampion) -> None:
        self._champion, self._kept = champion, LatestResults(KEPT)

    def label(self) -> str:
        """See :class:`~tsad.core.serving.Predicting`."""
        return self._champion.require_label()

    def state(self) -> dict[str, Any]:
        """See :class:`~tsad.core.serving.Predicting`."""
        return {"model_version": self._champion.label, "problem": self._champion.problem}

    def predict(self, asked: Sequence[Mapping[str, Any]], config: str, until: float) -> list[dict[str, Any]]:
        """See :class:`~tsad.core.serving.Predicting`; all of a call by one version."""
        champion, form = self._champion.current(), template.read(config, "that asks")
        answers = []
        for task in asked:
            require_time(until)
            answers.append(self._answer(champion, form, task))
        return answers

    def _answer(self, champion: Champion, form: Template, task: Mapping[str, Any]) -> dict[str, Any]:
        try:
            choice = self._choice(champion, form, task)
            view = convert.drawn(choice, form, champion.options)
            offset = str(task["data"].get("utc_offset") or tasks.UTC)
            made = convert.prediction(choice, view, form, offset, champion.label)
            return made or {"model_version": champion.label, "result": [], "score": 0.0}
        except TsadError as error:
            log.warning("task %s is not pre-annotated: %s", task.get("id"), error)
            return {"error": {"code": type(error).__name__, "message": error.found, "remedy": error.remedy}}

    def _choice(self, champion: Champion, form: Template, task: Mapping[str, Any]) -> Choice:
        """The task's window with what the champion proposes for it."""
        data = task["data"]
        if not tasks.was_pushed(data):
            series, detection = self._of_values(champion, form, task)
            return _proposed(champion, form, Window(series, 0, len(series)), detection)
        queued = champion.queue.get(str(data["window_id"]))
        # What scores the model is judged without seeing what it says.
        blind = data.get("purpose") == Purpose.GOLD or (queued is not None and queued.purpose is Purpose.GOLD)
        if queued is not None and blind:
            return replace(queued, purpose=Purpose.GOLD, proposals=())
        if queued is not None and queued.origin is not None and queued.origin.model_version == champion.label:
            return _of_known_kinds(queued, form)
        point = tasks.point_of(data)
        state = _digest(champion, point)
        series = self._read(champion, point, state)
        window = tasks.located(data, series)
        if blind:
            return Choice(window, 1.0, "gold", Purpose.GOLD)
        key = f"{champion.label} {state} {point}"
        detection = self._kept.get(key, lambda: champion.loaded.detections([series])[0])
        return _proposed(champion, form, window, detection)

    def _read(self, champion: Champion, point: str, state: str) -> Series:
        """A series of the source as it is now, which ``state`` tells."""

        def read() -> Series:
            with _source_opened(champion.bench) as bench:
                return read_series(bench, [point]).series[0]

        return self._kept.get(f"{state} {point}", read)

    def _of_values(self, champion: Champion, form: Template, task: Mapping[str, Any]) -> tuple[Series, Detection]:
        """The series that a task shows, through the door that every series passes, and what the champion says of it."""
        from tsad.sources.validate import RawSeries, validate

        stamps, values = tasks.columns_of(task, form)
        name = str(task["data"].get("point_id") or f"task {task.get('id')}")
        channels = [f"c{k}" for k in range(1, values.shape[1] + 1)]
        series = validate(RawSeries(name, stamps, values, channels, form.time_kind, source="Label Studio"))
        return series, champion.loaded.detections([series])[0]


def _digest(champion: Champion, point: str) -> str:
    """What tells that a point has changed at its source.

    Raises:
        ReviewError: the source does not have it.
    """
    with _source_opened(champion.bench) as bench:
        source = bench.make_source()
        try:
            if point not in source.points():
                raise UnknownPointError(f"there is no {point}", "The task may be of another source.")
            state = source.extents([point]).spans if source.ranged else ""
            return f"{source.digest(point)} {state}"
        except TsadError as error:
            found = f"{point} cannot be read from {source.describe()}: {error.found}"
            raise ReviewError(found, error.remedy) from error


@contextmanager
def _source_opened(bench: Workbench) -> Iterator[Workbench]:
    """The workbench with one source for as long as the block takes; its connections are let go of after it."""
    source = bench.make_source()
    try:
        yield replace(bench, make_source=lambda: source)
    finally:
        source.close()


def _proposed(champion: Champion, form: Template, window: Window, detection: Detection) -> Choice:
    """The window as a queue would have it, in kinds that the template knows."""
    peak = ScoredSeries([window.series], [detection], champion.loaded.threshold_options).peaks([window])[0]
    choice = Choice(window, 1.0, "on the spot", Purpose.TRAIN, proposals_of(detection, window), float(peak))
    return _of_known_kinds(choice, form)


def _of_known_kinds(choice: Choice, form: Template) -> Choice:
    """The choice as the template can show it: Label Studio refuses a prediction with a label that it does not know."""
    if not choice.proposals:
        return choice
    own, *others = choice.proposals
    known = Proposal(tuple(_of_known_kind(i, form) for i in own.intervals), own.origin)
    return replace(choice, proposals=(known, *(p for p in others if layer_name(p.origin) in form.layers)))


def _of_known_kind(interval: Interval, form: Template) -> Interval:
    if (interval.label or ANOMALY) in form.labels:
        return interval
    return replace(interval, label=ANOMALY, note="; ".join(t for t in (interval.label, interval.note) if t))
