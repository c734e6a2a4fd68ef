"""Iterations and steps: each finished exactly once, whatever is killed in between."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracking_rig import SPAWN, die, home, killed, options, store

from tsad.core.control import StopRequested
from tsad.core.errors import ClaimError, TrackingError, TsadError
from tsad.core.reviews import Purpose
from tsad.core.types import Interval
from tsad.tracking.recorder import PARAM_LENGTH, MetricBuffer, plain
from tsad.tracking.runs import Iteration, LoopStore
from tsad.tracking.store import Store, open_store

CONFIG = "loop:\n  name: nab\n"


def _begin(loop: LoopStore, number: int = 1) -> Iteration:
    return loop.create_iteration(number, CONFIG, {"adapter.r": 8})


def _status(loop: LoopStore, run_id: str) -> str:
    return str(loop.store.client.get_run(run_id).info.status)


def _steps(iteration: Iteration) -> list[tuple[str, str]]:
    return [(run.data.tags["tsad.attempt"], run.info.status) for run in iteration.steps()]


# ---- iterations


def test_an_iteration_from_beginning_to_end(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop:
        iteration = _begin(loop)
        assert (iteration.state, iteration.status, iteration.number) == ("CREATED", "RUNNING", 1)
        assert iteration.config_yaml == CONFIG
        with iteration.step("DETECT") as step:
            step.result({"intervals": 3, "f1": math.nan, "scores": np.arange(3)})
        record = iteration.finished("DETECT")
        assert record is not None and record.run_id == step.run_id and record.seconds >= 0
        assert record.result["intervals"] == 3 and record.result["scores"] == [0, 1, 2]
        assert math.isnan(record.result["f1"])  # as the step saw it, not null
        iteration.set_state("REVIEWING")
    assert _status(loop, iteration.run_id) == "SCHEDULED"
    with loop.lock() as loop:
        (iteration,) = loop.iterations()
        with iteration.step("PULL"):
            assert _status(loop, iteration.run_id) == "RUNNING"
        iteration.complete({"gold.interval_f1": 0.5})
        iteration.complete({"gold.interval_f1": 0.5})
    (again,) = loop.iterations()
    assert (again.state, again.status, again.metrics) == ("COMPLETED", "FINISHED", {"gold.interval_f1": 0.5})
    assert again.params["adapter.r"] == "8" and not again.open and loop.open_iteration() is None
    assert store.loops() == ["nab"]


def test_an_iteration_is_created_once(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with pytest.raises(ClaimError, match="without the lock"):
        _begin(loop)
    with loop.lock() as loop:
        assert _begin(loop).run_id == _begin(loop).run_id
        with pytest.raises(ClaimError, match="another config"):
            loop.create_iteration(1, "other: 1\n", {})
    assert len(loop.search("")) == 1


def _create_and_die(home: Path, config: str) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    Iteration.set_state = lambda *_: die()  # type: ignore[method-assign]
    with loop.lock() as loop:
        loop.create_iteration(1, config, {"adapter.r": 8})


@pytest.mark.parametrize("config", [CONFIG, "other: 1\n"])
def test_an_iteration_killed_while_created_is_made_whole(home: Path, config: str) -> None:
    killed(_create_and_die, home, config)
    loop = LoopStore(open_store(options(), home), "nab")
    assert loop.iterations() == []
    with loop.lock() as loop:
        iteration = _begin(loop)
    assert [i.run_id for i in loop.iterations()] == [iteration.run_id]
    assert iteration.config_yaml == CONFIG
    runs = loop.search("")
    assert len(runs) == (1 if config == CONFIG else 2)
    assert all(run.info.status != "RUNNING" for run in runs)


def test_a_failed_iteration_can_be_gone_on_with_an_abandoned_one_not(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop:
        iteration = _begin(loop)
        iteration.fail("Label Studio is down")
    found = loop.open_iteration()
    assert found is not None
    assert (found.state, found.reason, found.status) == ("FAILED", "Label Studio is down", "FAILED")
    with loop.lock() as loop:
        with pytest.raises(ClaimError, match="without the lock"), found.step("PUSH"):
            pytest.fail("an iteration read without the lock may not work")
        found = loop.open_iteration()
        assert found is not None
        with found.step("PUSH"):
            pass
        found.abandon("new=true")
        assert loop.iterations() == []
        assert _begin(loop).run_id != iteration.run_id
    assert _status(loop, iteration.run_id) == "KILLED"


# ---- steps


def test_a_step_is_done_once(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop:
        iteration = _begin(loop)
        with iteration.step("TRAIN") as step:
            step.result({"loss": 1})
        with pytest.raises(ClaimError, match="finished already"), iteration.step("TRAIN"):
            pytest.fail("a finished step was begun again")
    with pytest.raises(ClaimError, match="without the lock"), iteration.step("OTHER"):
        pytest.fail("a step was begun without the lock")
    assert iteration.finished("OTHER") is None
    assert _steps(iteration) == [("1", "FINISHED")]


def test_a_step_that_fails_may_be_tried_again(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop:
        iteration = _begin(loop)
        with pytest.raises(ZeroDivisionError), iteration.step("TRAIN") as step:
            step.result({"loss": 0})
            raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt), iteration.step("TRAIN"):
            raise KeyboardInterrupt
        assert iteration.finished("TRAIN") is None
        with iteration.step("TRAIN") as step:
            step.result({"loss": 1})
        assert iteration.finished("TRAIN").result == {"loss": 1}  # type: ignore[union-attr]
    assert _steps(iteration) == [("1", "FAILED"), ("2", "KILLED"), ("3", "FINISHED")]
    assert "ZeroDivisionError" in iteration.steps()[0].data.tags["tsad.error"]


def _step_and_die(home: Path, moment: str) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as loop:
        iteration = _begin(loop)
        if moment == "claimed":
            assert iteration.claims_run  # a run of its own, made before
            loop.create_run = lambda *_: die()  # type: ignore[assignment, method-assign, return-value]
        with iteration.step("TRAIN") as step:
            step.metrics({"loss": 1.0})
            if moment == "working":
                die()
            step.result({"loss": 1})
            if moment == "result":
                iteration._check_mine = lambda *_: die()  # type: ignore[method-assign]


@pytest.mark.parametrize("moment", ["claimed", "working", "result"])
def test_a_step_killed_at_any_moment_is_begun_again_and_leaves_no_run_running(
    home: Path, moment: str
) -> None:
    killed(_step_and_die, home, moment)
    loop = LoopStore(open_store(options(), home), "nab")
    (iteration,) = loop.iterations()
    assert iteration.status == "RUNNING"
    assert loop.reap() == (1 if moment == "claimed" else 2)
    assert loop.reap() == 0
    assert _status(loop, iteration.run_id) == "SCHEDULED"
    with loop.lock() as loop:
        (iteration,) = loop.iterations()
        assert iteration.finished("TRAIN") is None
        with iteration.step("TRAIN") as step:
            step.result({"loss": 2})
        assert iteration.finished("TRAIN").result == {"loss": 2}  # type: ignore[union-attr]
    expected = [("2", "FINISHED")] if moment == "claimed" else [("1", "KILLED"), ("2", "FINISHED")]
    assert _steps(iteration) == expected
    assert loop.search("attributes.status = 'RUNNING'") == []


# ---- two hosts on one store: other lock folders, so only claims stand between them


def _two_hosts(home: Path, lease: float) -> tuple[LoopStore, LoopStore]:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    here, there = (LoopStore(open_store(options(uri), home / name), "nab", lease) for name in ("here", "there"))
    assert here.place != there.place
    return here, there


def test_another_host_waits_for_the_lease(home: Path) -> None:
    here, there = _two_hosts(home, lease=60)
    with here.lock() as here, there.lock() as there:
        mine = _begin(here)
        theirs = _begin(there)
        assert mine.run_id == theirs.run_id
        with mine.step("TRAIN") as step:
            with pytest.raises(ClaimError, match="being worked on by"), theirs.step("TRAIN"):
                pytest.fail("both work on it")
            assert there.reap() == 0
            assert _status(here, step.run_id) == "RUNNING"
        with pytest.raises(ClaimError, match="finished already"), theirs.step("TRAIN"):
            pytest.fail("done twice")


def test_who_sleeps_through_the_lease_does_not_finish(home: Path) -> None:
    here, there = _two_hosts(home, lease=60)
    there.lease = 0.0
    with here.lock() as here, there.lock() as there:
        mine = _begin(here)
        with pytest.raises(ClaimError, match="went to process"), mine.step("TRAIN") as slow:
            slow.result({"by": "here"})
            with _begin(there).step("TRAIN") as quick:
                quick.result({"by": "there"})
        assert mine.finished("TRAIN").result == {"by": "there"}  # type: ignore[union-attr]
    assert _status(here, slow.run_id) == "FAILED"


# ---- single runs


def test_a_run_outside_iterations(store: Store) -> None:
    loop = LoopStore(store, "nab")
    with pytest.raises(ClaimError, match="without the lock"), loop.run("DETECT"):
        pass
    with loop.lock() as loop, loop.run("DETECT", {"tsad.model_version": "x:1"}) as step:
        step.result({"series": 2})
        assert loop.reap() == 0
        assert LoopStore(store, "nab").reap() == 0  # another object of this process
        assert _status(loop, step.run_id) == "RUNNING"
    assert _status(loop, step.run_id) == "FINISHED"


def test_whatever_ends_the_work_leaves_no_run_running(store: Store) -> None:
    loop = LoopStore(store, "nab")
    for number, end in enumerate((KeyboardInterrupt, StopRequested, SystemExit, GeneratorExit), start=1):
        with pytest.raises(end), loop.lock() as held:
            iteration = held.create_iteration(number, CONFIG, {})
            with iteration.step("TRAIN"):
                held.create_run("begun and not yet worked on", {"tsad.kind": "run"})
                raise end
        assert not loop.search("attributes.status = 'RUNNING'")
        assert [i.status for i in loop.iterations()] == ["SCHEDULED"] * number
        assert _steps(loop.iterations()[-1]) == [("1", "KILLED")]


def _reap_elsewhere(home: Path, answer: Any) -> None:
    answer.value = LoopStore(open_store(options(), home), "nab").reap()


def test_what_needs_no_lock_is_not_closed_by_others_while_it_works(home: Path) -> None:
    answer = SPAWN.Value("i", -1)
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.adding("EXPORT", {"tsad.kind": "export"}) as step:
        child = SPAWN.Process(target=_reap_elsewhere, args=(home, answer))
        child.start()
        child.join(60)
        assert answer.value == 0
        thread = threading.Thread(target=lambda: setattr(answer, "value", loop.reap()))
        thread.start()
        thread.join(60)
        assert answer.value == 0 and _status(loop, step.run_id) == "RUNNING"
        with _two_hosts(home, lease=60)[1].lock() as there:
            assert there.reap() == 0 and _status(loop, step.run_id) == "RUNNING"
    assert _status(loop, step.run_id) == "FINISHED"


def _add_and_die(home: Path) -> None:
    with LoopStore(open_store(options(), home), "nab").adding("EXPORT", {}):
        die()


def test_what_a_dead_process_added_is_closed(home: Path) -> None:
    killed(_add_and_die, home)
    loop = LoopStore(open_store(options(), home), "nab")
    assert loop.reap() == 1 and loop.reap() == 0


def _run_and_die(home: Path) -> None:
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as loop, loop.run("DETECT"):
        die()


def test_a_killed_run_is_closed_when_the_loop_is_next_locked(home: Path) -> None:
    killed(_run_and_die, home)
    loop = LoopStore(open_store(options(), home), "nab")
    with loop.lock() as loop:
        assert [run.info.status for run in loop.search("")] == ["KILLED"]


def test_the_lock_lets_go_when_the_store_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = LoopStore(store, "nab")
    with pytest.raises(ZeroDivisionError), loop.lock() as loop:
        _begin(loop)
        monkeypatch.setattr(loop, "search", _raise(TrackingError("the server is away")))
        raise ZeroDivisionError
    assert loop.token is None
    with LoopStore(store, "nab").lock(timeout=0):
        pass


def _raise(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


# ---- what a step writes


@pytest.fixture
def step_of(store: Store) -> Any:
    loop = LoopStore(store, "nab")
    with loop.lock() as loop, loop.run("TRAIN") as step:
        yield loop, step


def test_metrics_are_sent_in_batches(step_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, step = step_of
    sent = []
    real = loop.store.client._client.log_batch
    monkeypatch.setattr(
        loop.store.client._client, "log_batch", lambda *a, **k: (sent.append(len(k.get("metrics", ()))), real(*a, **k))
    )
    started = time.time()
    for k in range(1200):
        step.metrics({"loss": 1 / (k + 1), "grad_norm": math.nan if k == 7 else 1.0}, step=k)
    step.flush()
    assert time.time() - started < 20
    assert sum(sent) == 2399 and len(sent) < 20 and max(sent) <= 1000
    history = loop.store.client.get_metric_history(step.run_id, "loss")
    assert [m.step for m in history] == list(range(1200)) and history[3].value == 0.25
    run = loop.store.client.get_run(step.run_id)
    assert run.data.tags["tsad.not_finite"] == "grad_norm"


def test_metrics_are_live_without_further_calls(step_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, step = step_of
    monkeypatch.setattr("tsad.tracking.recorder.FLUSH_SECONDS", 0.05)
    step.metrics({"loss": 0.5})
    deadline = time.time() + 10
    while not loop.store.client.get_run(step.run_id).data.metrics and time.time() < deadline:
        time.sleep(0.05)
    assert loop.store.client.get_run(step.run_id).data.metrics == {"loss": 0.5}


class _Away:
    def log_batch(self, *_: Any, **__: Any) -> None:
        raise TrackingError("the server is away")


def test_an_outage_met_in_the_background_is_raised_to_the_worker() -> None:
    buffer = MetricBuffer(_Away(), "run")  # type: ignore[arg-type]
    for _ in range(600):
        buffer.add_aside({"system/x": 1.0}, 0)
    with pytest.raises(TsadError, match="away"):
        buffer.add({"loss": 1.0}, 0)


def test_params_are_write_once_and_long_ones_are_kept_whole(step_of: Any) -> None:
    loop, step = step_of
    step.params({"adapter.r": 8, "adapter.target_modules": ["query", "value"], "prompt": "x" * 5000})
    step.params({"adapter.r": 8})
    with pytest.raises(TrackingError, match=r"adapter.r"):
        step.params({"adapter.r": 16})
    params = loop.store.client.get_run(step.run_id).data.params
    assert params["adapter.target_modules"] == '["query", "value"]'
    assert params["prompt"] == "see artifact params/prompt.txt" and len(params["prompt"]) < PARAM_LENGTH
    assert _artifact(loop, step, "params/prompt.txt") == "x" * 5000


def _artifact(loop: LoopStore, step: Any, path: str) -> str:
    from tsad.tracking.artifacts import read_text

    return read_text(loop.store, step.run_id, path)


def test_artifacts_of_all_kinds(step_of: Any, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    loop, step = step_of
    step.json({"f1": math.nan, "interval": Interval(0, 5), "purpose": Purpose.GOLD}, "series/a/metrics.json")
    metrics = json.loads(_artifact(loop, step, "series/a/metrics.json"))
    assert metrics["f1"] is None and metrics["interval"]["end"] == 5 and metrics["purpose"] == "gold"
    rows = [{"version": 1, "f1": 0.5}, {"version": 2, "f1": math.inf, "kind": "点"}]
    step.table(rows, "evaluation.json")
    step.table(rows, "evaluation.csv")
    assert json.loads(_artifact(loop, step, "evaluation.json")) == {
        "columns": ["version", "f1", "kind"], "data": [[1, 0.5, None], [2, None, "点"]],
    }  # fmt: skip
    assert _artifact(loop, step, "evaluation.csv").splitlines() == ["version,f1,kind", "1,0.5,", "2,,点"]
    tags = loop.store.client.get_run(step.run_id).data.tags
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "evaluation.json", "type": "table"}]
    figure = Figure()
    figure.subplots().plot([1, 2])
    step.figure(figure, "plots/测点.png")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "a.txt").write_text("a")
    step.file(tmp_path / "tree", "queue")
    step.file(tmp_path / "tree" / "deep" / "a.txt")
    names = {item.path for item in loop.store.client.list_artifacts(step.run_id)}
    assert {"plots", "queue", "a.txt"} <= names
    assert _artifact(loop, step, "queue/deep/a.txt") == "a"


def test_a_finished_steps_files_can_be_fetched_again_and_again(store: Store, tmp_path: Path) -> None:
    loop = LoopStore(store, "nab")
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "a.txt").write_text("a")
    with loop.lock() as loop:
        iteration = _begin(loop)
        with iteration.step("DETECT") as step:
            step.file(tmp_path / "queue", "queue")
        record = iteration.finished("DETECT")
    assert record is not None
    for _ in range(2):
        got = record.fetch("queue", tmp_path / "out")
        assert got == tmp_path / "out" / "queue" and (got / "a.txt").read_text() == "a"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["queue"]
    with pytest.raises(TrackingError):
        record.fetch("nothing", tmp_path / "out")


def test_system_metrics_have_a_first_and_a_last_sample(step_of: Any) -> None:
    loop, step = step_of
    with step.system_metrics(seconds=60):
        pass
    step.flush()
    metrics = loop.store.client.get_run(step.run_id).data.metrics
    assert metrics["system/process_memory_megabytes"] > 10
    history = loop.store.client.get_metric_history(step.run_id, "system/process_cpu_percentage")
    assert 1 <= len(history) <= 2


def test_system_metrics_can_be_left_out(home: Path) -> None:
    loop = LoopStore(open_store(options(system_metrics=False), home), "nab")
    with loop.lock() as loop, loop.run("TRAIN") as step, step.system_metrics(seconds=0.01):
        time.sleep(0.03)
    assert loop.store.client.get_run(step.run_id).data.metrics == {}


def test_plain_values() -> None:
    assert plain({1: (np.float32(0.5), np.nan, True, Path("a"))}) == {"1": [0.5, None, True, "a"]}
    assert math.isnan(plain(math.nan, nan=float))
