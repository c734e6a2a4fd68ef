"""The process with the models: the only one of the service that imports torch, started again when it dies.

It is asked over a pipe, from any thread; answers come back by the number of the request. What it does lies in
``model_work``.
"""

from __future__ import annotations

import itertools
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy.typing as npt

import tsad
from tsad.core import errors
from tsad.core.errors import TsadError
from tsad.core.labels import labelled, labels
from tsad.service.errors import RequestRefused
from tsad.service.frames import Frame

log = logging.getLogger("tsad")
SMALL = 64_000  # bytes that fit into the pipe's buffer where it can be written to at all
SECONDS_OF_RETRY = 5  # it takes about so long until a new process answers
SHORT_LIFE, LONGEST_PAUSE = 10.0, 30.0  # seconds; one that died so soon is started again after a pause that doubles
TICK = 1.0  # seconds between two looks for work that does not end
BEAT = 1.0  # seconds between two signs of life
PATIENCE = 30.0  # seconds without a sign of life, while an answer is late, after which the process is ended
STARTING = 120.0  # seconds until the first one, at most
STUCK = 600.0  # seconds beyond its time after which work is taken for endless


@dataclass(frozen=True, kw_only=True)
class ModelSetup:
    """What the process is started for.

    Attributes:
        words: overrides of the service's config. threads: requests that it works on at once.
        most: bytes of memory for models. seconds: between two looks at whether a champion is another.
        points: that are held of each point whose values come one after the other. streams: such points at most.
        warm: the loop's champion is loaded at once, not at the first request.
    """

    words: Sequence[str]
    threads: int
    most: int
    seconds: float
    points: int
    streams: int
    warm: bool


@dataclass(eq=False)
class _Asked:
    """A request that waits for its answer, and until when it is of use."""

    future: Future[Frame]
    until: float


