"""``tsad`` alone: what it reads, how often it asks, what it does not import, and what to do next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import TrackingError
from tsad.loop.opening import open_loop
from tsad.loop.status import store_status
from tsad.tracking.guard import error_code
from tsad.tracking.overview import LoopOverview, overview
from tsad.tracking.reading import SqliteReader, open_to_read
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import Store, open_store

Make = Callable[..., Workbench]
SMALL = ("source=synthetic", "review=simulated", "detector=robust_zscore", "loop.name=plant")
ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("stocked")


def fill(bench: Workbench, *numbers: int, state: str = "COMPLETED") -> LoopStore:
    """A loop with these iterations, the last one in that state, and a champion."""
    loop = open_loop(bench)
    with loop.lock() as held:
        for number in numbers:
            iteration = held.create_iteration(number, bench.config_yaml, {"adapter.r": 8, "detector.window": 16})
            if number < numbers[-1] or state == "COMPLETED":
                scores = {"gold.interval_f1": number / 100, "gold.composite_f1": 0.25}
                iteration.complete({**scores, "reviews.accepted": 3.0, "reviews.corrected": float(number)})
            elif state == "FAILED":
                iteration.fail("nothing could be read")
    return loop


def register(loop: LoopStore, detector: str) -> None:
    """A champion of that detector, without files."""
    with loop.lock() as held, held.run("REGISTER") as step:
        step.result({})
    registry = loop.registry(detector)
    uri = f"runs:/{step.run_id}/model"
    registry.promote(registry.register(run_id=step.run_id, model_uri=uri, tags={"tsad.dataset_version": "d1"}))


class Counted:
    """A client that counts what it is asked."""

    def __init__(self, client: Any) -> None:
        self.client, self.calls = client, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return getattr(self.client, name)(*args, **kwargs)

        return ask


def both(bench: Workbench) -> dict[str, Store]:
    """The store by MLflow's client, and by the reader that does without."""
    reading = open_to_read(bench.tracking, bench.home)
    assert isinstance(reading.client, SqliteReader)
    return {"mlflow": open_store(bench.tracking, bench.home), "reader": reading}


def facts(loops: list[LoopOverview]) -> list[Any]:
    return [
        (
            of.loop.name, of.champion.label if of.champion else None, dict(of.champion.tags) if of.champion else {},
            [(i.number, i.state, i.status, i.started, i.params, i.metrics, i.run_id) for i in of.iterations],
        )
        for of in loops
    ]  # fmt: skip


def test_both_clients_tell_the_same(bench: Make) -> None:
    one = bench(*SMALL)
    register(fill(one, 1, 2, 3), "robust_zscore")
    register(fill(bench(*SMALL, "loop.name=plant-2"), 1, state="CREATED"), "patch")
    fill(bench(*SMALL, "loop.name=gone"))
    told = {name: facts(overview(store, 300.0)) for name, store in both(one).items()}
    assert told["mlflow"] == told["reader"]
    assert [(row[0], row[1], len(row[3])) for row in told["reader"]] == [
        ("plant", "tsad-plant-robust_zscore:1", 3), ("plant-2", "tsad-plant-2-patch:1", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["mlflow", "reader"])
def test_the_number_of_calls_does_not_grow_with_iterations(
    bench: Make, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    one, counts = bench(*SMALL), []
    register(fill(one, 1), "robust_zscore")
    for numbers in ((), (2, 3, 4, 5, 6, 7, 8)):
        fill(one, *numbers)
        client = Counted(both(one)[way].client)
        counted: Any = client
        store = replace(both(one)[way], client=counted)
        monkeypatch.setattr("tsad.tracking.reading.open_to_read", lambda *_, store=store: store)
        (loop,) = store_status(one).loops
        counts.append(client.calls)
    assert loop.completed == 8 and loop.scores == {"interval_f1": 0.08, "composite_f1": 0.25}
    assert counts[0] == counts[1] and sum(counts[0].values()) == 4, counts


def test_what_was_reviewed_is_of_the_newest_iteration(bench: Make) -> None:
    fill(bench(*SMALL), 1, 2)
    (loop,) = store_status(bench(*SMALL)).loops
    assert loop.iteration is not None and loop.iteration.reviews is not None
    assert loop.iteration.reviews.queue == {"ACCEPTED": 3, "CORRECTED": 2} and not loop.iteration.reviews.gold
    assert loop.champion is None and loop.dataset is None


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        ({}, "next: tsad iterate source.root=FOLDER loop.name=NAME, or experiment=demo"),
        ({"plant": "COMPLETED"}, "next: tsad report loop.name=plant, or tsad ui to compare its iterations"),
        ({"plant": "FAILED", "b": "COMPLETED"}, "next: mend what failed, then tsad iterate loop.name=plant"),
        ({"plant": "CREATED"}, "next: tsad iterate loop.name=plant"),
    ],
)
def test_what_to_do_next_is_the_last_line(
    bench: Make, capsys: pytest.CaptureFixture[str], states: dict[str, str], wanted: str
) -> None:
    for name, state in states.items():
        fill(bench(*SMALL, f"loop.name={name}"), 1, state=state)
    call("status", bench(*SMALL))
    assert capsys.readouterr().out.splitlines()[-1] == wanted


def test_nothing_heavy_is_imported(bench: Make, home: Path, tmp_path: Path) -> None:
    fill(bench(*SMALL), 1, 2)
    heavy = ("mlflow", "torch", "pandas", "sklearn", "scipy", "matplotlib", "label_studio_sdk", "rich")
    code = (
        "import sys\nfrom tsad.cli import main\nsys.argv[1:] = ['-o', 'json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print(*(m for m in {heavy!r} if m in sys.modules), file=sys.stderr)\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # `make newest` puts another MLflow there
    environment = {**os.environ, "TSAD_HOME": str(home), "PYTHONPATH": path.rstrip(os.pathsep)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout)["loops"][0]["completed"] == 2 and done.stderr == "\n"


def test_a_store_of_another_mlflow_is_opened_by_mlflow(bench: Make, home: Path) -> None:
    import sqlite3

    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'f5a4f2784254'")
    with pytest.raises(TrackingError, match="older MLflow"):
        open_to_read(bench(*SMALL).tracking, home)


def test_a_moved_store_is_read_where_it_lies(bench: Make, home: Path, tmp_path: Path) -> None:
    one = bench(*SMALL)
    fill(one, 1)
    moved = tmp_path / "elsewhere"
    home.rename(moved)
    (of,) = overview(open_to_read(one.tracking, moved), 300.0)
    assert of.iterations[0].config_yaml == one.config_yaml


def test_what_is_not_there_is_said_with_mlflow_s_code(bench: Make) -> None:
    client = open_to_read(bench(*SMALL).tracking, bench(*SMALL).home).client
    for ask in (lambda: client.get_run("0" * 32), lambda: client.get_model_version("tsad-x-y", "1")):
        with pytest.raises(TrackingError) as caught:
            ask()
        assert error_code(caught.value) == "RESOURCE_DOES_NOT_EXIST"
