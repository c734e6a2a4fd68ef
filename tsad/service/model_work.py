"""The process with the models: ``python -m tsad.service.model_work DESCRIPTOR``, started by ``model_process``."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.config import compose, settings, workbench
from tsad.core.context import Context
from tsad.core.control import Silent
from tsad.core.environment import set_environment
from tsad.core.errors import TimeUpError, TsadError
from tsad.core.labels import labelled, labels
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.loop.on_the_spot import OnTheSpot
from tsad.loop.predicting import AnswerParts, Predicted, predict_series, require_time
from tsad.loop.ready_models import CHAMPION, ReadyModels
from tsad.loop.streams import PointStreams
from tsad.service.frames import Frame
from tsad.service.model_process import BEAT, error_told

log = logging.getLogger("tsad")
WARM_POINTS = 512
KEPT = ("scores", "explanations")  # of an answer; what the history leaves out


class Notes(Silent):
    """What the models' process tells goes into the log."""

    def note(self, text: str) -> None:
        """See :class:`~tsad.core.protocols.Progress`."""
        log.info("%s", text)


class ToTheService(logging.Handler):
    """Messages go over the pipe into the service's own log, with the ids of the request that they are of."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        self._work.send(Frame({"log": record.levelno, "text": self.format(record), "labels": dict(labels())}))


@dataclass(eq=False)
class Work:
    """Answers the service's requests, each on a thread."""

    models: ReadyModels
    streams: PointStreams
    pipe: Connection
    writing: threading.Lock = field(default_factory=threading.Lock)
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    backends: dict[str, OnTheSpot] = field(default_factory=dict)

    def answer(self, frame: Frame) -> None:
        """Answer one request; an error of the work is an answer."""
        with labelled(**frame.about["labels"]):
            self._answer(frame)

    def _answer(self, frame: Frame) -> None:
        about = frame.about
        try:
            require_time(about["until"])
            made = self._kinds()[about["kind"]](about, frame.arrays())
        except TsadError as error:
            made = Frame({"error": error_told(error)})
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            log.error("a request for %s failed: %s", about["kind"], type(error).__name__, exc_info=error)
            made = Frame({"error": error_told(TsadError("something nobody has foreseen", "See the service's log."))})
        self.send(Frame({**made.about, "id": about["id"]}, made.body))
        self.tell()

    def beat(self) -> None:
        """Say every second that this process goes on, whatever it works on or loads."""
        pause = threading.Event()
        while not pause.wait(BEAT):
            self.send(Frame({"beat": True}))

    def tell(self) -> None:
        """Say how the followed loops stand, where that has changed."""
        states = self.models.states()
        if states != self.told:
            self.told = states
            self.send(Frame({"states": states}))

    def send(self, frame: Frame) -> None:
        with self.writing, suppress(OSError):  # the service is gone: so is this process, soon
            self.pipe.send_bytes(frame.packed())

    def _kinds(self) -> Mapping[str, Callable[[dict[str, Any], Sequence[npt.NDArray[Any]]], Frame]]:
        return {
            "series": self._series, "append": self._append, "forget": self._forget, "tasks": self._tasks,
            "label": self._label, "models": self._models,
        }  # fmt: skip

    def _series(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        """One or many series by one version: the answer as JSON, and what the history keeps of it."""
        loop = about["loop"] or self.models.default_loop()
        wanted = AnswerParts(**about["wanted"])
        answers: list[dict[str, Any]] = []
        kept: list[dict[str, Any]] = []
        with self.models.used(loop, about["version"], about["until"]) as loaded:
            columns = iter(arrays)
            for told in about["series"]:
                if "error" in told:
                    answers.append(told)
                    continue
                series = _series_of(told, next(columns), next(columns))
                require_time(about["until"])
                try:
                    made = predict_series(loaded, loop, series, wanted)
                except TimeUpError:
                    raise
                except TsadError as error:
                    if not about["many"]:
                        raise
                    said = {"code": type(error).__name__, "message": error.found, "remedy": error.remedy}
                    answers.append({"point_id": series.point_id, "error": said})
                    continue
                answers.append(made.to_json())
                kept.append(_kept(made, series))
        body = json.dumps({"items": answers} if about["many"] else answers[0], ensure_ascii=False)
        return Frame({"kept": kept}, body.encode())

    def _append(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        """The newest values of a point: what they have changed."""
        loop = about["loop"] or self.models.default_loop()
        values = _series_of(about["series"], *arrays)
        with self.models.used(loop, about["version"], about["until"]) as loaded:
            made = self.streams.append(loop, loaded, values, about["scores"]).to_json()
        kept = {k: v for k, v in made.items() if k not in KEPT}
        return Frame({"kept": [kept] if made["changes"] else []}, json.dumps(made, ensure_ascii=False).encode())

    def _forget(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        loop = about["loop"] or self.models.default_loop()
        return Frame({"known": self.streams.forget(loop, about["point_id"]), "loop": loop})

    def _tasks(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        """Tasks of Label Studio."""
        loop, until = about["loop"], about["until"]
        with self.models.used(loop, CHAMPION, until):
            return Frame({"results": self._backend(loop).predict(about["tasks"], about["template"], until)})

    def _label(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        loop = about["loop"] or self.models.default_loop()
        return Frame({"label": self.models.champion(loop, about["until"]).require_label(), "loop": loop})

    def _models(self, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        return Frame({"models": [one.to_json() for one in self.models.ready()]})

    def _backend(self, loop: str) -> OnTheSpot:
        if loop not in self.backends:
            self.backends[loop] = OnTheSpot(self.models.champion(loop))
        return self.backends[loop]


def _series_of(told: Mapping[str, Any], timestamps: npt.NDArray[Any], values: npt.NDArray[Any]) -> Series:
    """A series as the door of the service has made it."""
    return Series(
        told["point_id"], timestamps, values, tuple(told["channels"]), told["time_kind"], source=told["source"],
        notes=told["notes"],
    )  # fmt: skip


def _kept(made: Predicted, series: Series) -> dict[str, Any]:
    """What the history keeps of an answer: all but what is as long as the series, and a digest of what was asked."""
    plain = Predicted(**{**vars(made), **dict.fromkeys(KEPT)}).to_json()
    return {**{k: v for k, v in plain.items() if k not in KEPT}, "digest": series.digest[:16]}


def main(descriptor: int) -> None:
    """Answer until the service closes the pipe, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(os.umask(0o077) | 0o077)
    set_environment()
    pipe = Connection(descriptor)
    asked = Frame.unpacked(pipe.recv_bytes()).about
    words = asked["words"]
    bench = workbench(settings(compose(words), words), Context(progress=Notes()))
    models = ReadyModels(bench, asked["most"], asked["seconds"])
    work = Work(models, PointStreams(bench.home / "service" / "points", asked["points"], asked["streams"]), pipe)
    log.handlers[:], log.propagate = [ToTheService(work)], False
    log.setLevel(logging.INFO)
    threads = ThreadPoolExecutor(asked["threads"], thread_name_prefix="tsad-predict")
    threading.Thread(target=work.beat, name="tsad-beat", daemon=True).start()
    threading.Thread(target=_follow, args=(work, asked), name="tsad-champions", daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            threads.submit(work.answer, Frame.unpacked(pipe.recv_bytes()))
    os._exit(0)  # nobody waits for what is still being worked on


def _follow(work: Work, asked: Mapping[str, Any]) -> None:
    """Load the loop's champion where it is asked for, then look the champions up every now and then."""
    if asked["warm"]:
        try:
            warmed(work.models)
        except TsadError:
            pass  # there is none yet, or several loops are open: who asks is told so
        except Exception as error:  # or the champions would never be looked up again
            log.error("the champion cannot be loaded yet: %s: %s", type(error).__name__, error)
        work.tell()
    pause = threading.Event()
    while not pause.wait(asked["seconds"]):
        try:
            work.models.refresh()
            work.streams.let_go()
        except Exception as error:
            log.error("champions and points cannot be looked through: %s: %s", type(error).__name__, error)
        work.tell()


def warmed(models: ReadyModels) -> None:
    """Load the champion of the loop, and have it score something: that loads libraries and compiles what is compiled.

    Raises:
        TsadError: there is none.
    """
    values = np.sin(np.arange(WARM_POINTS) / 5.0)[:, None]
    stamps = np.arange(WARM_POINTS, dtype=np.int64) * NS_PER_SECOND
    loop = models.default_loop()
    with models.used(loop, CHAMPION) as loaded:
        if loaded.detector.scored:  # what answers in words is somebody else's server, or costs as much as a request
            predict_series(loaded, loop, Series("warm", stamps, values, time_kind="index"), AnswerParts())


if __name__ == "__main__":
    main(int(sys.argv[1]))
