"""Verbs that only look: they never need the loop's lock, and leave no loop behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sources_kit import write
from test_data import plant
from verbs_kit import call

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.errors import ClaimError, DatasetError
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.steps.assets import Inventory
from tsad.tracking.artifacts import read_text
from tsad.tracking.store import open_store

Make = Callable[..., Workbench]
HOLD = """
import sys
from pathlib import Path
from tsad.tracking.claims import LoopLock
with LoopLock(Path(sys.argv[1]), sys.argv[2]).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A store with one finished iteration over six CSV series."""
    place = tmp_path_factory.mktemp("looking")
    plant(place / "plant", [f"T{k}" for k in range(6)])
    given = (
        "review=simulated", "source=csv", f"source.root={place / 'plant'}", "detector=robust_zscore", "loop.name=plant",
        "windows.length=200", "sampling.windows=6", "loop.iterations=1", "tracking.plots=0", "gold.resamples=100",
        "threshold.default=0.9",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(place / "store"))
        bench = workbench(settings(compose(given), given))
        iterate(bench)
        yield bench


@contextmanager
def held_elsewhere(bench: Workbench) -> Iterator[None]:
    """Another process works on the loop while the block runs."""
    command = [sys.executable, "-c", HOLD, str(bench.home / "locks"), bench.loop.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate()


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("status", {}),
        ("report", {"output": "OUT"}),
        ("review", {}),
        ("export", {"output": "OUT/intervals.csv"}),
        ("data", {}),
        ("data", {"action": "show", "name": "T1", "what": "series"}),
        ("data", {"action": "show", "name": "GOLD", "what": "datasets"}),
        ("ingest", {}),
    ],
)
def test_a_loop_at_work_can_be_looked_at(one: Workbench, tmp_path: Path, verb: str, keys: dict[str, Any]) -> None:
    gold = next(record for record in open_loop(one).datasets() if record.purpose == "gold")
    given = {k: v.replace("OUT", str(tmp_path)).replace("GOLD", gold.digest) for k, v in keys.items()}
    with held_elsewhere(one):
        with pytest.raises(ClaimError, match="being worked on by process"), open_loop(one).lock(timeout=0):
            pass
        answer = call(verb, one, **given)
    assert answer.to_json()
    if verb == "report":
        assert len(answer.iterations) == 1 and (tmp_path / "iterations.png").stat().st_size > 5000
    if verb == "export":
        assert (tmp_path / "intervals.csv").read_text(encoding="utf-8").startswith("point_id,start")
    assert not open_loop(one).search("attributes.status = 'RUNNING'")


@pytest.mark.usefixtures("stocked")
def test_looking_makes_no_loop(bench: Make, home: Path, tmp_path: Path) -> None:
    plant(tmp_path / "plant", ["T0", "T1"])
    looking = bench("source=csv", f"source.root={tmp_path / 'plant'}")
    ingested = call("ingest", looking)
    assert ingested.report_run and "T0" in read_text(open_loop(looking).store, ingested.report_run, "quality.html")
    shown = call("data", looking, action="show", what="series", name="T0")
    assert shown.plot is not None and open_loop(looking).store.client.list_artifacts(shown.plot.run_id, "plots")
    call("data", looking)
    call("report", looking)
    with pytest.raises(DatasetError):
        call("export", looking, output=str(tmp_path / "x.csv"))
    assert open_store(looking.tracking, home).loops() == []
    assert call("status", looking).loops == ()
    call("data", looking, action="register", path=str(tmp_path / "plant"))  # this one keeps something
    assert open_store(looking.tracking, home).loops() == ["default"]


@pytest.mark.usefixtures("stocked")
def test_what_was_kept_by_looking_moves_with_the_store(
    bench: Make, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "plant" / "a.csv", "timestamp,value\n2026-01-01,1\n2026-01-02,2\n2026-01-03,2\n")
    run_id = call("ingest", bench("source=csv", f"source.root={tmp_path / 'plant'}")).report_run
    home.rename(tmp_path / "moved")
    monkeypatch.setenv("TSAD_HOME", str(tmp_path / "moved"))
    moved = open_loop(bench())
    assert run_id and "2026" in read_text(moved.store, run_id, "quality.html")
    assert moved.store.client.get_run(run_id).info.artifact_uri.startswith((tmp_path / "moved").as_uri())


def test_the_inventory_of_a_loop_at_work(one: Workbench) -> None:
    with held_elsewhere(one):
        inventory = Inventory(one, check=True)
        assert [loop.name for loop in inventory.loops] == ["plant"] and inventory.assets("datasets")
