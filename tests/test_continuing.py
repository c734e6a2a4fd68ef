"""Which config a loop goes on with: only what was typed counts, and no message loses work without saying so."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sources_kit import EXAMPLE, write
from verbs_kit import call

from tsad.config.freeze import differences, laid_over
from tsad.config.typed import TypedKeys
from tsad.config.workbench import Workbench
from tsad.core.advice import give_up
from tsad.core.errors import LoopError, ReviewError, SourceUnavailableError
from tsad.loop import iteration as turns
from tsad.loop.continuing import how_to_go_on
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.tracking.store import open_store

PACKAGE = Path(__file__).resolve().parents[1] / "tsad"
PLANT = ("source=synthetic", "source.series=3", "review=simulated", "detector=isolation_forest", "sampling.windows=8")
Make = Callable[..., Workbench]


pytestmark = pytest.mark.usefixtures("stocked")


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> list[Workbench]:
    """The workbench of each turn that a call takes; a turn does nothing, and the call stops after one."""
    benches: list[Workbench] = []

    def advance(turn: Any) -> bool:
        benches.append(turn.bench)
        return False

    monkeypatch.setattr(turns, "_advance", advance)
    monkeypatch.setattr(turns, "_state", lambda *_: object())
    return benches


def begin(bench: Workbench, completed: bool = False) -> None:
    """Iteration 1 of the bench's loop, open or completed."""
    with open_loop(bench).lock() as held:
        iteration = held.create_iteration(1, bench.config_yaml, {})
        if completed:
            iteration.complete({})


# --- an open iteration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("loop.name=plant2",),  # what nobody typed differs all over
        ("loop.name=plant2", "sampling.windows=8"),
        ("loop.name=plant2", "detector=isolation_forest", "source=synthetic", "source.series=3"),
        ("loop.name=plant2", "cache.offline=only"),  # how this machine works
    ],
)
def test_what_nobody_typed_is_not_compared(bench: Make, turned: list[Workbench], words: tuple[str, ...]) -> None:
    for name in ("plant", "plant2"):
        begin(bench(*PLANT, f"loop.name={name}"))
    with pytest.raises(LoopError, match="Say which"):
        iterate(bench())
    iterate(bench(*words))
    assert [(one.loop.name, one.source_config["series"], one.sampling.windows) for one in turned] == [("plant2", 3, 8)]


@pytest.mark.parametrize(
    ("word", "difference"),
    [
        ("sampling.windows=6", "sampling.windows=6 (frozen: 8)"),
        ("detector=robust_zscore", "detector=robust_zscore (frozen: isolation_forest)"),
        ("experiment=demo", "sampling.windows=40 (frozen: 8)"),
        ("loop.iterations=3", "loop.iterations=3 (frozen: 10)"),
        ("detector.blend=0.5", "detector.blend=0.5 (frozen: not set)"),  # of the default detector
    ],
)
def test_what_was_typed_is_refused_by_name_with_what_the_way_out_costs(
    bench: Make, turned: list[Workbench], word: str, difference: str
) -> None:
    begin(bench(*PLANT, "loop.name=plant 2"))
    with pytest.raises(LoopError) as refused:
        iterate(bench("loop.name=plant 2", word))
    assert "iteration 1 of loop plant 2 is open" in refused.value.found
    assert difference in refused.value.found
    assert "'loop.name=plant 2-2'" in refused.value.remedy
    assert give_up("plant 2") in refused.value.remedy and "goes into the new one" in refused.value.remedy
    assert not turned and [i.number for i in open_loop(bench("loop.name=plant 2")).iterations()] == [1]


def test_a_new_iteration_lays_what_was_typed_over_the_loops_config(bench: Make, turned: list[Workbench]) -> None:
    begin(bench(*PLANT, "loop.name=plant"))
    iterate(bench("loop.name=plant", "sampling.windows=6"), new=True)
    (one,) = turned
    assert (one.sampling.windows, one.source_config["series"]) == (6, 3)
    assert "isolation_forest" in one.detector_config["_target_"]
    (kept,) = open_loop(one).iterations()
    assert kept.open and "windows: 6" in kept.config_yaml


# --- a loop without an open iteration -----------------------------------------------------------------------


def test_a_finished_loop_goes_on_under_its_own_config(bench: Make, turned: list[Workbench]) -> None:
    begin(bench(*PLANT, "loop.name=plant", "loop.iterations=1"), completed=True)
    iterate(bench("loop.name=plant"))
    assert not turned, "it has reached its end, and nobody has typed another"
    iterate(bench("loop.name=plant", "loop.iterations=2"))  # as it says itself
    assert [(one.loop.iterations, one.source_config["series"]) for one in turned] == [(2, 3)]


