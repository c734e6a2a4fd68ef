"""Predictions of the service: the model process behind a gate, and the history of what it has said."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tsad.core.series import Series
from tsad.service.asked import AppendAsked, Broken, PredictAsked, Question, parsed, question_of
from tsad.service.errors import RequestRefused
from tsad.service.frames import Frame
from tsad.service.gate import Gate
from tsad.service.history import PredictionHistory
from tsad.service.model_process import SMALL, ModelProcess, ModelSetup

if TYPE_CHECKING:
    from tsad.service.site import Site

MB = 1e6
SECONDS = 5.0  # between two looks at whether a champion is another


@dataclass(frozen=True, eq=False)
class Predictor:
    """Asks the process with the models, so many at a time."""

    process: ModelProcess
    gate: Gate
    history: PredictionHistory

    async def turn(self, question: Question) -> bytes:
        """The answer to a question that the gate has let in, as JSON; it is kept in the history.

        Raises:
            RequestRefused: 503: it took too long, or the process has died.
            TsadError: of the work: no such loop or version, a series that the detector cannot score.
        """
        arrays = [a for one in question.series if isinstance(one, Series) for a in (one.timestamps, one.values)]
        wanted = question.wanted
        about = {
            "loop": question.loop, "version": question.version, "many": question.many,
            "wanted": {"scores": wanted.scores, "explain": wanted.explain, "language": wanted.language},
            "series": [_told(one) for one in question.series],
        }  # fmt: skip
        frame = await self._frame("series", about, arrays)
        self.history.keep(frame.about["kept"], question.origin)
        return bytes(frame.body)

    async def append(self, asked: AppendAsked, series: Series) -> bytes:
        """What the newest values of a point have changed, as JSON; see :meth:`turn`."""
        about = {
            "loop": asked.loop, "version": str(asked.version), "series": _told(series), "scores": asked.scores,
        }  # fmt: skip
        frame = await self._frame("append", about, (series.timestamps, series.values))
        self.history.keep(frame.about["kept"], "points")
        return bytes(frame.body)

    def forget(self, loop: str, point_id: str) -> dict[str, Any]:
        """Begin a point anew; blocks.

        Raises:
            RequestRefused: 404: nothing is held of it; 503: the process has died.
        """
        until = time.monotonic() + self.gate.bounds.seconds
        frame = self.process.ask("forget", {"loop": loop, "point_id": point_id}, until=until).result()
        if not frame.about["known"]:
            raise RequestRefused(404, f"nothing is held of {point_id}", "Its first values begin it.")
        return {"point_id": point_id, "loop": frame.about["loop"]}

    def models(self) -> list[dict[str, Any]]:
        """The versions that are held in memory; blocks.

        Raises:
            RequestRefused: 503: the process has died.
        """
        frame = self.process.ask("models", {}, until=time.monotonic() + self.gate.bounds.seconds).result()
        return list(frame.about["models"])

    async def _frame(self, kind: str, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        """What the process answers; what may block the pipe is sent by a thread: the event loop is everybody's."""
        small = sum(array.nbytes for array in arrays) < SMALL

        def wait(until: float) -> Frame:
            return self.process.ask(kind, about, arrays, until=until).result()

        def begin(until: float) -> Future[Frame]:
            begun = self.process.ask_at_once(kind, about, arrays, until=until) if small else None
            return begun or self.gate.aside(wait, until)

        return await self.gate.turn(begin)


def _told(one: Series | Broken) -> dict[str, Any]:
    """What goes over the pipe beside the arrays of a series; of a broken one its answer."""
    if isinstance(one, Broken):
        error = one.error
        said = {"code": type(error).__name__, "message": error.found, "remedy": error.remedy}
        return {"point_id": one.point_id, "error": said}
    return {
        "point_id": one.point_id, "channels": list(one.channels), "time_kind": one.time_kind, "source": one.source,
        "notes": dict(one.notes),
    }  # fmt: skip


@contextmanager
def predicting(site: Site) -> Iterator[Predictor]:
    """The predictor of a service, for as long as the block takes."""
    options, bounds = site.options, site.standing.bounds
    setup = ModelSetup(
        words=site.standing.overrides, threads=bounds.running, most=int(options.models_mb * MB), seconds=SECONDS,
        points=options.stream_points, streams=options.streams, warm=options.warm,
    )  # fmt: skip
    gate = Gate(bounds)
    kept_in, most = site.home / "service" / "predictions", int(options.history_mb * MB)
    history = PredictionHistory(kept_in, options.history_days, most)
    warm_door()
    with history.written(), ModelProcess(setup).running() as process:
        try:
            yield Predictor(process, gate, history)
        finally:
            gate.close()


def warm_door() -> None:
    """Read a series as requests bring them: that loads libraries, which takes a second in which nobody is answered."""
    for stamps in ("[1, 2, 3]", '["2026-01-01", "2026-01-02", "2026-01-03"]'):
        question_of(parsed(PredictAsked, f'{{"timestamps": {stamps}, "values": [1, 2, 3]}}'))
