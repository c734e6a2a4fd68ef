"""Claims: one winner, dead ones open again, live ones do not."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tracking_rig import SPAWN, home, store

from tsad.core.errors import ClaimError, TrackingError
from tsad.tracking.claims import (
    Claim,
    Heartbeat,
    LoopLock,
    Token,
    check_dead,
    claimed,
    claims_of,
    file_stem,
    this_place,
)
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store


def test_a_claim_survives_being_written_down() -> None:
    claim = Claim("my host/ab12cd", 17, "0123456789ab", 1700000000.25)
    assert Claim.parse(str(claim)) == claim
    assert claim.host == "my host"


def test_attempts_are_ordered_by_number_not_by_text() -> None:
    params = {f"claim.TRAIN.{n}": str(Claim("h/p", n, f"t{n}", 0.0)) for n in (10, 2, 1)}
    params |= {"claim.TRAIN_MORE.1": str(Claim("h/p", 1, "x", 0.0)), "adapter.r": "4"}
    assert [attempt for attempt, _ in claims_of(params, "TRAIN")] == [1, 2, 10]


def test_a_claim_of_this_place_is_dead_once_we_hold_the_lock() -> None:
    check_dead("TRAIN", Claim("here", 1, "t", time.time()), {}, "here", lease=60)


def test_a_claim_of_another_host_is_alive_for_its_lease() -> None:
    fresh = Claim("plant-7/ab12cd", 4711, "t", time.time())
    with pytest.raises(ClaimError, match=r"TRAIN.*4711 on plant-7.*opens in (59|60) s"):
        check_dead("TRAIN", fresh, {}, "here", lease=60)
    old = Claim("plant-7/ab12cd", 4711, "t", time.time() - 100)
    check_dead("TRAIN", old, {}, "here", lease=60)
    beating = {"heartbeat.TRAIN": f"t {time.time() - 5:.3f}"}
    with pytest.raises(ClaimError, match="plant-7"):
        check_dead("TRAIN", old, beating, "here", lease=60)
    of_an_earlier_attempt = {"heartbeat.TRAIN": f"other {time.time():.3f}"}
    check_dead("TRAIN", old, of_an_earlier_attempt, "here", lease=60)


def test_of_eight_that_claim_one_attempt_one_wins(store: Store) -> None:
    experiment = store.client.create_experiment("claims")
    run_id = store.client.create_run(experiment).info.run_id
    together, outcomes = threading.Barrier(8), []

    def contend(k: int) -> None:
        together.wait()
        try:
            with claimed(store.client, run_id, "TRAIN", 1, f"host{k}/x", lease=60) as claim:
                outcomes.append(claim.place)
        except ClaimError as error:
            assert "was just claimed by process" in str(error)
            outcomes.append(None)

    threads = [threading.Thread(target=contend, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [place for place in outcomes if place]
    assert len(outcomes) == 8 and len(winners) == 1
    (_, written), = claims_of(store.client.get_run(run_id).data.params, "TRAIN")
    assert written.place == winners[0]


def test_a_step_claimed_in_this_process_is_not_dead(store: Store) -> None:
    run_id = store.client.create_run(store.client.create_experiment("claims")).info.run_id
    token = Token()
    with (
        claimed(store.client, run_id, "TRAIN", 1, "here", lease=60) as claim,
        token.working(claim.token),
        pytest.raises(ClaimError, match="by this process"),
    ):
        check_dead("TRAIN", claim, {}, "here", 60, token.busy)
    check_dead("TRAIN", claim, {}, "here", 60, token.busy)


def test_the_heart_beats_and_outlives_an_outage() -> None:
    beats = []

    def beat() -> None:
        beats.append(time.time())
        if len(beats) == 2:
            raise TrackingError("the server is away")

    with Heartbeat(beat, lease=0.03):
        deadline = time.time() + 5
        while len(beats) < 4 and time.time() < deadline:
            time.sleep(0.01)
    assert len(beats) >= 4
    stopped = len(beats)
    time.sleep(0.05)
    assert len(beats) == stopped


def _hold(folder: Path, ready: object) -> None:
    with LoopLock(folder, "nab").hold():
        ready.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_the_lock_names_its_holder_and_is_freed_by_kill_9(tmp_path: Path) -> None:
    ready = SPAWN.Event()
    child = SPAWN.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(30)
    lock = LoopLock(tmp_path, "nab")
    with pytest.raises(ClaimError, match=rf"Loop nab.*process {child.pid} on"), lock.hold():
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with lock.hold(timeout=10) as token:
        assert token.valid
        for other in (LoopLock(tmp_path, "nab"), lock):  # of this process and thread, but without the token
            with pytest.raises(ClaimError, match=rf"process {os.getpid()} on"), other.hold():
                pytest.fail("the lock was taken twice")
        assert token.valid
    assert not token.valid


def _contend(folder: Path, together: Any, inside: Any, most: Any, entered: Any) -> None:
    """Take the lock some times, and count how many are in at once; ``entered`` counts all times."""
    together.wait(60)
    for _ in range(3):
        with LoopLock(folder, "nab").hold(timeout=60):
            with inside.get_lock():
                inside.value += 1
                most.value = max(most.value, inside.value)
                entered.value += 1
            time.sleep(0.002)
            with inside.get_lock():
                inside.value -= 1


def _contend_in_threads(count: int, *shared: Any) -> None:
    threads = [threading.Thread(target=_contend, args=shared) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_of_threads_and_processes_one_is_inside(tmp_path: Path) -> None:
    inside, most, entered = (SPAWN.Value("i", 0) for _ in range(3))
    shared = (tmp_path, SPAWN.Barrier(8 + 3 * 2), inside, most, entered)
    children = [SPAWN.Process(target=_contend_in_threads, args=(2, *shared)) for _ in range(3)]
    for child in children:
        child.start()
    _contend_in_threads(8, *shared)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert (most.value, inside.value, entered.value) == (1, 0, 3 * (8 + 6))


def test_who_was_not_handed_the_token_does_not_work(store: Store) -> None:
    loop, refused = LoopStore(store, "nab"), []

    def without() -> None:
        for attempt in (lambda: loop.run("DETECT").__enter__(), lambda: loop.lock(timeout=0).__enter__(),
                        lambda: loop.create_iteration(1, "a: 1\n", {})):  # fmt: skip
            try:
                attempt()
            except ClaimError as error:
                refused.append(str(error))

    with loop.lock() as held, held.lock() as again:
        assert again is held, "who has it may take it again"
        for work in (without, lambda: held.run("DETECT").__enter__()):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert held.token is not None and loop.token is None
    assert [("without the lock" in text, f"process {os.getpid()} on" in text) for text in refused] == [
        (True, False), (False, True), (True, False),
    ]  # fmt: skip
    with pytest.raises(ClaimError, match="without the lock"), held.run("DETECT"):
        pytest.fail("the lock was let go, so its token is of no use")


def _report_held(token: Token, folder: Path, answer: object) -> None:
    answer.value = token.valid  # type: ignore[attr-defined]
    with suppress(ClaimError), LoopLock(folder, "nab").hold():
        answer.value = True  # type: ignore[attr-defined]


def test_a_forked_child_does_not_hold_its_parents_lock(tmp_path: Path) -> None:
    answer = SPAWN.Value("b", True)
    with LoopLock(tmp_path, "nab").hold() as token:
        child = SPAWN.Process(target=_report_held, args=(token, tmp_path, answer))
        child.start()
        child.join(30)
    assert answer.value == 0


def test_any_loop_name_makes_a_lock_file(tmp_path: Path) -> None:
    names = ["nab", "一号装置", "泵" * 100, "泵" * 99 + "站", "a*b", "a?b", "dots..."]
    assert len({file_stem(name) for name in names}) == len(names)
    assert file_stem("nab") == "nab" and file_stem("一号装置") == "一号装置"
    for name in names:
        with LoopLock(tmp_path, name).hold():
            assert (tmp_path / f"{file_stem(name)}.json").exists()


def test_places_differ_by_lock_folder(tmp_path: Path) -> None:
    assert this_place(tmp_path / "a") != this_place(tmp_path / "b")
    assert this_place(tmp_path / "a") == this_place(tmp_path / "a")


def test_a_process_is_the_same_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import psutil

    from tsad.tracking import claims

    name = claims.this_process()
    assert claims.process_lives(name) and name.startswith(f"{os.getpid()} ")
    true = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: true(self) + 3600)  # by the new time of day
    assert claims.process_lives(name)
    assert not any(claims.process_lives(other) for other in ("", "x", f"{os.getpid()} 0.00", "1 0.00", "99999999 0.00"))
    monkeypatch.setattr(claims, "PROC", tmp_path)  # a system without /proc
    told = claims.this_process()
    assert told != name and claims.process_lives(told) and not claims.process_lives(name)
    with pytest.raises(psutil.NoSuchProcess):
        claims.process_name(99999999)
