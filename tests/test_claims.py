"""Claims: one winner, dead ones open again, live ones do not."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tracking_rig import SPAWN, home, store

from tsad.core.errors import ClaimError, TrackingError
from tsad.tracking.claims import Claim, Heartbeat, LoopLock, check_dead, claimed, claims_of, file_stem, this_place
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
    with (
        claimed(store.client, run_id, "TRAIN", 1, "here", lease=60) as claim,
        pytest.raises(ClaimError, match="by this process"),
    ):
        check_dead("TRAIN", claim, {}, "here", lease=60)
    check_dead("TRAIN", claim, {}, "here", lease=60)


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
    with lock.hold(timeout=10) as fresh:
        assert fresh and lock.held
        with LoopLock(tmp_path, "nab").hold() as again:  # another object of this process
            assert not again
        assert lock.held
    assert not lock.held


def _report_held(folder: Path, answer: object) -> None:
    answer.value = LoopLock(folder, "nab").held  # type: ignore[attr-defined]


def test_a_forked_child_does_not_hold_its_parents_lock(tmp_path: Path) -> None:
    answer = SPAWN.Value("b", True)
    with LoopLock(tmp_path, "nab").hold():
        child = SPAWN.Process(target=_report_held, args=(tmp_path, answer))
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
