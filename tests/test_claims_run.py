"""The run that holds an iteration's claims: decided once, by however many processes and hosts, whoever is killed."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tracking_rig import SPAWN, die, home, killed, options, store

from tsad.core.errors import ClaimError
from tsad.tracking import claims_run
from tsad.tracking.claims import Claim, claims_of
from tsad.tracking.claims_run import claims_place, decide_claims
from tsad.tracking.runs import Iteration, LoopStore
from tsad.tracking.states import tag_is
from tsad.tracking.store import Store, open_store

CONFIG = "loop:\n  name: nab\n"


def begun(loop: LoopStore) -> Iteration:
    with loop.lock() as held:
        return held.create_iteration(1, CONFIG, {"adapter.r": 8})


def kept(loop: LoopStore) -> list[str]:
    """Claims runs that are not deleted."""
    return [str(run.info.run_id) for run in loop.search(tag_is("tsad.kind", "claims"))]


def test_claims_are_kept_beside_the_iteration(store: Store) -> None:
    loop = LoopStore(store, "nab")
    iteration = begun(loop)
    params = store.client.get_run(iteration.run_id).data.params
    assert claims_place(iteration.run_id, params) == "", "none is needed yet"
    with loop.lock() as held:
        (iteration,) = held.iterations()
        for name in ("DETECT", "TRAIN"):
            with iteration.step(name) as step:
                step.result({})
    params = store.client.get_run(iteration.run_id).data.params
    assert params == {"adapter.r": "8", "claims": iteration.claims_run}
    run = store.client.get_run(iteration.claims_run)
    assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", iteration.run_id)
    assert [len(claims_of(run.data.params, name)) for name in ("DETECT", "TRAIN", "PUSH")] == [1, 1, 0]
    assert [run.data.tags["tsad.step"] for run in iteration.steps()] == ["DETECT", "TRAIN"]
    assert kept(loop) == [iteration.claims_run] and LoopStore(store, "nab").iterations()[0].claims_run == kept(loop)[0]


def test_claims_of_before_stay_on_the_iteration(store: Store) -> None:
    loop = LoopStore(store, "nab")
    iteration = begun(loop)
    old = Claim(loop.place, 4711, "0123456789ab", 1.0)
    store.client.log_param(iteration.run_id, "claim.DETECT.1", str(old))
    with loop.lock() as held:
        (iteration,) = held.iterations()
        with iteration.step("DETECT") as step:
            step.result({})
    assert iteration.claims_run == iteration.run_id and kept(loop) == []
    claims = claims_of(store.client.get_run(iteration.run_id).data.params, "DETECT")
    assert [attempt for attempt, _ in claims] == [1, 2] and step.attempt == 2


def _decide(home: Path, lock_folder: str, run_id: str, together: Any, answers: Any) -> None:
    """As a process of a host of its own: no lock stands between them."""
    uri = f"sqlite:///{home / 'mlflow.db'}"
    loop = LoopStore(open_store(options(uri), home / lock_folder), "nab")
    loop._find_experiment()
    together.wait(60)
    answers.put(decide_claims(loop, run_id, 1))


def test_of_eight_processes_without_a_claims_run_one_names_it(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    iteration = begun(loop)
    together, answers = SPAWN.Barrier(8), SPAWN.Queue()
    children = [
        SPAWN.Process(target=_decide, args=(home, f"host{k % 2}", iteration.run_id, together, answers))
        for k in range(8)
    ]
    for child in children:
        child.start()
    decided = {answers.get(timeout=120) for _ in children}
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert decided == {loop.store.client.get_run(iteration.run_id).data.params["claims"]}
    assert kept(loop) == list(decided), "whoever lost has deleted what it made"


def _make_and_die(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    make = claims_run._make

    def made(*given: Any) -> str:
        make(*given)
        die()
        return ""

    claims_run._make = made
    with loop.lock() as held:
        (iteration,) = held.iterations()
        with iteration.step("DETECT"):
            raise AssertionError("it was to be killed")


def test_a_run_that_was_made_and_never_named_is_taken(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    begun(loop)
    killed(_make_and_die, home)
    (orphan,) = kept(loop)
    (iteration,) = loop.iterations()
    assert claims_place(iteration.run_id, iteration.params) == ""
    with loop.lock() as held:
        (iteration,) = held.iterations()
        with iteration.step("DETECT") as step:
            step.result({})
    assert kept(loop) == [iteration.claims_run] == [orphan]
    assert loop.search("attributes.status = 'RUNNING'") == []


def test_two_hosts_with_lock_folders_of_their_own_share_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    here, there = (LoopStore(open_store(options(uri), home / name), "nab", 60) for name in ("here", "there"))
    with here.lock() as held, there.lock() as other:
        mine = held.create_iteration(1, CONFIG, {})
        (theirs,) = other.iterations()
        make = claims_run._make

        def late(*given: Any) -> str:
            """The other host makes and names one between this host's look and its own naming."""
            monkeypatch.setattr(claims_run, "_make", make)
            assert theirs.claims_run
            return make(*given)

        monkeypatch.setattr(claims_run, "_make", late)
        with mine.step("TRAIN"), pytest.raises(ClaimError, match="being worked on by"), theirs.step("TRAIN"):
            pytest.fail("both work on it")
    assert mine.claims_run == theirs.claims_run and kept(here) == [mine.claims_run]
