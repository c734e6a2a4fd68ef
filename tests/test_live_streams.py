"""Live metrics over a real uvicorn: nothing lost and nothing doubled, whoever is cut, slow, or begun again."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_kit import QUICK, TOKEN, Folders, Listener, client, listening, serving, wait_for

from tsad.core.control import Silent, Switch
from tsad.core.serving import Address
from tsad.jobs.folder import JobFolder
from tsad.jobs.listening import JobListener
from tsad.jobs.working import JobAtWork
from tsad.service.newest import MOST, Newest
from tsad.service.tail import BLOCK, Lines, pages

JOB = "a1b2c3"


@pytest.fixture
def jobs(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def url(jobs: Folders) -> Iterator[str]:
    with serving(jobs) as address:
        yield address


def tell(folder: JobFolder, count: int, **more: Any) -> None:
    for _ in range(count):
        folder.append("metrics", {"step": 1, "train_loss": 0.5, **more})


def end(folder: JobFolder, state: str = "succeeded") -> None:
    folder.append("state", {"state": state})


def test_events_come_as_they_are_told_and_end_with_the_job(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    folder.append("state", {"state": "running"})
    with listening(url, JOB) as stream:
        first = next(stream)
        assert (first.name, first.id, first.data["values"]) == ("state", f"{JOB}:1", {"state": "running"})
        tell(folder, 1)
        second = next(stream)
        assert (second.name, second.id) == ("metrics", f"{JOB}:2")
        assert second.data == {
            "job": JOB, "id": 2, "at": second.data["at"], "kind": "metrics",
            "values": {"step": 1, "train_loss": 0.5},
        }  # fmt: skip
        folder.append("note", {"text": "注: 1\n2\r\n\u2028"})
        assert next(stream).data["values"]["text"] == "注: 1\n2\r\n\u2028"
        end(folder, "failed")
        rest = list(stream)
    assert [e.name for e in rest] == ["state", "end"]
    assert (rest[1].id, rest[1].data) == ("", {"job": JOB, "state": "failed"}), "the client's last id stays"


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(jobs: Folders, url: str) -> None:
    folder, got, last = jobs.job(JOB), list[int](), ""
    random.seed(3)
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.002):
            tell(folder, random.randint(1, 3))

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(25):
        with listening(url, JOB, last) as stream:  # cut by the client after so many
            for _ in range(random.randint(1, 20)):
                event = next(stream)
                last = event.id
                got.append(event.number)
    over.set()
    thread.join()
    end(folder)
    with listening(url, JOB, last) as stream:
        got += [event.number for event in stream if event.id]
    assert got == list(range(1, got[-1] + 1)) and len(got) == len(folder.events())


def test_three_clients_hear_the_same_and_the_file_is_read_once(
    jobs: Folders, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = jobs.job(JOB), list[int]()
    real = Lines.read

    def counted(self: Lines, *args: Any) -> list[bytes]:
        lines = real(self, *args)
        read.append(len(lines))
        return lines

    monkeypatch.setattr(Lines, "read", counted)
    listeners = [Listener(lambda: url, JOB) for _ in range(3)]
    for listener in listeners:
        listener.start()
    tell(folder, 50)
    wait_for(lambda: all(len(listener.got) == 50 for listener in listeners))
    tell(folder, 50)
    end(folder)
    for listener in listeners:
        listener.join(10)
    numbers = [[event.number for event in listener.got] for listener in listeners]
    assert numbers == [list(range(1, 102))] * 3
    assert [listener.got[0].data for listener in listeners] == [listeners[0].got[0].data] * 3
    assert sum(read) == 101, "each line was read once for all of them"


def test_a_service_that_is_begun_again_in_the_middle_of_streams(jobs: Folders) -> None:
    folder, over = jobs.job(JOB), threading.Event()
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def work() -> None:
        while not over.wait(0.003):
            tell(folder, 1)

    thread = threading.Thread(target=work)
    listeners = [Listener(lambda: url, JOB) for _ in range(3)]
    for started in (thread, *listeners):
        started.start()
    for _ in range(3):
        begun = time.monotonic()
        with serving(jobs, at=Address("127.0.0.1", port)):
            heard = [len(listener.got) for listener in listeners]
            wait_for(lambda heard=heard: all(len(x.got) > n + 20 for x, n in zip(listeners, heard, strict=True)))
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 2.5, "open streams do not hold it up"
        assert begun < stopping
    with serving(jobs, at=Address("127.0.0.1", port)):
        over.set()
        thread.join()
        end(folder)
        for listener in listeners:
            listener.join(15)
    total = len(folder.events())
    for listener in listeners:
        assert [event.number for event in listener.got] == list(range(1, total + 1))
        assert listener.came_back >= 3 and "cut" in listener.names


def test_kill_9_of_the_service_loses_nothing(jobs: Folders, tmp_path: Path) -> None:
    folder, port = jobs.job(JOB), free_port()
    code = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from live_kit import Folders, serving
        from tsad.core.serving import Address
        with serving(Folders(Path({str(tmp_path)!r}), {{{JOB!r}: "running"}}), at=Address("127.0.0.1", {port})):
            print("up", flush=True)
            time.sleep(60)
    """)
    listener = Listener(lambda: f"http://127.0.0.1:{port}", JOB)
    listener.start()
    for round in range(3):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent)
        assert child.stdout is not None and child.stdout.readline()
        tell(folder, 20)
        heard = len(listener.got)
        wait_for(lambda heard=heard: len(listener.got) > heard, 20)
        if round == 2:
            end(folder)
            listener.join(15)
        child.send_signal(signal.SIGKILL)
        child.wait()
        tell(folder, 5) if round < 2 else None
    assert [event.number for event in listener.got] == list(range(1, 72))