@dataclass(eq=False)
class ModelProcess:
    """Asks the process; see :meth:`running`. Safe to use from any thread.

    Attributes:
        restarts: how often it had to be started again.
        states: what it last said of each loop it follows. beat: ``time.monotonic()`` of its last sign of life.
    """

    setup: ModelSetup
    restarts: int = 0
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    beat: float = 0.0
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of what is asked
    _writing: threading.Lock = field(default_factory=threading.Lock)  # one message at a time
    _pipe: Connection | None = None
    _process: subprocess.Popen[bytes] | None = None
    _closing: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[ModelProcess]:
        """The process, for as long as the block takes; what is asked at the end is not answered any more."""
        keepers = [
            threading.Thread(target=self._keep, name="tsad-models", daemon=True),
            threading.Thread(target=self._watch, name="tsad-models-watch", daemon=True),
        ]  # fmt: skip
        self._start()
        for keeper in keepers:
            keeper.start()
        try:
            yield self
        finally:
            self._closing.set()
            self._end()
            for keeper in keepers:
                keeper.join()

    @property
    def pid(self) -> int | None:
        """Of the process; ``None`` between two."""
        return None if self._process is None else self._process.pid

    @property
    def asked(self) -> int:
        """Requests that wait for their answer."""
        return len(self._asked)

    def ask(
        self, kind: str, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]] = (), *, until: float
    ) -> Future[Frame]:
        """Ask for work; the answer comes as its result. Blocks while it is sent.

        Args:
            until: ``time.monotonic()`` from which on it is of no use; work is not begun then.

        Raises:
            RequestRefused: (also as the result) 503: the process has just died.
            TsadError: (as the result) of the work.
        """
        number, data = self._packed(kind, about, arrays, until)
        with self._writing:
            return self._sent(number, data, until)

    def ask_at_once(
        self, kind: str, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]] = (), *, until: float
    ) -> Future[Frame] | None:
        """The same where sending does not block; ``None`` where it would: nothing is asked then.

        A long message would, and any while another one is being sent, or while the process does not read.

        Raises:
            RequestRefused: as :meth:`ask`.
        """
        number, data = self._packed(kind, about, arrays, until)
        if len(data) > SMALL or not self._writing.acquire(blocking=False):
            return None
        try:
            pipe = self._pipe
            return self._sent(number, data, until) if pipe is None or _has_room(pipe) else None
        finally:
            self._writing.release()

    def _packed(
        self, kind: str, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]], until: float
    ) -> tuple[int, bytes]:
        """The number of a request, and the request as it goes over the pipe."""
        number = next(self._numbers)
        told = {**about, "kind": kind, "id": number, "until": until, "labels": dict(labels())}
        return number, Frame.of(told, arrays).packed()

    def _sent(self, number: int, data: bytes, until: float) -> Future[Frame]:
        """Send a request; whoever calls holds the lock of the writers."""
        future = Future[Frame]()
        future.set_running_or_notify_cancel()
        with self._lock:
            pipe = self._pipe
            if pipe is None:
                raise _gone()
            self._asked[number] = _Asked(future, until)
        try:
            pipe.send_bytes(data)
        except (OSError, ValueError):
            with self._lock:
                asked = self._asked.pop(number, None)
            if asked is not None:
                raise _gone() from None
        return future

    def _start(self) -> None:
        own, other = socket.socketpair()
        paths = [str(Path(tsad.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]  # the same tsad, however found
        with own, other:
            # In a session of its own: Ctrl-C in the terminal is for the service, which lets what is asked be answered.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tsad.service.model_work", str(other.fileno())], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, pass_fds=(other.fileno(),), start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )  # fmt: skip
            pipe = Connection(own.detach())
        with suppress(OSError):
            pipe.send_bytes(Frame({**asdict(self.setup), "words": [*self.setup.words]}).packed())
        with self._lock:
            self._pipe, self.beat = pipe, time.monotonic() + STARTING - PATIENCE

    def _keep(self) -> None:
        """Hand answers out; where the process dies, say so to all that wait and start another."""
        pause = 0.0
        while True:
            begun = time.monotonic()
            if self._pipe is not None:
                self._hand_out()
                self._mourn()
            if self._closing.is_set():
                return
            pause = min(max(1.0, pause * 2), LONGEST_PAUSE) if time.monotonic() - begun < SHORT_LIFE else 0.0
            if self._closing.wait(pause):
                return
            try:
                self._start()
                self.restarts += 1
            except OSError as error:  # no memory, no descriptors: there may be some later
                log.error("the process with the models cannot be started: %s", error)

    def _hand_out(self) -> None:
        """Until the pipe ends."""
        pipe = self._pipe
        assert pipe is not None
        with suppress(EOFError, OSError):
            while True:
                self._answered(Frame.unpacked(pipe.recv_bytes()))

    def _answered(self, frame: Frame) -> None:
        about, self.beat = frame.about, max(self.beat, time.monotonic())
        if "beat" in about:
            return
        if "states" in about:
            self.states = about["states"]
            return
        if "log" in about:
            with labelled(**about["labels"]):
                log.log(about["log"], "%s", about["text"])
            return
        with self._lock:
            asked = self._asked.pop(about["id"], None)
        if asked is None:
            return
        if "error" in about:
            asked.future.set_exception(error_from(about["error"]))
        else:
            asked.future.set_result(frame)

    def _watch(self) -> None:
        """End the process where it hangs. One that is busy, or loads a large model, says so, and is let be."""
        while not self._closing.wait(TICK):
            why, process = self._hangs(time.monotonic()), self._process
            if why and process is not None:
                log.error("the process with the models is ended: %s", why)
                process.kill()

    def _hangs(self, now: float) -> str:
        """Why the process is to be ended, in words; "" where it is not."""
        with self._lock:
            late = [now - asked.until for asked in self._asked.values()]
        if now - self.beat > PATIENCE and any(seconds > PATIENCE for seconds in late):
            return f"it has given no sign of life for {now - self.beat:.0f} s, and answers are late"
        if sum(seconds > STUCK for seconds in late) >= self.setup.threads:  # then nobody else is answered
            return f"all that it works on should have been done {STUCK:.0f} s ago"
        return ""

    def _mourn(self) -> None:
        """The process is gone: what it was asked fails."""
        self._end()
        with self._lock:
            pipe, self._pipe = self._pipe, None
            lost, self._asked = [*self._asked.values()], {}
        if pipe is not None:
            with self._writing:  # or who is about to write would write into whatever has its number next
                pipe.close()
        status = None if self._process is None else self._process.returncode
        self._process, self.states = None, {}
        if not self._closing.is_set():
            log.error("the process with the models has ended (%s); %d requests are lost", status, len(lost))
        for asked in lost:
            asked.future.set_exception(_gone())

    def _end(self) -> None:
        """End the process where it still runs."""
        process = self._process
        if process is None:
            return
        with suppress(OSError):
            process.kill()
        process.wait()


def _has_room(pipe: Connection) -> bool:
    """Whether a small message can be sent at once: of a socket that can be written to most of the buffer is free."""
    looked = select.poll()
    looked.register(pipe.fileno(), select.POLLOUT)
    return bool(looked.poll(0))


def error_from(said: dict[str, Any]) -> TsadError:
    """An error as the process has told it: of the nearest class that the core knows."""
    kinds = (getattr(errors, name, None) for name in said["names"])
    kind = next((k for k in kinds if isinstance(k, type) and issubclass(k, TsadError)), TsadError)
    return kind(said["found"], said["remedy"])


def error_told(error: TsadError) -> dict[str, Any]:
    """The inverse of :func:`error_from`."""
    names = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, TsadError)]
    return {"names": names, "found": error.found, "remedy": error.remedy}


def _gone() -> RequestRefused:
    found = "the process with the models has ended, and another one is being started"
    return RequestRefused(503, found, "Ask again in a few seconds.", {"Retry-After": str(SECONDS_OF_RETRY)})