@pytest.mark.parametrize("more", [(), ("loop.iterations=5",)])
def test_a_loop_made_with_another_config_names_the_difference(
    bench: Make, turned: list[Workbench], more: tuple[str, ...]
) -> None:
    begin(bench(*PLANT, "loop.name=plant", "loop.iterations=1"), completed=True)
    other = ("loop.name=plant", "detector=robust_zscore", *more)
    with pytest.raises(LoopError) as refused:
        iterate(bench(*other))
    assert "loop plant was made with another config" in refused.value.found
    assert "detector=robust_zscore (frozen: isolation_forest)" in refused.value.found
    assert "loop.name=plant-2" in refused.value.remedy and not turned
    iterate(bench("loop.name=plant", "detector=robust_zscore", "loop.iterations=2"), new=True)  # as it says
    assert ["robust_zscore" in one.detector_config["_target_"] for one in turned] == [True]


def test_new_on_a_loop_at_its_end_does_not_begin_nothing(bench: Make, turned: list[Workbench]) -> None:
    begin(bench(*PLANT, "loop.name=plant", "loop.iterations=1"), completed=True)
    with pytest.raises(LoopError, match=r"reached its end \(loop\.iterations=1\).*Raise loop\.iterations"):
        iterate(bench("loop.name=plant"), new=True)
    assert not turned


# --- which keys are typed -----------------------------------------------------------------------------------


def test_keys_are_typed_by_name_by_group_and_by_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = TypedKeys.of(["experiment=demo", "+source.columns={a: b}", "threshold=fixed"])
    for key in ("source.points", "review.miss_rate", "sampling.windows", "threshold.default", "source.columns.a"):
        assert typed.has(key), key
    for key in ("sampling.seed", "gold.alpha", "loop.lease", "sampling.windows_more"):
        assert not typed.has(key), key
    write(tmp_path / "conf" / "experiment" / "mine.yaml", "defaults:\n  - demo\n  - _self_\nwindows: {length: 9}\n")
    monkeypatch.chdir(tmp_path)
    mine = TypedKeys.of(["experiment=mine"])
    assert mine.has("windows.length") and mine.has("source.points") and not mine.has("windows.context")


def test_a_mapping_is_compared_and_laid_over_key_by_key() -> None:
    asked = "sampling: {_target_: a.B, mix: {top: 1, low: 2}, seed: 1}\nwindows: {length: 5}\n"
    frozen = "sampling: {_target_: a.B, mix: {top: 3, random: 4}, seed: 2}\nwindows: {length: 9}\n"
    typed = TypedKeys.of(["sampling.mix={top: 1, low: 2}"])
    assert differences(asked, frozen, typed) == [
        "sampling.mix.top=1 (frozen: 3)", "sampling.mix.low=2 (frozen: not set)",
        "sampling.mix.random=not set (frozen: 4)",
    ]  # fmt: skip
    merged = laid_over(asked, frozen, TypedKeys.of(["sampling.mix.top=1", "windows=long"]))
    assert merged == laid_over(asked, merged, TypedKeys.of([])) and "length: 5" in merged
    assert "top: 1" in merged and "random: 4" in merged and "seed: 2" in merged and "low" not in merged


# --- advice -------------------------------------------------------------------------------------------------


def test_no_message_gives_an_open_iteration_up_without_saying_what_is_lost() -> None:
    """Whoever names new=true says what it costs: by the one text that does, or because nothing is open."""
    free = {"advice.py", "continuing.py"}
    for path in (p for p in PACKAGE.rglob("*.py") if p.name not in free):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "new=true" in node.value:
                assert node.value in ("new=true", " is given up (new=true)", "): new=true begins nothing"), path
    assert "goes into the new one" in give_up() and "new=true" in give_up()
    comment = (PACKAGE.parent / "conf" / "task" / "iterate.yaml").read_text(encoding="utf-8").splitlines()[-1]
    assert comment.startswith("new: false") and "takes over" in comment


def test_how_to_go_on_can_be_pasted_and_finds_the_store(bench: Make) -> None:
    one = bench("tracking.uri=sqlite:///a b.db", "tracking.plots=0", "sampling.windows=6")
    assert how_to_go_on(one, "厂 1") == "tsad iterate 'tracking.uri=sqlite:///a b.db' 'loop.name=厂 1'"


# --- before anything is asked for ---------------------------------------------------------------------------


def test_a_missing_folder_is_named_before_label_studio_is_asked_for(bench: Make, tmp_path: Path) -> None:
    asked = bench(f"source.root={tmp_path / 'nowhere'}", "loop.name=plant", "detector=robust_zscore")
    assert asked.reviewer.people
    with pytest.raises(SourceUnavailableError, match=r"no file or folder .*nowhere\. Set source\.root"):
        iterate(asked)
    assert open_store(asked.tracking, asked.home).loops() == [], "a wrong path is never frozen"


def test_an_outage_that_the_cache_bridges_stops_nobody(bench: Make, tmp_path: Path) -> None:
    write(tmp_path / "plant" / "a.csv", EXAMPLE)
    asked = bench(f"source.root={tmp_path / 'plant'}", "loop.name=plant", "detector=robust_zscore")
    call("ingest", asked, report=False)
    (tmp_path / "plant").rename(tmp_path / "unmounted")
    with pytest.raises(ReviewError, match="tsad studio"):  # the source has passed
        iterate(asked)
