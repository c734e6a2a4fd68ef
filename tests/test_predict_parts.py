"""The parts that predictions over HTTP are made of, each by itself: gate, pipe, memory, history, points."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from predict_kit import LOOP, MODEL, new_champion, plant, plant_home

from tsad.config.workbench import Workbench
from tsad.core.errors import (
    SeriesError,
    StorageError,
    TimeUpError,
    UnexplainedError,
    UnknownLoopError,
    UnknownVersionError,
)
from tsad.core.series import Series
from tsad.core.serving import Bounds
from tsad.core.sizes import bytes_of_arrays
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.evidence.continued import SeriesState
from tsad.detectors.patch import keeping
from tsad.detectors.patch.detector import PatchDetector
from tsad.loop.alarm import explained_intervals
from tsad.loop.opening import open_loop
from tsad.loop.predicting import AnswerParts, PredictedInterval
from tsad.loop.ready_models import LEAST, ReadyModels
from tsad.loop.streams import PointStreams, changes_between, with_newest
from tsad.service import model_work
from tsad.service.asked import (
    AppendAsked,
    BatchAsked,
    PredictAsked,
    Question,
    SeriesAsked,
    parsed,
    question_of,
    questions_of,
    require_few,
    series_of_csv,
)
from tsad.service.bodies import LONG, read_aside
from tsad.service.errors import RequestRefused
from tsad.service.frames import Frame
from tsad.service.gate import Gate
from tsad.service.history import PredictionFilter, PredictionHistory, lines_backwards
from tsad.service.model_process import SMALL, STUCK, ModelProcess, ModelSetup, error_from, error_told
from tsad.service.predict_lines import LinesResponse
from tsad.service.predictor import Predictor
from tsad.tracking.pyfunc_model import LoadedVersion

__all__ = ["plant", "plant_home"]
BOUNDS = Bounds(running=1, waiting=1, seconds=0.3, body=1000)


def series(values: Any, start: int = 0, point: str = "p", step: int = 60) -> Series:
    rows = np.asarray(values, np.float64)
    stamps = (start + step * np.arange(len(rows), dtype=np.int64)) * NS_PER_SECOND
    return Series(point, stamps, rows[:, None] if rows.ndim == 1 else rows)


# ---- the gate


def test_work_that_has_not_begun_when_its_time_is_up_never_begins() -> None:
    begun = list[str]()

    async def look() -> None:
        gate, held = Gate(BOUNDS), Future[int]()
        held.set_running_or_notify_cancel()

        def begin(name: str, future: Future[int]) -> Any:
            return lambda until: begun.append(name) or future

        async def asked(name: str, future: Future[int]) -> int:
            with gate.admitted():
                return await gate.turn(begin(name, future))

        first, second = asyncio.create_task(asked("a", held)), asyncio.create_task(asked("b", Future()))
        await asyncio.sleep(0.05)
        with pytest.raises(RequestRefused) as told, gate.admitted():
            pass
        assert told.value.status == 429 and gate.inside == 2
        for task in (first, second):
            with pytest.raises(RequestRefused) as told:
                await task
            assert told.value.status == 503 and "0.3 s" in str(told.value)
        assert begun == ["a"] and gate.inside == 1, "what was begun still counts, what was not does not"
        held.set_result(1)
        await asyncio.sleep(0.05)
        assert gate.inside == 0
        done = Future[int]()
        done.set_result(7)
        assert await asked("c", done) == 7 and begun == ["a", "c"]

    asyncio.run(look())


def test_errors_of_work_and_of_its_beginning_leave_the_place_free() -> None:
    async def look() -> None:
        gate = Gate(BOUNDS)
        for error in (StorageError("full"), ZeroDivisionError()):
            with pytest.raises(type(error)):
                await gate.work(lambda until, error=error: _raise(error))
            with pytest.raises(type(error)), gate.admitted():
                await gate.turn(lambda until, error=error: _raise(error))
        with pytest.raises(RequestRefused):
            await gate.work(lambda until: _raise(KeyboardInterrupt()))
        await asyncio.sleep(0.05)
        assert gate.inside == 0 and 0 < await gate.work(lambda until: until - time.monotonic()) <= 0.3
        gate.close()
        with pytest.raises(RequestRefused, match="stopping"):
            await gate.work(lambda until: 1)

    asyncio.run(look())


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("lines", [3, 0])
def test_a_client_that_does_not_read_loses_its_place(lines: int) -> None:
    gate, sent = Gate(BOUNDS), list[Any]()

    class Stream:
        predictor = type("Asked", (), {"gate": gate})

        async def answers(self) -> AsyncGenerator[bytes]:
            for _ in range(lines):
                yield b"{}\n"

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            assert gate.inside == 1
            await asyncio.Event().wait()

    async def look() -> None:
        response = LinesResponse(cast(Any, Stream()), 0.1)
        await asyncio.wait_for(response({"type": "http"}, cast(Any, None), send), 5)

    asyncio.run(look())
    assert gate.inside == 0 and len(sent) == 2, "after the one that it has not taken nothing is sent"


# ---- the pipe


def test_frames_and_errors_come_out_as_they_went_in() -> None:
    stamps, rows = np.arange(5, dtype=np.int64), np.array([[1.5, np.nan]] * 5)
    frame = Frame.unpacked(Frame.of({"of": "Größe"}, [stamps, rows, rows[:0]]).packed())
    first, second, third = frame.arrays()
    assert frame.about["of"] == "Größe" and first.dtype == np.int64 and third.shape == (0, 2)
    assert np.array_equal(first, stamps) and np.array_equal(second, rows, equal_nan=True)
    assert bytes(Frame.unpacked(Frame({"id": 1}, b"answer").packed()).body) == b"answer"
    error = error_from(error_told(UnknownVersionError("none", "look")))
    assert type(error) is UnknownVersionError and (error.found, error.remedy) == ("none", "look")

    class OfAnotherRoom(SeriesError):
        pass

    assert type(error_from(error_told(OfAnotherRoom("x")))) is SeriesError, "the nearest that everybody knows"


SETUP = ModelSetup(words=(), threads=1, most=1, seconds=1.0, points=100, streams=10, warm=False)


def piped() -> tuple[ModelProcess, Connection]:
    """What asks a process, and the end of the pipe that the process would have."""
    own, other = socket.socketpair()
    process = ModelProcess(SETUP)
    process._pipe = Connection(own.detach())
    return process, Connection(other.detach())


def test_what_would_block_the_pipe_is_not_sent_at_once() -> None:
    process, other = piped()
    late = time.monotonic() + 60
    assert process.ask_at_once("models", {}, until=late) is not None
    assert Frame.unpacked(other.recv_bytes()).about["kind"] == "models" and process.asked == 1
    assert process.ask_at_once("models", {"name": "x" * SMALL}, until=late) is None
    with process._writing:
        assert process.ask_at_once("models", {}, until=late) is None
    filling = {"name": "x" * (SMALL // 2)}
    sent = 0
    while process.ask_at_once("models", filling, until=late) is not None:
        sent += 1
        assert sent < 100, "nobody reads"
    assert process.asked == sent + 1, "what was not sent is not waited for"
    other.close()
    with pytest.raises(RequestRefused, match="has ended"):
        process.ask_at_once("models", {}, until=late)


def test_a_busy_process_is_let_be_and_one_that_hangs_is_ended() -> None:
    process, other = piped()
    begun = time.monotonic()
    process.ask("series", {}, until=begun)
    process.beat = begun + 95
    assert process._hangs(begun + 100) == "", "it lives, and works, or loads"
    assert "no sign of life for 35 s" in process._hangs(begun + 130)
    process._answered(Frame({"beat": True}))
    process.beat = begun + STUCK
    assert "should have been done" in process._hangs(begun + STUCK + 1), "the only place is taken for good"
    process._answered(Frame({"id": 0}))
    assert process._hangs(begun + 10 * STUCK) == "", "nobody waits"
    assert not other.closed


def test_a_process_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tsad.service.model_process.LONGEST_PAUSE", 0.01)
    process, other = piped()
    tried = list[float]()

    def start() -> None:
        tried.append(time.monotonic())
        if len(tried) < 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        process._closing.set()

    monkeypatch.setattr(process, "_start", start)
    other.close()
    process._keep()
    assert len(tried) == 3 and process.restarts == 1 and caplog.text.count("cannot be started") == 2
    assert caplog.text.count("has ended") == 1


def test_a_long_question_or_many_appended_values_stop_nobody_else(tmp_path: Path) -> None:
    process, other = piped()
    wide = replace(series(np.zeros((4096, 100))), channels=tuple(f"c{k}" for k in range(100)))
    question = Question("", "champion", AnswerParts(), [wide])
    asked = AppendAsked(timestamps=[0], values=[0.0])

    def slow() -> None:
        for _ in range(2):
            time.sleep(0.3)
            about = Frame.unpacked(other.recv_bytes()).about
            process._answered(Frame({"id": about["id"], "kept": []}, about["kind"].encode()))

    async def look() -> None:
        predictor = Predictor(process, Gate(replace(BOUNDS, seconds=60.0)), PredictionHistory(tmp_path, 0.0))
        for work, said in ((predictor.turn(question), b"series"), (predictor.append(asked, wide), b"append")):
            task, ticks = asyncio.create_task(work), 0
            while not task.done():
                await asyncio.sleep(0.02)
                ticks += 1
            assert task.result() == said and ticks >= 3, "the loop goes on while it is sent"

    answering = threading.Thread(target=slow)
    answering.start()
    asyncio.run(look())
    answering.join()


# ---- what is asked


def test_more_values_than_a_request_may_hold_are_refused_by_name(
    plant: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(read: Any, *given: Any) -> None:
        with pytest.raises(RequestRefused, match="values") as told:
            read(*given)
        assert told.value.status == 413

    refused(parsed, PredictAsked, b'{"values": [' + b"1," * 5_000_000 + b"1]}")
    monkeypatch.setattr("tsad.service.asked.MOST_VALUES", 6)
    assert question_of(PredictAsked(values=[1.0, None, 2.0, 3.0, 4.0, 5.0])).series
    refused(question_of, PredictAsked(values=[list[float | None]([1.0, 2.0, 3.0, 4.0])] * 2))
    refused(questions_of, BatchAsked(items=[SeriesAsked(values=[1.0, 2.0, 3.0, None])] * 2))
    refused(require_few, [AppendAsked(timestamps=[1], values=[1.0, None] * 4)])
    refused(series_of_csv, b"time,value\n" + b"".join(b"2026-01-01T00:0%d:00Z,1\n" % k for k in range(9)), "x", plant)


def test_few_long_bodies_are_read_at_once() -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def read(body: bytes) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        return len(body)

    async def look() -> None:
        gate, long = Gate(BOUNDS), b"x" * (LONG + 1)
        assert await asyncio.gather(*(read_aside(long, read, gate.reading) for _ in range(8))) == [len(long)] * 8

    asyncio.run(look())
    assert most == 2


# ---- versions in memory


def test_sizes_of_what_holds_arrays() -> None:
    shared = np.zeros(1000)

    @dataclass
    class Holder:
        one: Any
        other: Any

    assert bytes_of_arrays(Holder({"a": [shared, shared]}, (np.zeros(10, np.float32), "text"))) == 8040
    holder = Holder(1, None)
    holder.other = holder
    assert bytes_of_arrays(holder) == 0
    assert bytes_of_arrays(PatchDetector.__init__) == 0


def test_versions_are_let_go_of_as_memory_asks_the_one_asked_longest_ago_first(plant: Workbench) -> None:
    models = ReadyModels(plant, 2 * LEAST, 3600.0)
    second = new_champion(plant)
    number = second.rpartition(":")[2]
    with models.used(LOOP, "champion") as champion:
        assert champion.origin.model_version == second
    with models.used(LOOP, "1") as first:
        assert first.origin.model_version == f"{MODEL}:1"
    with models.used(LOOP, "previous") as previous:
        assert previous is first, "an alias is its number"
    with models.used(LOOP, "champion") as again:
        assert again is champion, "it is not loaded again"
    with models.used(LOOP, number):
        held = [(one.model_version, one.champion) for one in models.ready()]
    with models.used(LOOP, number):
        pass
    held = [(one.model_version, one.champion) for one in models.ready()]
    assert held == [(second, True), (second, False)], "version 1 had to go"
    with models.used(LOOP, "1") as reloaded:
        assert reloaded is not first and reloaded.origin == first.origin
    assert [one.champion for one in models.ready()] == [False, False], "the champion too, until it is asked for"
    with models.used(LOOP, "champion") as loaded:
        assert loaded is not champion and loaded.origin == champion.origin
    assert all(one.megabytes >= 1 for one in models.ready())


def test_what_there_is_not_is_named_and_nothing_is_made_of_it(plant: Workbench) -> None:
    models = ReadyModels(plant, LEAST, 3600.0)
    assert models.default_loop() == LOOP
    for name in ("champion", "7"):
        with pytest.raises(UnknownLoopError, match="nowhere"), models.used("nowhere", name):
            pass
    for name in ("7", "previous"):
        with pytest.raises(UnknownVersionError, match=MODEL), models.used(LOOP, name):
            pass
    assert open_loop(plant).store.loops() == [LOOP] and models.ready() == []
    assert models.states() == {} and [*models._held] == []


def test_a_new_champion_is_loaded_beside_and_only_what_has_changed_is_read_again(plant: Workbench) -> None:
    models = ReadyModels(plant, 100 * LEAST, 3600.0)
    with models.used(LOOP, "champion") as before:
        pass
    live = models.champion(LOOP)
    config = live.own
    models.refresh()
    assert live.own is config, "a frozen config is not read again"
    with models.used(LOOP, "champion") as same:
        assert same is before
    newest = new_champion(plant)
    models.refresh()
    with models.used(LOOP, "champion") as after:
        assert after.origin.model_version == newest
    assert models.states() == {LOOP: {"model_version": newest, "problem": ""}}


def test_an_error_that_nobody_has_foreseen_ends_no_looking_up(
    plant: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tsad.loop import live_champion, ready_models

    models = ReadyModels(plant, 100 * LEAST, 3600.0)
    with models.used(LOOP, "champion"):
        pass
    newest = new_champion(plant)
    with models.used(LOOP, "previous") as previous:
        assert previous.origin.model_version == f"{MODEL}:1"
    with monkeypatch.context() as patch:
        patch.setattr(ready_models, "registry_of", lambda *_: _raise(ImportError("gone")))
        patch.setattr(ready_models, "named_for_watching", lambda *_: _raise(OSError("stale handle")))
        patch.setattr(live_champion, "load_registered", lambda *_: _raise(RuntimeError("CUDA")))
        models._default = LOOP
        models.refresh()
    assert "ImportError" in caplog.text and "OSError" in caplog.text
    assert "RuntimeError: CUDA" in models.states()[LOOP]["problem"]
    models.refresh()
    assert models.states() == {LOOP: {"model_version": newest, "problem": ""}}


@pytest.mark.parametrize("error", [RuntimeError("CUDA"), UnknownLoopError("none")])
def test_champions_are_followed_though_the_first_cannot_be_loaded(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ended(BaseException):
        pass

    models = cast(Any, type("Models", (), {"refresh": lambda self: _raise(Ended()), "states": dict}))()
    monkeypatch.setattr(model_work, "warmed", lambda _: _raise(error))
    work = model_work.Work(models, cast(Any, None), cast(Any, None))
    with pytest.raises(Ended):
        model_work._follow(work, {"warm": True, "seconds": 0.01})
    assert ("RuntimeError: CUDA" in caplog.text) == (type(error) is RuntimeError)


def test_many_threads_that_ask_at_once_load_a_version_once(plant: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.loop import ready_models

    loads, load = list[str](), ready_models.load_registered

    def counted(bench: Any, registry: Any, version: Any) -> LoadedVersion:
        loads.append(version.label)
        return load(bench, registry, version)

    monkeypatch.setattr(ready_models, "load_registered", counted)
    models = ReadyModels(plant, 100 * LEAST, 3600.0)

    def ask(_: int) -> str:
        with models.used(LOOP, "1") as loaded:
            return loaded.origin.model_version

    with ThreadPoolExecutor(8) as threads:
        assert {*threads.map(ask, range(16))} == {f"{MODEL}:1"}
    assert loads == [f"{MODEL}:1"]


@pytest.mark.parametrize("name", ["champion", "1"])
def test_loading_goes_on_when_the_time_of_those_who_wait_is_up(
    plant: Workbench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from tsad.loop import live_champion, ready_models

    loads, go_on, load = list[str](), threading.Event(), ready_models.load_registered

    def slow(bench: Any, registry: Any, version: Any) -> LoadedVersion:
        loads.append(version.label)
        assert go_on.wait(60)
        return load(bench, registry, version)

    monkeypatch.setattr(ready_models, "load_registered", slow)
    monkeypatch.setattr(live_champion, "load_registered", slow)
    models = ReadyModels(plant, 100 * LEAST, 3600.0)

    def ask(seconds: float) -> str:
        with models.used(LOOP, name, time.monotonic() + seconds) as loaded:
            return loaded.origin.model_version

    for _ in range(2):
        with pytest.raises(TimeUpError, match=f"{name} of loop {LOOP} is still being loaded"):
            ask(0.2)
    if name == "1":
        with pytest.raises(TimeUpError, match="still being loaded"):
            models.champion(LOOP, time.monotonic() + 0.2)
    go_on.set()
    assert ask(60) == f"{MODEL}:1" and loads == [f"{MODEL}:1"], "it was loaded once, for whoever came"
    assert [one.champion for one in models.ready()] == [name == "champion"] and models._coming == {}


def test_a_version_that_compares_points_with_a_threshold_cannot_explain(plant: Workbench) -> None:
    with ReadyModels(plant, LEAST, 3600.0).used(LOOP, "1") as loaded, pytest.raises(UnexplainedError, match=MODEL):
        explained_intervals(replace(loaded, proposer=None), series([1.0, 2.0]), (), "en")


# ---- the history


def kept(history: PredictionHistory, *points: str) -> None:
    with history.written():
        history.keep([{"point_id": point, "loop": "x", "model_version": "m:1"} for point in points], "predict")


def test_predictions_are_paged_from_the_newest_on(tmp_path: Path) -> None:
    history = PredictionHistory(tmp_path / "predictions", 30.0)
    assert history.page(PredictionFilter(), 10, 0) == ([], 0, None)
    kept(history, *(f"p{k}" for k in range(1000)))
    (tmp_path / "predictions" / "2026-01-02.jsonl").write_text('{"point_id": "older", "loop": "y"}\n\nbroken\n[1]\n')
    items, total, _ = history.page(PredictionFilter(), 4, 998)
    assert [i["point_id"] for i in items] == ["p1", "p0", "older"], "what is no line of ours is none"
    assert history.page(PredictionFilter(loop="y"), 3, 0) == ([{"point_id": "older", "loop": "y"}], 1, None)
    assert history.page(PredictionFilter(point_id="p7"), 3, 0)[1] == 1
    assert history.page(PredictionFilter(point_id="p7", model_version="m:2"), 3, 0)[1] == 0
    assert history.page(PredictionFilter(until=date(2026, 1, 2), loop="x"), 3, 0)[1] == 0
    assert history.prune(date(2026, 1, 2)) == (0, 0) and history.prune(date(2026, 1, 3))[0] == 1
    assert history.page(PredictionFilter(), 1, 0)[1] == 1000
    assert total >= 1000


def test_lines_are_read_from_the_end_in_blocks_and_half_a_line_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lines = tmp_path / "x.jsonl", [f"line {k} {'x' * (k % 7)}".encode() for k in range(50)]
    path.write_bytes(b"\n".join([*lines, b"half"]))
    for block in (1, 3, 16, 1 << 20):
        monkeypatch.setattr("tsad.service.history.BLOCK", block)
        assert [*lines_backwards(path)] == lines[::-1]
    path.write_bytes(b"half")
    assert [*lines_backwards(path)] == []
    path.write_bytes(b"")
    assert [*lines_backwards(path)] == []


def test_what_is_too_old_goes_as_a_day_begins_and_zero_days_keep_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    (folder / "2020-01-01.jsonl").write_text("{}\n")
    today = datetime.now(UTC).date()
    (folder / f"{today}.jsonl").write_text('{"point_id": "of before"}\n')
    kept(PredictionHistory(folder, 30.0), "a")
    assert [p.name for p in folder.iterdir()] == [f"{today}.jsonl"]
    assert len((folder / f"{today}.jsonl").read_text().splitlines()) == 2
    kept(PredictionHistory(tmp_path / "none", 0.0), "a")
    assert not (tmp_path / "none").exists()


def test_a_full_disk_is_told_and_counted_and_no_answer_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, real = PredictionHistory(tmp_path / "predictions", 30.0), Path.open

    def full(path: Path, *given: Any, **more: Any) -> Any:
        if path.suffix == ".jsonl" and given[:1] == ("ab",):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *given, **more)

    monkeypatch.setattr(Path, "open", full)
    kept(history, "a", "b")
    assert history.lost == 2 and "No space left" in history.problem
    monkeypatch.setattr(Path, "open", real)
    kept(history, "c")
    assert history.problem == "" and [i["point_id"] for i in history.page(PredictionFilter(), 9, 0)[0]] == ["c"]
    stuck = PredictionHistory(tmp_path / "other", 30.0)
    monkeypatch.setattr(stuck, "_waiting", type(stuck._waiting)(1))
    stuck.keep([{"point_id": "a"}, {"point_id": "b"}, {"point_id": "c"}], "predict")
    assert stuck.lost == 2 and "faster" in stuck.problem


def test_two_services_write_into_one_file(tmp_path: Path) -> None:
    histories = [PredictionHistory(tmp_path, 30.0) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for number, history in enumerate(histories):
            threads.submit(kept, history, *(f"{number}-{k}" for k in range(2000)))
    items, total, _ = histories[0].page(PredictionFilter(), 500, 0)
    assert total == 4000 and len(items) == 500


def test_the_history_takes_no_more_than_it_may_and_the_oldest_goes_first(tmp_path: Path) -> None:
    history = PredictionHistory(tmp_path, 30.0, 80_000)
    today = datetime.now(UTC).date()
    for days in (1, 2, 3):
        (tmp_path / f"{today - timedelta(days=days)}.jsonl").write_bytes(b'{"point_id": "old"}\n' * 1500)
    kept(history, *(f"p{k}" for k in range(100)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{today - timedelta(days=2)}.jsonl", f"{today - timedelta(days=1)}.jsonl", f"{today}.jsonl"]
    for k in range(0, 3000, 100):
        kept(history, *(f"q{n}" for n in range(k, k + 100)))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 80_000
    items, total, _ = history.page(PredictionFilter(), 500, 0)
    assert [i["point_id"] for i in items] == [f"q{n}" for n in range(2999, 2499, -1)], "a day of several files"
    assert [d for d, _ in history._files()] == [today] * len(history._files()) and len(history._files()) > 3
    assert total == sum(len(path.read_bytes().splitlines()) for path in tmp_path.iterdir())
    assert history.prune(today + timedelta(days=1))[0] == 1 and history.page(PredictionFilter(), 1, 0) == ([], 0, None)


def test_one_request_reads_what_it_shows_and_counts_the_rest_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, read = PredictionHistory(tmp_path, 30.0), list[str]()

    def looked(path: Path) -> Any:
        read.append(path.stem)
        return lines_backwards(path)

    monkeypatch.setattr("tsad.service.history.lines_backwards", looked)
    for day in range(1, 6):
        line = f'{{"point_id": "p{day}", "loop": "x"}}\n'
        (tmp_path / f"2026-01-0{day}.jsonl").write_text("\n" + line * 100 + "half")
    assert history.page(PredictionFilter(), 10, 250)[1] == 500 and read == ["2026-01-03"]
    items, total, _ = history.page(PredictionFilter(), 20, 190)
    assert [i["point_id"] for i in items] == ["p4"] * 10 + ["p3"] * 10 and total == 500
    with (tmp_path / "2026-01-05.jsonl").open("a") as file:
        file.write(' a line\n{"point_id": "new"}\n')
    assert history.page(PredictionFilter(), 1, 0)[0] == [{"point_id": "new"}]
    assert history.page(PredictionFilter(), 1, 0)[1] == 502, "only what has grown is counted"
    read.clear()
    monkeypatch.setattr("tsad.service.history.MOST_SEARCHED", 4000)
    some = PredictionFilter(loop="x")
    items, total, since = history.page(some, 500, 0)
    assert (len(items), total, since) == (200, 200, date(2026, 1, 4)) and read == ["2026-01-05", "2026-01-04"]
    assert history.page(replace(some, until=date(2026, 1, 3)), 500, 0)[1:] == (200, date(2026, 1, 2))
    assert history.page(replace(some, until=date(2026, 1, 1)), 500, 0)[1:] == (100, None)


# ---- points whose values come one after the other


def test_the_newest_values_replace_those_of_their_time_and_the_oldest_go() -> None:
    first, mixed = with_newest(None, series(range(10)), 100)
    assert len(first) == 10 and (mixed.new, mixed.too_old) == (10, 0)
    again, mixed = with_newest(first, series([7.5, 8.5, 9.5, 10.5], start=7 * 60), 100)
    assert again.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7.5, 8.5, 9.5, 10.5] and mixed.new == 1
    late, mixed = with_newest(again, series([1.5], start=90), 100)
    assert late.values[:3, 0].tolist() == [0, 1, 1.5] and mixed.new == 1
    old, mixed = with_newest(late, series([9.0, 9.0], start=-60), 100)
    assert (mixed.new, mixed.too_old, len(old)) == (0, 1, 12) and old.values[0, 0] == 9.0
    bounded, mixed = with_newest(first, series(range(10, 95), start=600), 90)
    assert len(bounded) == 67 and bounded.values[-1, 0] == 94, "three quarters stay: the next ones have room"
    cut, mixed = with_newest(None, series(range(10)), 4)
    assert cut.values[:, 0].tolist() == [6, 7, 8, 9] and (mixed.new, mixed.too_old) == (4, 6)
    with pytest.raises(SeriesError, match="channels value by time"):
        with_newest(first, replace(series([[1.0, 2.0]]), channels=("a", "b")), 100)
    with pytest.raises(SeriesError):
        with_newest(first, replace(series([1.0]), time_kind="index"), 100)


def test_what_has_changed_is_told_in_the_order_of_time_and_what_is_forgotten_is_not() -> None:
    def interval(start: int, end: int, score: float = 0.5) -> PredictedInterval:
        return PredictedInterval(f"2026-01-01T00:{start:02}:00Z", f"2026-01-01T00:{end:02}:00Z", score, "Anomaly", "")

    held = series([0.0] * 50, start=1_767_225_600 + 10 * 60)  # from 00:10 on
    before = [interval(1, 5), interval(12, 14), interval(20, 22), interval(30, 33)]
    now = [interval(12, 14), interval(20, 25), interval(40, 41)]
    changes = changes_between(before, now, held)
    assert [(c.before, c.now) for c in changes] == [
        (before[2], now[1]), (before[3], None), (None, now[2]),
    ]  # fmt: skip
    assert changes_between(now, now, held) == ()


def version(detector: Any, base: LoadedVersion) -> LoadedVersion:
    return replace(base, detector=detector)


@pytest.fixture
def loaded(plant: Workbench) -> LoadedVersion:
    with ReadyModels(plant, LEAST, 3600.0).used(LOOP, "1") as found:
        return found


def test_a_point_outlives_the_process_and_what_is_damaged_begins_anew(
    tmp_path: Path, loaded: LoadedVersion
) -> None:
    values = np.sin(np.arange(300) / 9.0)
    values[200:206] += 6
    streams = PointStreams(tmp_path, 1000)
    streams.append(LOOP, loaded, series(values[:250]), False)
    other = PointStreams(tmp_path, 1000)
    changed = other.append(LOOP, loaded, series(values[250:], start=250 * 60), True)
    (whole,) = loaded.detections([series(values)])
    assert changed.points == 300 and changed.proposed == len(whole.intervals) > 0
    assert changed.scores == tuple(whole.scores[250:].tolist())  # type: ignore[index]
    (file,) = tmp_path.glob("*/*.safetensors")
    file.write_bytes(b"no such thing")
    assert PointStreams(tmp_path, 1000).append(LOOP, loaded, series(values[:20]), False).points == 20
    assert PointStreams(tmp_path, 1000).forget(LOOP, "p") and not PointStreams(tmp_path, 1000).forget(LOOP, "p")


def test_points_that_nobody_uses_go_and_of_too_many_the_oldest(
    tmp_path: Path, loaded: LoadedVersion, caplog: pytest.LogCaptureFixture
) -> None:
    streams = PointStreams(tmp_path, 1000, 3)
    for k in range(5):
        streams.append(LOOP, loaded, series(range(20), point=f"p{k}"), False)
        states = tmp_path / LOOP / "states"
        states.mkdir(exist_ok=True)
        for file in (streams._file(LOOP, f"p{k}"), states / f"p{k}.safetensors"):
            file.touch()
            os.utime(file, (time.time() - 100 + k,) * 2)
    assert len(streams._held) == 3, "nor are more held in memory"
    streams.append(LOOP, loaded, series([5.0], start=20 * 60, point="p1"), False)
    streams.let_go()
    assert [streams._file(LOOP, f"p{k}").exists() for k in range(5)] == [False, True, False, True, True]
    assert sorted(p.stem for p in states.iterdir()) == ["p2", "p3", "p4"]
    assert streams.append(LOOP, loaded, series([6.0], start=21 * 60, point="p1"), False).points == 22
    week = time.time() - 8 * 86400
    for file in (streams._file(LOOP, "p4"), states / "p4.safetensors"):
        os.utime(file, (week, week))
    streams.let_go()
    assert not streams._file(LOOP, "p4").exists() and (LOOP, "p4") not in streams._held
    assert streams.append(LOOP, loaded, series(range(7), point="p4"), False).points == 7, "it begins anew"
    PointStreams(tmp_path / "none", 1000, 3).let_go()


def test_a_version_that_was_let_go_of_is_not_held_by_its_points(tmp_path: Path, plant: Workbench) -> None:
    models, streams = ReadyModels(plant, LEAST, 3600.0), PointStreams(tmp_path, 1000)
    with models.used(LOOP, "1") as loaded:
        streams.append(LOOP, loaded, series(range(20)), False)
        first = streams._going_on(LOOP, loaded)
        assert streams._going_on(LOOP, loaded) is first, "it goes on from what it has made"
    del loaded, first
    with models.used(LOOP, "champion"):
        pass
    gc.collect()
    assert streams._versions == {}


def test_many_threads_append_to_one_point_one_after_the_other(tmp_path: Path, loaded: LoadedVersion) -> None:
    streams, values = PointStreams(tmp_path, 1000), np.sin(np.arange(320) / 9.0)
    with ThreadPoolExecutor(8) as threads:
        parts = [(values[k : k + 10], k * 60) for k in range(0, 320, 10)]
        made = [threads.submit(streams.append, LOOP, loaded, series(v, start=at), False) for v, at in parts]
        assert sorted(one.result().appended + one.result().too_old for one in made) == [10] * 32
    assert max(one.result().points for one in made) <= 320


def test_a_network_s_scores_of_a_growing_point_are_those_of_a_whole_pass_under_the_same_state(
    tmp_path: Path, loaded: LoadedVersion
) -> None:
    from tsad.detectors.patch.continued import Passes

    detector = PatchDetector(
        weights="", batch_size=8, device="cpu", stride=128, blend=0.5, refit_every=0.5
    )
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(1400) / 9.0) + 0.1 * rng.standard_normal(1400)
    values[1200:1210] += 5
    streams, patch = PointStreams(tmp_path, 5000), version(detector, loaded)
    first = streams.append(LOOP, patch, series(values[:1000]), False)
    assert first.state is not None and first.refitted == keeping.NEVER
    for start, stop in ((1000, 1001), (1001, 1215), (1215, 1400)):
        changed = streams.append(LOOP, patch, series(values[start:stop], start=start * 60), True)
        assert changed.refitted == "" and changed.state == first.state
    (file,) = tmp_path.glob("*/states/*.safetensors")
    going_on: Any = streams._versions[LOOP].version.detector
    state = keeping.read(file, going_on._identity).state
    assert isinstance(state, SeriesState) and state.points == 1000
    passes = Passes(going_on._scoring(), "cpu", going_on._seen(), 128, 0.5, None)
    whole = passes.look(series(values), state, None).together
    assert changed.scores == tuple(whole[1215:].tolist()), "to the bit"
    grown = streams.append(LOOP, patch, series(values[:200], start=1400 * 60), False)
    assert grown.refitted, "it has grown by more than half"