def test_a_clock_that_is_set_back_changes_nothing(jobs: Folders, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = jobs.job(JOB)
    tell(folder, 3)
    with listening(url, JOB) as stream:
        seen = [next(stream) for _ in range(3)]
        lines = folder.events_file.read_text().splitlines()
        back = json.loads(lines[-1]) | {"id": 4, "at": "1999-01-01T00:00:00.000+00:00"}
        with folder.events_file.open("a") as file:
            file.write(json.dumps(back) + "\n")
        seen.append(next(stream))
    assert [event.number for event in seen] == [1, 2, 3, 4]
    assert seen[3].data["at"] < seen[0].data["at"]
    with client(url) as http:
        answer = http.get("/api/v1/metrics/history", params={"job": JOB, "since": f"{JOB}:2"}).json()
        assert [item["id"] for item in answer["items"]] == [3, 4]
    folder = JobFolder(jobs.home, JOB)  # the next attempt of the job
    tell(folder, 1)
    end(folder)
    with listening(url, JOB, f"{JOB}:4") as stream:
        assert [event.number for event in stream if event.id] == [5, 6]


def test_half_a_line_is_no_event_yet_and_a_broken_one_none(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    tell(folder, 1)
    with listening(url, JOB) as stream, folder.events_file.open("ab", buffering=0) as file:
        assert next(stream).number == 1
        whole = b'{"id": 2, "at": "2026-01-01T00:00:00+00:00", "kind": "metrics", "values": {"step": 2, "x": NaN}}\n'
        file.write(whole[:40])
        time.sleep(0.05)
        file.write(whole[40:] + b"\x00\x00 no json\n" + whole.replace(b'"id": 2', b'"id": 4'))
        second, fourth = next(stream), next(stream)
    assert second.data["values"] == {"step": 2, "x": None} and (second.number, fourth.number) == (2, 4)
    end(JobFolder(jobs.home, JOB))
    with listening(url, JOB, f"{JOB}:1") as stream:
        assert [event.number for event in stream if event.id] == [2, 4, 5]


def test_a_client_that_takes_nothing_is_cut_with_a_word_and_catches_up(jobs: Folders) -> None:
    folder = jobs.job(JOB)
    with serving(jobs, replace(QUICK, keep=5, send=30.0)) as url, plain_socket(url, JOB) as raw:
        wait_for(lambda: b"\r\n\r\n" in raw.recv(4096))
        told = 0
        while told < 50:  # more than the buffers of both sides hold
            tell(folder, 1, filler="x" * 200_000)
            told += 1
            time.sleep(0.005)
        received = b""
        while piece := raw.recv(1 << 20):
            received += piece
            if b"event: cut" in received and received.endswith(b"0\r\n\r\n"):
                break
        assert b'"code": "TooSlowError"' in received and b"more than 5 events" in received
        last = max(int(p.split(b"\n")[0]) for p in received.split(f"id: {JOB}:".encode())[1:])
        assert last < told
        end(folder)
        with listening(url, JOB, f"{JOB}:{last}") as stream:
            assert [event.number for event in stream if event.id] == list(range(last + 1, told + 2))


def test_a_client_that_takes_nothing_for_too_long_is_let_go(
    jobs: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folder = jobs.job(JOB)
    caplog.set_level("INFO", "tsad")
    with serving(jobs, replace(QUICK, send=0.3, behind=10.0)) as url, plain_socket(url, JOB):
        for _ in range(40):
            tell(folder, 10, filler="x" * 40_000)
        wait_for(lambda: "a listener took nothing for 0.3 s and is let go" in caplog.text)
        with listening(url, JOB, f"{JOB}:399") as stream:
            assert next(stream).number == 400, "others are served"


def test_who_has_everything_of_an_ended_job_need_not_come_back(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB, "succeeded")
    tell(folder, 2)
    end(folder)
    headers = {"Last-Event-ID": f"{JOB}:3"}
    with client(url) as http:
        assert http.get("/api/v1/stream/metrics", params={"job": JOB}, headers=headers).status_code == 204
        assert http.get("/api/v1/stream/metrics", headers=headers).status_code == 204, "the id names the job"
    folder.append("state", {"state": "running"})  # begun again
    with listening(url, JOB, f"{JOB}:3") as stream:
        assert next(stream).number == 4


def test_a_job_that_ended_without_a_word_ends_its_streams(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    tell(folder, 1)
    with listening(url, JOB) as stream:
        assert next(stream).number == 1
        jobs.states[JOB] = "stopped"  # where nobody works on it any more, the record alone says so
        assert next(stream).data == {"job": JOB, "state": "stopped"}
    jobs.job("none", "stopped")
    with listening(url, "none") as stream:
        assert [event.name for event in stream] == ["end"]
    tell(jobs.job("b2"), 1)
    with listening(url, "b2") as stream:
        next(stream)
        del jobs.states["b2"]
        assert next(stream).data == {"job": "b2", "state": "deleted"}


def test_silence_is_filled_so_that_both_sides_know_of_each_other(jobs: Folders, url: str) -> None:
    jobs.job(JOB)
    with client(url) as http, http.stream("GET", "/api/v1/stream/metrics", params={"job": JOB}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        assert wait_for(lambda: next(lines)) == ": nothing new"


def test_only_who_has_the_token_hears_or_asks(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    tell(folder, 1)
    for token in ("", "wrong"):
        with client(url, token) as http:
            for path in ("stream/metrics", "metrics/current", "metrics/history"):
                answer = http.get(f"/api/v1/{path}", params={"job": JOB, "token": TOKEN})
                assert answer.status_code == 401 and answer.json()["code"] == "RequestRefused"
            asked = http.post("/api/v1/training/control", json={"job": JOB, "action": "stop"})
            assert asked.status_code == 401
    assert not folder.asked().stop


def test_questions_that_make_no_sense_are_refused_by_name(jobs: Folders, url: str) -> None:
    tell(jobs.job(JOB), 3)
    with client(url) as http:
        for path in ("stream/metrics", "metrics/current", "metrics/history"):
            assert http.get(f"/api/v1/{path}", params={"job": "beef"}).status_code == 404
            assert http.get(f"/api/v1/{path}", params={"job": "../../etc"}).status_code == 422
        for since in ("x", "other:1", f"{JOB}:", f"{JOB}:-1", f"{JOB}:1e3", f"{JOB}:{'9' * 30}"):
            answer = http.get("/api/v1/metrics/history", params={"job": JOB, "since": since})
            assert answer.status_code == 422 and "no id of an event" in answer.json()["message"]
            given = {"Last-Event-ID": since}
            assert http.get("/api/v1/stream/metrics", params={"job": JOB}, headers=given).status_code == 422
        ahead = http.get("/api/v1/stream/metrics", params={"job": JOB}, headers={"Last-Event-ID": f"{JOB}:9"})
        assert ahead.status_code == 422 and "its last is 3" in ahead.json()["message"]
        assert http.get("/api/v1/metrics/history", params={"job": JOB, "kind": "secrets"}).status_code == 422
        jobs.states[JOB] = "succeeded"
        none = http.get("/api/v1/metrics/current")
        assert none.status_code == 404 and none.json()["message"] == "no job runs"


def test_history_is_paged_by_ids_and_current_holds_the_newest_of_each_figure(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    listener = JobListener(JobAtWork(Silent(), Switch(), JOB, folder).tell)
    listener.heard({"train_loss": 1.0, "learning_rate": 0.1}, 10)
    folder.append("note", {"text": "half way"})
    listener.heard({"train_loss": 0.5, "grad_norm": float("inf")}, 20)
    listener.heard({"system/process_memory_megabytes": 200.0}, 1)
    with client(url) as http:
        current = http.get("/api/v1/metrics/current").json()
        assert (current["job"], current["last"]) == (JOB, f"{JOB}:4")
        newest = {name: (figure["value"], figure["step"]) for name, figure in current["figures"].items()}
        assert newest == {
            "train_loss": (0.5, 20), "learning_rate": (0.1, 10), "grad_norm": (None, 20),
            "system/process_memory_megabytes": (200.0, 1),
        }  # fmt: skip
        found: list[int] = []
        since, more = "", True
        while more:
            page = http.get("/api/v1/metrics/history", params={"job": JOB, "since": since, "limit": 1}).json()
            found += [item["id"] for item in page["items"]]
            since, more = page["last"], page["more"]
        assert found == [1, 3, 4] and since == f"{JOB}:4"
        both = {"job": JOB, "kind": ["note", "metrics"]}
        assert len(http.get("/api/v1/metrics/history", params=both).json()["items"]) == 4


def test_a_job_is_stopped_paused_and_kept_by_a_request(jobs: Folders, url: str) -> None:
    folder = jobs.job(JOB)
    with client(url) as http:

        def ask(action: str, **more: Any) -> httpx.Response:
            return http.post("/api/v1/training/control", json={"job": JOB, "action": action, **more})

        assert ask("pause").json() == {"id": JOB, "state": "running"} and folder.asked().pause
        assert ask("resume").status_code == 200 and not folder.asked().pause
        assert ask("checkpoint").status_code == 200 and folder.asked().checkpoints == 1
        assert ask("stop").status_code == 200 and folder.asked().stop
        for wrong in (ask("explode"), ask("stop", force=True)):
            assert wrong.status_code == 422 and "does not fit" in wrong.json()["message"]
        post = http.post
        assert post("/api/v1/training/control", json={"job": "beef", "action": "stop"}).status_code == 404
        assert post("/api/v1/training/control", content=b"[" * 9000).status_code == 413
        assert post("/api/v1/training/control", content=b'{"job": NaN}').status_code == 400
        jobs.states[JOB] = "succeeded"
        assert ask("stop").status_code == 409


def test_a_long_history_is_read_in_pages_and_skipped_without_being_read(jobs: Folders) -> None:
    folder = jobs.job(JOB)
    with folder_made(folder).open("w") as file:
        for number in range(1, 30_001):
            file.write(json.dumps({"id": number, "at": "t", "kind": "metrics", "values": {"step": number}}) + "\n")
    begun = time.monotonic()
    (page,) = pages(JOB, folder.events_file, 29_990, 100)
    assert [told.id for told in page] == list(range(29_991, 30_001)) and time.monotonic() - begun < 2.0
    with serving(jobs, replace(QUICK, keep=100)) as url, listening(url, JOB) as stream:
        assert [next(stream).number for _ in range(30_000)] == list(range(1, 30_001))
        tell(JobFolder(jobs.home, JOB), 1)
        assert next(stream).number == 30_001


def test_what_was_read_of_a_history_is_not_read_again(jobs: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = jobs.job(JOB), list[int]()
    with folder_made(folder).open("w") as file:
        for number in range(1, 30_001):
            file.write(json.dumps({"id": number, "at": "t", "kind": "metrics", "values": {"step": number}}) + "\n")
    size, real = folder.events_file.stat().st_size, Lines.read

    def counted(self: Lines, *args: int) -> list[bytes]:
        lines = real(self, *args)
        read.append(sum(map(len, lines)))
        return lines

    monkeypatch.setattr(Lines, "read", counted)
    newest = Newest()
    assert newest.of(JOB, folder.events_file).last == f"{JOB}:30000" and sum(read) == size
    read.clear()
    tell(folder, 1)
    current = newest.of(JOB, folder.events_file)
    assert (current.last, current.figures["train_loss"].value) == (f"{JOB}:30001", 0.5) and sum(read) < 200
    read.clear()
    for after in (1, 14_999, 15_000, 29_999, 30_000, 30_001, 99_999):
        told = [one.id for page in pages(JOB, folder.events_file, after, 1000) for one in page]
        assert told == list(range(after + 1, 30_002))
    read.clear()
    assert next(pages(JOB, folder.events_file, 29_990, 10))[0].id == 29_991
    assert sum(read) <= 2 * BLOCK < size
    for number in range(100):
        newest.of(f"{number:x}", folder.events_file.with_name("none"))
    assert len(newest._known) == MOST


def test_nobody_listens_and_nothing_is_read(jobs: Folders, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, looks = jobs.job(JOB), list[int]()
    real = Lines.read
    monkeypatch.setattr(Lines, "read", lambda self, *args: (looks.append(1), real(self, *args))[1])
    with listening(url, JOB) as stream:
        tell(folder, 1)
        next(stream)
    time.sleep(0.5)  # until the service has seen that the client is gone, and has let the job's events go
    looks.clear()
    time.sleep(0.2)
    assert looks == []


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def plain_socket(url: str, job: str) -> socket.socket:
    """A client that reads only when it is told to."""
    raw = small_buffers(url)
    raw.sendall(
        f"GET /api/v1/stream/metrics?job={job} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    return raw


def small_buffers(url: str) -> socket.socket:
    """A connection that takes little ahead."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(30)
    raw.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    return raw


def folder_made(folder: JobFolder) -> Path:
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder.events_file
