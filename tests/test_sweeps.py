"""``tsad -m iterate``: each job has a loop of its own and gives its own figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tsad import cli
from tsad.config import check_sweep, compose, loop_of_job, settings
from tsad.core import environment
from tsad.core.control import StopRequested
from tsad.core.errors import ConfigError
from tsad.loop.promote import PROMOTE
from tsad.loop.runner import result_of
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store
from tsad.verbs import iterate as iterate_verb
from tsad.verbs.lookup import makes_loops, verb_module

SMALL = (
    "source=synthetic", "review=simulated", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "tracking.plots=0", "gold.resamples=100", "threshold.default=0.3",
    "tracking.system_metrics=false",
)  # fmt: skip
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    stocked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """``run("-m", "iterate", ...)`` in this process: the exit code, and what was said on standard error."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("HYDRA_FULL_ERROR", *environment.SILENCED, *environment.OFFLINE):
        monkeypatch.setenv(name, os.environ.get(name, ""))

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tsad", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


def loops(home: Path) -> dict[str, list[Any]]:
    """Iterations of each loop in the store, by its name."""
    store = open_store(settings(compose()).tracking, home)
    return {name: LoopStore(store, name).iterations() for name in store.loops()}


@pytest.mark.timeout(900)  # two loops, on machines that are busy
def test_two_detectors_give_two_loops_and_two_figures(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[Any] = []
    original = iterate_verb.iterate
    monkeypatch.setattr(iterate_verb, "iterate", lambda *given: states.append(original(*given)) or states[-1])
    sweep = ("-m", "iterate", *SMALL, "detector=robust_zscore,kmeans")
    code, said = run(*sweep)
    assert code == 0, said
    made = loops(home)
    assert [name.rpartition("-")[0] for name in made] == ["default-0", "default-1"]
    detectors = [iterations[0].params["detector"] for iterations in made.values()]
    assert detectors == ["RobustZScore", "KMeans"]
    figures = [result_of(iterations[0], PROMOTE).scores["interval_f1"] for iterations in made.values()]
    assert [state.optimised for state in states] == figures and [state.loop for state in states] == list(made)
    assert states[0].iterations != states[1].iterations
    assert states[0].iterations[0].scores != states[1].iterations[0].scores, "two detectors, two tables"
    assert run(*sweep)[0] == 0  # finds what it made, and makes nothing anew
    assert {name: len(iterations) for name, iterations in loops(home).items()} == dict.fromkeys(made, 1)
    assert [state.optimised for state in states] == figures * 2
    taken = next(iter(made))
    code, said = run("-m", "iterate", *SMALL, "detector=kmeans", f"loop.name={taken},{taken}")
    assert code == 1 and f"loop {taken} was made with another config" in said
    assert "detector=kmeans (frozen: robust_zscore)" in said and len(states) == 4


def test_one_loop_for_every_job_is_refused_before_the_first(run: Run, home: Path) -> None:
    code, said = run("-m", "iterate", *SMALL, "detector=robust_zscore,kmeans", "loop.name=sweep")
    assert code == 1 and said.count("\n") == 1
    assert "Type loop.name='sweep-${hydra:job.num}', or leave it out" in said
    assert not (home / "sweeps").exists() and loops(home) == {}


@pytest.mark.parametrize(
    "name", ["loop.name=a,b", "loop.name='sweep-${hydra:job.num}'", "loop.name='run-${adapter.r}'", "adapter.alpha=8"]
)
def test_names_that_vary_and_names_that_nobody_typed_pass(home: Path, name: str) -> None:
    check_sweep(["task=iterate", "source=synthetic", "adapter.r=4,8", name], loops=True)


def test_a_name_from_the_environment_is_one_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANT", "north")
    with pytest.raises(ConfigError, match="the same for every job"):
        check_sweep(["task=iterate", "adapter.r=4,8", "loop.name='${oc.env:PLANT}'"], loops=True)


def test_verbs_that_work_on_a_loop_share_it(home: Path) -> None:
    assert makes_loops(verb_module("iterate")) and not makes_loops(verb_module("train"))
    check_sweep(["task=train", "adapter.r=4,8", "loop.name=plant"], loops=False)


def test_a_jobs_loop_is_its_own_by_number_and_config(home: Path) -> None:
    def name(number: int, *words: str) -> str:
        return loop_of_job(settings(compose(words), words), number)

    first = name(0, "experiment=demo", "adapter.r=4")
    assert first.startswith("demo-0-") and first == name(0, "experiment=demo", "adapter.r=4")
    others = {name(1, "experiment=demo", "adapter.r=4"), name(0, "experiment=demo", "adapter.r=8")}
    assert len({first, *others}) == 3
    assert name(0, "experiment=demo", "loop.name=mine") == "mine"


def test_the_job_s_number_reaches_a_typed_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def function(bench: Any, keys: Any, console: Any) -> Any:
        names.append(bench.loop.name)
        return SimpleNamespace(people_have_to_act=False, optimised=None)

    fake = SimpleNamespace(keys_model=iterate_verb.keys_model, run=function, MAKES_LOOPS=True)
    monkeypatch.setattr(cli, "verb_module", lambda verb: fake)
    assert run("-m", "iterate", "source=synthetic", "adapter.r=4,8", "loop.name=sweep-${hydra:job.num}")[0] == 0
    assert names == ["sweep-0", "sweep-1"]
    assert run("iterate", "source=synthetic")[0] == 0
    assert names[2:] == ["default"], "without a sweep the name is the loop's"


def test_an_interrupted_sweep_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(*_: Any) -> Any:
        error = StopRequested()
        error.add_note("Go on with: tsad iterate loop.name=x")
        raise error

    monkeypatch.setattr(
        cli, "verb_module", lambda verb: SimpleNamespace(keys_model=iterate_verb.keys_model, run=function)
    )
    code, said = run("-m", "iterate", "source=synthetic", "adapter.r=4,8")
    assert code == 130
    last = said.splitlines()[-1]
    assert last == (
        "error: interrupted. Go on with: tsad iterate loop.name=x. The same command takes the sweep up again"
    )
